import pytest

from recordings import network_namespace


@pytest.fixture
def namespace():
    """A network namespace of the test's own, with lo up."""
    with network_namespace() as name:
        yield name
