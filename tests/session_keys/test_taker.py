"""Session keys of real programs: what is taken equals what the program's own KeyLogWriter gets."""

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

import go_programs
from captool.session_keys.taker import take_session_keys
from captool.session_keys.targets import parse_targets
from captool.session_keys.tracefs import TracingError, tracefs

pytestmark = [pytest.mark.needs("go", "gcc", "unshare", "setpriv", "mount", "pivot_root", root=True), pytest.mark.slow]
ROOT = Path(__file__).parents[2]
PORT = 23762


@pytest.fixture(autouse=True)
def tracing(without):
    try:
        with tracefs():
            yield
    except TracingError as error:
        without(str(error))


@pytest.fixture
def program(go_directory):
    return go_programs.build(go_directory, go_programs.TLS_PAIR, "pie", "external", "stripped")


def take(words, log, ports=(), **options):
    return take_session_keys(parse_targets([str(word) for word in words]), log, ports=ports, clock_ns=time.time_ns, **options)


def secrets(path):
    return {line for line in path.read_text().splitlines() if not line.startswith("#")} if path.exists() else set()


@contextmanager
def running(program, folder, version="1.3", connections=2, address="127.0.0.1:0", wrapper=()):
    """The program, waiting to listen. Lines that are written to it let it go on."""
    command = [*wrapper, str(program), version, str(connections), str(folder / "own.log"), address]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def go_on(process):
    process.stdin.write("\n")
    process.stdin.flush()


def listen(process):
    go_on(process)
    return process.stdout.readline()


def connect(process):
    output = process.communicate("\n")[0]
    assert process.returncode == 0
    return output


def until(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize(("mode", "link", "symbols"), go_programs.MODES)
def test_secrets_are_the_programs_own_in_every_link_mode(go_directory, tmp_path, mode, link, symbols, version):
    program = go_programs.build(go_directory, go_programs.TLS_PAIR, mode, link, symbols)
    log = tmp_path / "keys.log"
    with take([program], log) as taker, running(program, tmp_path, version, 3) as process:
        listen(process)
        assert connect(process) == "hello 0\nhello 1\nhello 2\n"
    assert secrets(tmp_path / "own.log") == secrets(log)
    assert (taker.summary.secrets, taker.summary.sessions) == ((3, 3) if version == "1.2" else (12, 3))
    assert [str(program)] == [each.path for each in taker.summary.programs]
    assert f"pid {process.pid} {program}" in log.read_text()


if go_programs.OTHER_GO:  # CAPTOOL_GO names other releases; a machine has one as a rule

    @pytest.mark.parametrize(("go", "mode", "link", "symbols"), [(go, *mode) for go in go_programs.OTHER_GO for mode in go_programs.MODES])
    def test_secrets_are_the_programs_own_with_other_releases_of_go(go_directory, tmp_path, go, mode, link, symbols):
        program = go_programs.build(go_directory, go_programs.TLS_PAIR, mode, link, symbols, go=go)
        log = tmp_path / "keys.log"
        for version, count in (("1.2", 3), ("1.3", 15)):
            with take([program], log), running(program, tmp_path, version, 3) as process:
                listen(process)
                connect(process)
            assert secrets(tmp_path / "own.log") <= secrets(log)
            assert count == len(secrets(log))


def test_secrets_are_written_as_they_come(program, tmp_path):
    log = tmp_path / "keys.log"
    with take([program], log), running(program, tmp_path) as process:
        listen(process)
        connect(process)
        assert until(lambda: len(secrets(log)) == 8, 2)


def test_many_at_once_are_all_there(program, tmp_path):
    log = tmp_path / "keys.log"
    with take([program], log) as taker, running(program, tmp_path, "1.3", 1500) as process:
        listen(process)
        connect(process)
    assert 6000 == taker.summary.secrets
    assert secrets(tmp_path / "own.log") == secrets(log)
    assert 0 == taker.summary.lost_events


def test_what_waited_in_the_kernel_is_not_lost(program, tmp_path):
    log = tmp_path / "keys.log"
    with take([program], log, reading=False) as taker, running(program, tmp_path) as process:
        listen(process)
        connect(process)
        assert 0 == taker.summary.secrets
    assert secrets(tmp_path / "own.log") == secrets(log)


def test_a_process_is_taken_while_others_of_its_program_run_too(program, tmp_path):
    log = tmp_path / "keys.log"
    with running(program, tmp_path) as process, take([process.pid], log) as taker:
        listen(process)
        connect(process)
    assert 8 == taker.summary.secrets


def test_a_program_in_a_container_whose_file_is_nowhere_else(program, tmp_path):
    """A root file system of its own, in a mount namespace of its own, as a container runtime makes one."""
    root = tmp_path / "a root"
    root.mkdir()
    script = (
        f"mount -t tmpfs captool-test '{root}' && cp {program} '{root}/tls_pair' && cd '{root}' && mkdir lib64 lib dev old && "
        "mount --bind /lib lib && mount --bind /lib64 lib64 && mount --bind /dev dev && pivot_root . old && "
        "exec /tls_pair 1.3 2 /own.log 127.0.0.1:0"
    )
    with subprocess.Popen(["unshare", "--mount", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        until(lambda: Path(f"/proc/{process.pid}/exe").readlink().name == "tls_pair")
        with take([process.pid], tmp_path / "keys.log") as taker:
            listen(process)
            process.stdin.write("\n")
            process.stdin.flush()
            assert "hello 0\n" == process.stdout.readline()
            assert until(lambda: taker.summary.secrets == 8)
            assert f"session keys of /tls_pair (in the container of process {process.pid})" in taker.remarks[0]
        process.stdin.close()


def test_auto_takes_those_that_listen_already_and_those_that_come_later(program, tmp_path):
    late = tmp_path / "late-program"
    shutil.copy(program, late)
    log = tmp_path / "keys.log"
    (tmp_path / "late").mkdir()
    with running(program, tmp_path, address=f"127.0.0.1:{PORT}") as early:
        listen(early)
        with take(["auto"], log, (PORT, PORT + 1)) as taker:
            assert str(program) in {each.path for each in taker.summary.programs}
            with running(late, tmp_path / "late", address=f"127.0.0.1:{PORT + 1}") as process:
                assert str(late) not in {each.path for each in taker.summary.programs}
                listen(process)
                assert until(lambda: str(late) in {each.path for each in taker.summary.programs}, 3)
                connect(process)
            connect(early)
    assert secrets(tmp_path / "own.log") | secrets(tmp_path / "late/own.log") == secrets(log)
    assert 16 == taker.summary.secrets


@pytest.mark.needs("ip")
def test_auto_sees_programs_in_other_network_namespaces(program, tmp_path):
    log = tmp_path / "keys.log"
    wrapper = ("unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh")
    with take(["auto"], log, (PORT,)) as taker, running(program, tmp_path, address=f"127.0.0.1:{PORT}", wrapper=wrapper) as process:
        listen(process)
        assert until(lambda: str(program) in {each.path for each in taker.summary.programs}, 3)
        connect(process)
    assert 8 == taker.summary.secrets


def test_a_kernel_that_does_not_tell_of_sockets_is_looked_at_again(program, tmp_path, monkeypatch):
    monkeypatch.setattr("captool.session_keys.uprobe.SOCKET_STATES", "no_such_event")
    with take(["auto"], tmp_path / "keys.log", (PORT,)) as taker, running(program, tmp_path, address=f"127.0.0.1:{PORT}") as process:
        listen(process)
        assert until(lambda: str(program) in {each.path for each in taker.summary.programs})
        connect(process)
    assert 8 == taker.summary.secrets


def test_connections_that_are_open_already_are_named(tmp_path):
    with socket.create_server(("127.0.0.1", PORT)) as listener, socket.create_connection(listener.getsockname()) as client:
        with take(["auto"], tmp_path / "keys.log", (PORT,)) as taker:
            pass
        ends = f"127.0.0.1:{client.getsockname()[1]} -> 127.0.0.1:{PORT}"
    assert any(remark.startswith(ends) and "will stay encrypted" in remark for remark in taker.remarks)
    assert 1 == taker.summary.open_connections


def test_a_program_that_is_not_go_is_said_with_what_works_instead(tmp_path):
    code = f"import socket, sys; s = socket.create_server(('127.0.0.1', {PORT})); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        with take(["auto"], tmp_path / "keys.log", (PORT,)) as taker:
            pass
        process.stdin.close()
    (remark,) = [remark for remark in taker.remarks if "no Go program" in remark]
    assert "Python" in remark
    assert "SSLKEYLOGFILE" in remark


@pytest.mark.parametrize(
    ("word", "said"),
    [("/bin/sh", "is no Go program"), (sys.executable, "is no Go program but Python"), (__file__, "is no ELF program"), ("/usr/bin/ldd", "is a script")],
)
def test_a_named_program_that_cannot_be_hooked_is_one_line(tmp_path, word, said):
    with take([word], tmp_path / "keys.log") as taker:
        pass
    assert said in taker.remarks[0]
    assert "no program to take them from" in taker.remarks[1]
    assert not any("\n" in remark for remark in taker.remarks)
    assert [] == list(tmp_path.iterdir())


def test_a_go_program_without_tls_is_one_line(go_directory, tmp_path):
    with take([go_programs.build(go_directory, go_programs.HELLO)], tmp_path / "keys.log") as taker:
        pass
    assert "has no function crypto/tls.(*Config).writeKeyLog" in taker.remarks[0]


def test_without_root_it_is_one_line_and_the_block_runs(program):
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom captool.session_keys.taker import take_session_keys\n"
        "from captool.session_keys.targets import parse_targets\n"
        "with take_session_keys(parse_targets(['auto']), Path('/tmp/keys-' + str(time.monotonic_ns())), ports=(1,), clock_ns=time.time_ns) as t:\n"
        "    print(t.remarks)\nprint(t.summary.document())\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = ["setpriv", "--reuid=65534", "--clear-groups", sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert "session keys need root" in done.stdout
    assert len(done.stdout.splitlines()) == 2


def test_nothing_is_left_of_it(program, tmp_path):
    threads, descriptors = threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))
    with take([program], tmp_path / "keys.log"):
        pass
    assert (threads, descriptors) == (threading.active_count(), len(list(Path("/proc/self/fd").iterdir())))
    with tracefs() as root:
        assert f"captool_{os.getpid()}_" not in (root / "uprobe_events").read_text()
        assert [] == list((root / "instances").glob(f"captool_{os.getpid()}_*"))
    assert [] == list(tmp_path.iterdir())


def test_secrets_are_in_no_representation(program, tmp_path):
    log = tmp_path / "keys.log"
    with take([program], log) as taker, running(program, tmp_path) as process:
        listen(process)
        connect(process)
    shown = f"{taker!r} {taker.summary!r} {taker.summary.document()} {taker.remarks}"
    assert not any(line.split()[2] in shown for line in secrets(log))
