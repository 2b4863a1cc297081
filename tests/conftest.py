"""What all tests share: parts of the system that a test needs, and the fixtures folder."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("fast", max_examples=25)  # of scripts/test --fast; tests that want more say how many times the profile's number

import docker_machine


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        missing = [program for program in mark.args if shutil.which(program) is None]
        if mark.kwargs.get("root") and os.geteuid() != 0:
            missing.append("root")
        if missing:
            without(f"needs {', '.join(missing)}")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where several processes share the tests, those that need root stay in one: they change namespaces and tracefs and look at all processes."""
    for item in items:
        if any(mark.kwargs.get("root") for mark in item.iter_markers("needs")):
            item.add_marker(pytest.mark.xdist_group("root"))


def without(reason: str) -> None:
    """A part of the system is missing: the test is skipped on a laptop, and fails under CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason} (missing under CI=true)", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(name="without")
def without_a_part():
    """`without(reason)`, for tests that find out themselves what this machine lacks."""
    return without


@pytest.fixture(scope="session")
def fixtures() -> Path:
    return Path(__file__).parent.parent / "fixtures"


@pytest.fixture(scope="session")
def go_directory(tmp_path_factory):
    """Where Go programs are built, once for all tests, in whichever of several processes they run."""
    here = tmp_path_factory.getbasetemp()
    directory = (here.parent if "PYTEST_XDIST_WORKER" in os.environ else here) / "go"
    directory.mkdir(exist_ok=True)
    return directory


@pytest.fixture(scope="session", autouse=True)
def _keys_are_made_below_the_tests_own_directory(tmp_path_factory: pytest.TempPathFactory) -> None:
    docker_machine.templates = tmp_path_factory.mktemp("machines")


@pytest.fixture(autouse=True)
def _no_event_loop_is_woken_any_more() -> Iterator[None]:
    """pyshark leaves its event loop's wake-up descriptor set; every child that ends writes to it, until that is full and an error."""
    yield
    signal.set_wakeup_fd(-1)
