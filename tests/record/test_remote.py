"""`captool record --ssh` with a real sshd, which lives in a network namespace of its own."""

import fcntl
import os
import pty
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import termios
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from recordings import PACKAGES, ended, failed, inside, manifest, packets, recording, wait_for_packets
from ssh_host import HERE, PORT, THERE, ssh_host

pytestmark = [pytest.mark.needs("sshd", "ssh", "ssh-keygen", "tcpdump", "ip", "nsenter", "unshare", root=True), pytest.mark.slow]


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    with ssh_host(tmp_path_factory.mktemp("ssh") / "host") as there:
        yield there


def remote_recording(host, folder, *words):
    return recording(host.caller, folder, *host.words, *words, wrapper=host.wrapper)


def remote_failure(host, folder, *words, code):
    line = failed(host.caller, folder, *words, code=code, wrapper=host.wrapper)
    assert ["said"] == [path.name for path in folder.iterdir()]
    return line


@pytest.mark.parametrize(("number", "how"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")])
def test_what_the_host_sees_is_here_with_its_manifest_and_nothing_stays_there(host, tmp_path, number, how):
    with remote_recording(host, tmp_path, "-i", "eth0", "-w", "t.pcap", "udp port 9999") as process:
        host.send(5000)
        process.send_signal(number)
        assert "captool analyze t.pcap\n" == ended(process, 0)
    assert host.without("tcpdump", "sh")
    made = manifest(tmp_path)
    assert (5000, {"how": how}) == (packets(tmp_path / "t.pcap"), made["ended"])
    counted = made["packets"]
    assert (5000, 5000, 0) == (counted["written"], counted["captured"], counted["dropped_by_kernel"])
    assert (f"root@{THERE}:{PORT}", "root") == (made["remote"]["host"], made["remote"]["user"])
    assert (os.uname().nodename, f"Linux {os.uname().release} {os.uname().machine}") == (made["remote"]["name"], made["remote"]["system"])
    assert made["tcpdump_version"]
    assert ("eth0", "EN10MB", "udp port 9999") == (made["interface"], made["link_type"], made["filter"])
    clock = made["remote"]["clock"]
    assert abs(clock["offset_ns"]) <= clock["uncertainty_ns"] < 1_000_000_000  # it is one machine
    assert {"t.pcap", "t.pcap.json", "said"} == {path.name for path in tmp_path.iterdir()}
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.glob("t.pcap*"))


def test_the_connection_itself_is_left_out_and_another_ssh_connection_is_not(host, tmp_path):
    """A packet of the connection that were recorded would cause the next one."""
    with remote_recording(host, tmp_path, "-i", "any", "-w", "t.pcap", "tcp or udp port 9999") as process:
        host.send(1)
        time.sleep(2.5)
        assert 24 + 16 < (tmp_path / "t.pcap").stat().st_size < 200
        subprocess.run([*inside(host.caller, *host.wrapper), "ssh", "-p", str(PORT), f"root@{THERE}", "true"], check=True)
        process.send_signal(signal.SIGINT)
        ended(process, 0)
    assert 10 < packets(tmp_path / "t.pcap") < 200
    ours = manifest(tmp_path)["remote"]["left_out"].split()
    assert ["not", "(tcp", "and", "host", HERE, "and", "host", THERE] == ours[:8]
    assert f"port {PORT})" == " ".join(ours[-2:])


def test_what_happens_there_is_said_here_while_it_happens(host, tmp_path):
    with remote_recording(host, tmp_path, "--analyze", "-i", "any", "-w", "t.pcap", "tcp") as process:
        subprocess.run([*inside(host.caller, *host.wrapper), "ssh", "-p", str(PORT), f"root@{THERE}", "true"], check=True)
        line = process.stdout.readline().decode()
        process.send_signal(signal.SIGINT)
        ended(process, 0)
    assert re.search(rf" -> {re.escape(THERE)}:{PORT}: closed by the (client|server) \(FIN\)", line)  # whichever is quicker


def test_a_set_of_files_is_cut_here(host, tmp_path):
    with remote_recording(host, tmp_path, "-w", "t.pcap", "-C", "20KB", "-G", "10m", "-W", "3", "-c", "2000", "udp port 9999") as process:
        host.send(2000, 200)
        ended(process, 0)
    files = sorted(tmp_path.glob("t-*.pcap"))
    made = manifest(tmp_path)
    assert (3, {"how": "count"}) == (len(files), made["ended"])
    assert [path.name for path in files] == [one["name"] for one in made["files"]]
    assert (2000, 2000) == (made["packets"]["written"], sum(map(packets, files)) + (20_000 - 24) // 268 * made["files_removed"])
    assert host.without("tcpdump", "sh")


def test_several_interfaces_there_and_no_other(host, tmp_path):
    subprocess.run(["ip", "-n", host.namespace, "link", "add", "it's", "type", "veth", "peer", "name", "far"], check=True)
    words = ("-i", "eth0", "-i", "it's", "-w", "t.pcap", "-c", "5", "udp port 9999\nand (udp[8:4] >= 2 or udp[8:4] == 1) and not host 1.2.3.4")
    with remote_recording(host, tmp_path, *words) as process:
        host.send(6)
        ended(process, 0)
    assert (5, "eth0, it's") == (packets(tmp_path / "t.pcap"), manifest(tmp_path)["interface"])
    assert "ifindex" in manifest(tmp_path)["command"][-1]


def test_nothing_that_the_user_writes_is_run_there(host, tmp_path):
    bad = host.folder / "bad"
    for word in (f"$(touch {bad})", f"`touch {bad}`", f"'; touch {bad}; '", f'" & touch {bad} \\', f"\ntouch {bad}\n", f"'\ntouch {bad}"):
        assert "tcp" in remote_failure(host, tmp_path, *host.words, "-w", "t.pcap", f"tcp {word}", code=2)
    for word in (f"x'$(touch {bad})", f"x/p;w{bad}"):
        assert "existing ones" in remote_failure(host, tmp_path, *host.words, "-w", "t.pcap", "-i", word, code=2)
    assert not bad.exists()


def test_what_is_wrong_there_is_said_of_that_host(host, tmp_path):
    shown = f"root@{THERE}:{PORT}"
    line = remote_failure(host, tmp_path, *host.words, "-i", "eth9", "-w", "t.pcap", code=2)
    assert f"there is no interface eth9 on {shown}; existing ones: lo, eth0, " in line
    line = remote_failure(host, tmp_path, *host.words, "-i", "eth9", "-i", "lo", "-w", "t.pcap", code=2)
    assert f"there is no interface eth9 on {shown}" in line
    assert "does not understand the filter 'tcp prt 5'" in remote_failure(host, tmp_path, *host.words, "-w", "t.pcap", "tcp prt 5", code=2)


def test_on_a_terminal_ssh_may_ask_and_ctrl_c_is_for_captool(host, tmp_path):
    """ssh is in the terminal's foreground too, so Ctrl-C reaches both."""
    known = host.folder / "known"
    before = known.read_text()
    known.write_text("")
    ours, theirs = pty.openpty()
    words = inside(host.caller, *host.wrapper, sys.executable, "-m", "captool.cli.main", "record", *host.words, "-w", "t.pcap", "udp port 9999")
    process = subprocess.Popen(
        words, cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env={**os.environ, "HOME": str(tmp_path), "TERM": "xterm", "PYTHONPATH": PACKAGES},
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 (no other thread)
    )  # fmt: skip
    os.close(theirs)
    shown, asked, sent = "", False, False
    try:
        with suppress(OSError):  # the terminal's other end is closed
            while select.select([ours], [], [], 30)[0] and (data := os.read(ours, 4096)):
                shown += data.decode()
                if not asked and "(yes/no/[fingerprint])?" in shown:
                    asked = True
                    os.write(ours, b"yes\n")
                if not sent and "Ctrl-C" in shown:
                    sent = True
                    host.send(50)
                    os.write(ours, b"\x03")
        assert 0 == process.wait(30), shown
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        known.write_text(before)
    made = manifest(tmp_path)
    assert (50, "interrupted", 50) == (packets(tmp_path / "t.pcap"), made["ended"]["how"], made["packets"]["captured"])
    assert host.without("tcpdump", "sh")


LISTEN = f"""
import socket
server = socket.create_server(("{THERE}", 2376))
client = socket.create_connection(("{THERE}", 2376))
print("open", client.getsockname()[1], flush=True)
input()
"""


@pytest.mark.needs("ss")
def test_connections_that_are_open_there_already_are_named(host, tmp_path):
    words = inside(host.namespace, sys.executable, "-c", LISTEN)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as process:
        port = int(process.stdout.readline().split()[1])
        with remote_recording(host, tmp_path, "-w", "t.pcap", "--duration", "1ms") as recorder:
            ended(recorder, 0)
        process.communicate("\n")
    (one,) = manifest(tmp_path)["circumstances"]["open_connections"]
    expected = {"client": f"{THERE}:{port}", "server": f"{THERE}:2376", "pid": process.pid, "program": Path(sys.executable).resolve().name}
    assert expected | {"program": one["program"]} == one
    assert one["program"].startswith("python")
    assert "is open already" in manifest(tmp_path)["remarks"][0]


def test_a_recording_that_is_killed_leaves_no_tcpdump_there_without_any_traffic(host, tmp_path):
    with remote_recording(host, tmp_path, "-w", "t.pcap", "udp port 9999") as process:
        host.send(50)
        wait_for_packets(tmp_path / "t.pcap")
        assert host.running("tcpdump")
        process.kill()
        process.wait()
        assert host.without("tcpdump", "sh")
    assert (50, {"how": "recording"}) == (packets(tmp_path / "t.pcap"), manifest(tmp_path)["ended"])


def ssh_of(process):
    """The ssh of a recording: its only child."""
    return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])


def test_a_connection_that_ends_in_the_middle_keeps_what_has_come(host, tmp_path):
    with remote_recording(host, tmp_path, "-w", "t.pcap", "udp port 9999") as process:
        host.send(50)
        wait_for_packets(tmp_path / "t.pcap")
        os.kill(ssh_of(process), signal.SIGKILL)
        ended(process, 5)
    (line,) = (line for line in (tmp_path / "said").read_text().splitlines() if "lost" in line)
    assert line.startswith(f"captool: the ssh connection to root@{THERE}:{PORT} was lost")
    assert line.endswith("; 50 packets kept in t.pcap")
    made = manifest(tmp_path)
    assert (50, "connection-lost", None) == (packets(tmp_path / "t.pcap"), made["ended"]["how"], made["packets"]["captured"])
    assert host.without("tcpdump", "sh")


def test_tcpdump_that_dies_there_is_no_lost_connection(host, tmp_path):
    with remote_recording(host, tmp_path, "-w", "t.pcap", "udp port 9999") as process:
        (victim,) = host.running("tcpdump")
        os.kill(victim, signal.SIGKILL)
        ended(process, 5)
    assert f"tcpdump on root@{THERE}:{PORT} ended: " in (tmp_path / "said").read_text()


def test_a_server_that_closes_the_connection_is_told_from_a_client_that_was_killed(host, tmp_path):
    with remote_recording(host, tmp_path, "-w", "t.pcap", "udp port 9999") as process:
        (sh, *_) = sorted(host.running("sh"))
        parent = int(Path(f"/proc/{sh}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(parent, signal.SIGKILL)  # sshd's process of this connection
        ended(process, 5)
        assert host.without("tcpdump", "sh")
    assert "was lost (" in (tmp_path / "said").read_text()


@pytest.mark.parametrize(
    ("word", "code", "text"),
    [
        (f"root@{THERE}:2223", 5, f"cannot be reached by ssh: connect to host {THERE} port 2223: Connection refused; try: ssh -p 2223 root@{THERE} true"),
        ("root@nowhere.invalid", 2, "Could not resolve hostname nowhere.invalid"),
        (f"no-such-account@{THERE}:{PORT}", 5, "ssh-copy-id"),
        ("-oProxyCommand=touch bad", 2, "is no [USER@]HOST[:PORT]"),
        ("root@host:99999", 2, "is no [USER@]HOST[:PORT]"),
        ("root@-oProxyCommand=touch", 2, "is no [USER@]HOST[:PORT]"),
    ],
)
def test_a_host_that_cannot_be_reached_is_one_line(host, tmp_path, word, code, text):
    assert text in remote_failure(host, tmp_path, "--ssh", word, "-w", "t.pcap", code=code)


def test_a_host_key_that_is_unknown_or_another_is_said(host, tmp_path):
    known = host.folder / "known"
    before = known.read_text()
    try:
        known.write_text("")
        line = remote_failure(host, tmp_path, *host.words, "-w", "t.pcap", code=5)
        assert f"its host key is not known here; run ssh -p {PORT} root@{THERE} once" in line
        known.write_text(f"[{THERE}]:{PORT} {(host.folder / 'user.pub').read_text()}")
        assert "its host key is not the one that is known here" in remote_failure(host, tmp_path, *host.words, "-w", "t.pcap", code=5)
    finally:
        known.write_text(before)


def test_a_host_that_does_not_answer_is_given_up(host, tmp_path):
    """An address of the link that nobody has."""
    line = remote_failure(host, tmp_path, "--ssh", "10.97.0.77", "-w", "t.pcap", code=5)
    assert "No route to host" in line or "timed out" in line


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--netns", "blue"), "-i docker0"),
        (("--container", "job-1"), "-i docker0"),
        (("--session-keys", "docker"), "captool harvest --session-keys docker -o KEYS"),
    ],
)
def test_options_about_this_machine_are_refused(host, tmp_path, words, text):
    assert text in remote_failure(host, tmp_path, *host.words, *words, "-w", "t.pcap", code=2)


@contextmanager
def account_on(folder, shell, sudoers=None):
    """A host with an ordinary account, which exists for that sshd and its children only; how ssh is called for it."""
    folder.mkdir()
    (folder / "passwd").write_text(f"{Path('/etc/passwd').read_text()}captool-test:x:4242:4242::/tmp:{shell}\n")
    (folder / "shadow").write_text(f"{Path('/etc/shadow').read_text()}captool-test:*:19000:0:99999:7:::\n")
    (folder / "sudoers").write_text(f"Defaults use_pty\n{sudoers or ''}\n")
    for name in ("shadow", "sudoers"):
        (folder / name).chmod(0o440)
    steps = [f"mount --bind {shlex.quote(str(folder / name))} /etc/{name}" for name in ("passwd", "shadow", *(["sudoers"] if sudoers else []))]
    with ssh_host(folder / "host", wrapper=("unshare", "--mount", "sh", "-c", "; ".join(["set -e", *steps, 'exec "$@"']), "sh")) as there:
        yield there, ("--ssh", f"captool-test@{THERE}:{PORT}")


@pytest.mark.needs("mount")
def test_an_account_that_may_not_record_is_told_what_would_help(tmp_path):
    (tmp_path / "here").mkdir()
    with account_on(tmp_path / "there", "/bin/sh") as (host, words):
        line = remote_failure(host, tmp_path / "here", *words, "-w", "t.pcap", code=5)
    assert f"captool-test may not record on captool-test@{THERE}:{PORT}; log in as root there, or let sudo run sh without a password" in line
    assert "setcap cap_net_raw,cap_net_admin=eip /" in line


@pytest.mark.needs("mount", "sudo")
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_sudo_without_a_password_is_enough_and_its_tcpdump_ends_as_well(tmp_path, end):
    (tmp_path / "here").mkdir()
    with (
        account_on(tmp_path / "there", "/bin/sh", "captool-test ALL=(ALL) NOPASSWD: ALL") as (host, words),
        recording(host.caller, tmp_path / "here", *words, "-w", "t.pcap", "udp port 9999", wrapper=host.wrapper) as process,
    ):
        host.send(50)
        wait_for_packets(tmp_path / "here/t.pcap")
        assert host.running("tcpdump")
        process.send_signal(end)
        process.wait()
        assert host.without("tcpdump", "sh", "sudo")
    assert 50 == packets(tmp_path / "here/t.pcap")
    made = manifest(tmp_path / "here")
    assert ("root", "not") == (made["remote"]["user"], made["remote"]["left_out"].split()[0])


@pytest.mark.needs("mount", "sudo")
def test_sudo_for_tcpdump_alone_is_refused_because_nobody_could_end_it(tmp_path):
    (tmp_path / "here").mkdir()
    with account_on(tmp_path / "there", "/bin/sh", "captool-test ALL=(ALL) NOPASSWD: /usr/bin/tcpdump, /usr/sbin/tcpdump") as (host, words):
        assert "let sudo run sh" in remote_failure(host, tmp_path / "here", *words, "-w", "t.pcap", code=5)


@pytest.mark.needs("mount")
def test_a_host_without_tcpdump_is_told_what_to_install(tmp_path):
    (tmp_path / "here").mkdir()
    hide = ("unshare", "--mount", "sh", "-c", f'mount --bind /dev/null {shutil.which("tcpdump")}; exec "$@"', "sh")
    with ssh_host(tmp_path / "there", wrapper=hide) as host:
        line = remote_failure(host, tmp_path / "here", *host.words, "-w", "t.pcap", code=5)
    assert f"tcpdump is not installed on root@{THERE}:{PORT}; install it there" in line


@pytest.mark.needs("setpriv")
def test_root_without_its_capabilities_is_said(tmp_path):
    (tmp_path / "here").mkdir()
    with ssh_host(tmp_path / "there", wrapper=("setpriv", "--bounding-set=-net_raw,-net_admin")) as host:
        line = remote_failure(host, tmp_path / "here", *host.words, "-w", "t.pcap", code=5)
    assert f"not allowed to record on any of root@{THERE}:{PORT}; log in there as root, with all its capabilities" in line


@pytest.mark.needs("mount")
def test_a_login_shell_that_is_no_shell_is_said(tmp_path):
    (tmp_path / "here").mkdir()
    with account_on(tmp_path / "there", "/bin/false") as (host, words):
        assert "ssh gave no shell there" in remote_failure(host, tmp_path / "here", *words, "-w", "t.pcap", code=5)
