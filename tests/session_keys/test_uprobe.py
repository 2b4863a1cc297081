"""Events of one recording in the real kernel: nobody else's are touched, and nothing is left behind, whatever happens."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from captool.session_keys.tracefs import TracingError, tracefs
from captool.session_keys.uprobe import event_group

pytestmark = [pytest.mark.needs("setpriv", "unshare", root=True), pytest.mark.slow]
ROOT = Path(__file__).parents[2]
# a captool that is killed while it has an event set
KILLED = """
import os, sys
from captool.session_keys.tracefs import tracefs
from captool.session_keys.uprobe import event_group
with tracefs() as root, event_group(root) as group:
    group.open()
    group.add_uprobe(os.open(sys.executable, os.O_RDONLY), 0x1000, "")
    print(group.name, flush=True)
    sys.stdin.read()
    os.kill(os.getpid(), 9)
"""


@pytest.fixture
def tracing():
    try:
        with tracefs() as root:
            yield root
    except TracingError as error:
        pytest.skip(str(error))


def there(root, name):
    return (root / "instances" / name).exists(), name in (root / "uprobe_events").read_text()


def start(code, *wrapper):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([*wrapper, sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def append(root, line):
    descriptor = os.open(root / "uprobe_events", os.O_WRONLY | os.O_APPEND)
    os.write(descriptor, line.encode())
    os.close(descriptor)


def test_a_group_has_an_instance_and_events_of_its_own_and_removes_them(tracing):
    program = os.open(sys.executable, os.O_RDONLY)
    with event_group(tracing) as one, event_group(tracing) as other:
        assert one.name != other.name
        one.open()
        one.add_uprobe(program, 0x1000, "a=%ax:u64")
        assert (True, True) == there(tracing, one.name)
        assert (True, False) == there(tracing, other.name)
        assert (tracing / "instances" / one.name / "events" / one.name / "k0" / "enable").read_text().startswith("1")
        assert (tracing / "instances" / other.name / "events" / one.name / "k0" / "enable").read_text().startswith("0")
    os.close(program)
    assert (False, False) == there(tracing, one.name) == there(tracing, other.name)


def test_what_the_dead_left_is_removed_and_what_the_living_have_is_not(tracing):
    with start(KILLED) as living, start(KILLED) as dying:
        names = [process.stdout.readline().strip() for process in (living, dying)]
        dying.stdin.close()
        dying.wait()
        assert (True, True) == there(tracing, names[1])
        with event_group(tracing):
            assert (True, True) == there(tracing, names[0])
            assert (False, False) == there(tracing, names[1])
        living.stdin.close()
        living.wait()
        with event_group(tracing):
            assert (False, False) == there(tracing, names[0])


def test_leftovers_in_another_pid_namespace_are_not_taken_for_dead(tracing):
    with start(KILLED, "unshare", "--pid", "--fork", "--mount-proc") as living:
        name = living.stdout.readline().strip()
        with event_group(tracing):
            assert (True, True) == there(tracing, name)
        living.stdin.close()
        living.wait()
    with event_group(tracing):
        assert (False, False) == there(tracing, name)


def test_events_of_others_stay(tracing):
    group = f"captest{os.getpid()}"
    definition = f"p:{group}/mine {os.path.realpath(sys.executable)}:0x1000\n"
    append(tracing, definition)
    try:
        with event_group(tracing) as ours:
            ours.open()
            ours.add_uprobe(os.open(sys.executable, os.O_RDONLY), 0x1000, "")
        assert group in (tracing / "uprobe_events").read_text()
    finally:
        append(tracing, f"-:{group}/mine\n")


def test_a_definition_that_the_kernel_refuses_is_one_line(tracing):
    with event_group(tracing) as group, pytest.raises(TracingError, match="the kernel refused the event"):
        group.add_uprobe(os.open(sys.executable, os.O_RDONLY), 0x1000, "a=%nonsense:u64")


def test_tracefs_is_mounted_for_nobody_else():
    mounts = Path("/proc/self/mounts").read_text()
    with tracefs((Path("/nowhere"),)) as root:
        assert (root / "uprobe_events").exists()
        assert mounts == Path("/proc/self/mounts").read_text()


@pytest.mark.parametrize("wrapper", [("setpriv", "--reuid=65534", "--clear-groups"), ("setpriv", "--bounding-set=-sys_admin")])
def test_a_missing_privilege_is_one_line(wrapper):
    code = "from captool.session_keys.tracefs import tracefs\nwith tracefs(()): pass"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([*wrapper, sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert "TracingError: session keys" in done.stderr
    assert ("need root" in done.stderr) == ("--reuid=65534" in wrapper)


def test_a_kernel_without_uprobe_events_is_one_line(tmp_path):
    (tmp_path / "instances").mkdir()
    with pytest.raises(TracingError, match="CONFIG_UPROBE_EVENTS"), tracefs((tmp_path,)):
        pass
