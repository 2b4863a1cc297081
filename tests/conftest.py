"""What all tests share: parts of the system that a test needs, and the fixtures folder."""

import functools
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import docker_machine

# How long an example takes to make, or a test with it, depends on what else the machine does.
untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("whole", untimed)
settings.load_profile("whole")
settings.register_profile("fast", untimed, max_examples=25)  # of scripts/test --fast; tests that want more say how many times the profile's number


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        missing = [program for program in mark.args if shutil.which(program) is None]
        if mark.kwargs.get("root") and os.geteuid() != 0:
            missing.append("root")
        if missing:
            without(f"needs {', '.join(missing)}")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Which tests stay together where several processes share them; xdist's own groups are ignored by pytest 9.2."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group(config.rootpath, nodeid.partition("::")[0]) or nodeid

        def _pending_of(self, workload: dict[str, dict[str, bool]]) -> int:
            """Asked for several times a test: with thousands of groups of one test, those that are done would soon be all that it counts."""
            for scope in [scope for scope, tests in workload.items() if all(tests.values())]:
                del workload[scope]
            return super()._pending_of(workload)

    return Groups(config, log)


@functools.cache
def group(root: Path, file: str) -> str:
    """Files with tests that need root are one group: they change namespaces and tracefs and look at all processes of the machine.

    A file whose tests share something that takes long to make is a group of its own; of other files each test runs anywhere ("").
    """
    source = (root / file).read_text(encoding="utf-8")
    if "root=True" in source:
        return "root"
    return file if 'scope="module"' in source or "\n@cache\n" in source else ""


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
