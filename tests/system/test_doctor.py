"""`captool doctor` beside a real dockerd with mutual TLS and a docker client attached to a silent container."""

import contextlib
import datetime
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from captool.doctor.diagnosis import Questions, examine

pytestmark = [
    pytest.mark.needs("dockerd", "docker", "busybox", "ip", "nft", "nsenter", "unshare", "setpriv", "sysctl", "ss", root=True),
    pytest.mark.slow,
]
LAB = Path(__file__).parents[2] / "scripts" / "lab"
CLIENTS = """
import socket, sys
silent = socket.create_connection(("10.77.2.2", 2376))
probing = socket.create_connection(("10.77.2.2", 2376))
probing.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
for option, value in ((socket.TCP_KEEPIDLE, 300), (socket.TCP_KEEPINTVL, 20), (socket.TCP_KEEPCNT, 4)):
    probing.setsockopt(socket.IPPROTO_TCP, option, value)
print(silent.getsockname()[1], probing.getsockname()[1], flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """dockerd with TLS in one namespace; in another the docker client attached to a container that sleeps, and Python clients."""
    sys.path.insert(0, str(LAB))
    try:
        from certificates import write_storage
        from docker_daemon import IMAGE, daemon
        from firewall import Firewall
        from network import network
        from processes import wait_until
    finally:
        sys.path.remove(str(LAB))
    directory = tmp_path_factory.mktemp("lab")
    with contextlib.ExitStack() as stack:
        names = stack.enter_context(network(Firewall(established_timeout_s=300)))
        machine = write_storage(directory / "store", "runner-1", "10.77.2.2", datetime.datetime.now(datetime.UTC))
        running = stack.enter_context(daemon(directory, names.server, machine))
        inside = ["nsenter", f"--net=/run/netns/{names.client}"]
        tls = ["--tlsverify", f"--tlscacert={machine / 'ca.pem'}", f"--tlscert={machine / 'cert.pem'}", f"--tlskey={machine / 'key.pem'}"]
        client = [*inside, running.docker, "--host", "tcp://10.77.2.2:2376", *tls]
        job = [*client, "run", "--network", "none", IMAGE, "/bin/sh", "-c", "echo started; sleep 60"]
        docker = stack.enter_context(subprocess.Popen(job, stdout=subprocess.PIPE, text=True))
        stack.callback(docker.kill)
        assert docker.stdout.readline() == "started\n"
        python = stack.enter_context(subprocess.Popen([*inside, sys.executable, "-c", CLIENTS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        stack.callback(python.stdin.close)
        silent, probing = map(int, python.stdout.readline().split())
        wait_until("idle connections", lambda: docker.poll() is None, seconds=5)
        time.sleep(1)
        yield {"names": names, "machine": machine, "docker": docker.pid, "python": python.pid, "silent": silent, "probing": probing}


@pytest.fixture(scope="module")
def diagnosis(lab):
    return examine(Questions((2376,), network="gcp-vpc"), time.time_ns())


def of_process(diagnosis, process):
    return [each for each in diagnosis.sockets if each.owner is not None and each.owner.process == process and each.keepalive]


def test_the_stock_client_and_daemon_both_probe_every_15_seconds(diagnosis, lab):
    sockets = of_process(diagnosis, lab["docker"])
    assert sockets
    for each in sockets:
        assert (each.elsewhere, Path(each.owner.program).name, each.state) == (True, "docker", "established")
        assert ("present", "socket options") == (each.keepalive.status, each.keepalive.evidence)
        assert (15, 15, 9) == (each.keepalive.options.idle_ns / 1e9, each.keepalive.options.interval_ns / 1e9, each.keepalive.options.probes)
        assert each.keepalive.timer_ns is None or each.keepalive.timer_ns <= 15.1e9
        assert "kept-alive" == each.outlook.verdict
        (other,) = [one for one in diagnosis.sockets if one.socket == each.other]
        assert ("dockerd", "present", 15) == (Path(other.owner.program).name, other.keepalive.status, other.keepalive.options.idle_ns / 1e9)


def test_a_client_without_keepalive_is_told_from_one_that_probes_too_slowly(diagnosis, lab):
    by_port = {each.socket.local[1]: each for each in of_process(diagnosis, lab["python"])}
    silent, probing = by_port[lab["silent"]], by_port[lab["probing"]]
    assert ("missing", "socket options") == (silent.keepalive.status, silent.keepalive.evidence)
    assert "kept-alive" == silent.outlook.verdict  # dockerd at its other end probes
    assert (300, 20, 4) == (probing.keepalive.options.idle_ns / 1e9, probing.keepalive.options.interval_ns / 1e9, probing.keepalive.options.probes)


def test_figures_are_those_of_ss(lab):
    """ss and captool look one after the other: times may differ by what lies between them."""
    command = ["nsenter", f"--net=/run/netns/{lab['names'].client}", "ss", "-Htnoi", "dport", "=", ":2376"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    diagnosis = examine(Questions((2376,)), time.time_ns())
    sockets = {each.socket.local[1]: each for each in diagnosis.sockets if each.socket.remote[1] == 2376 and each.state == "established"}
    assert len(lines) == 2 * len(sockets) >= 8
    for head, facts in zip(lines[::2], lines[1::2], strict=True):
        each = sockets[int(head.split()[3].rpartition(":")[2])]
        assert head.startswith("ESTAB")
        timer = head.partition("timer:(")[2].partition(")")[0].split(",")
        if timer[0] == "keepalive":
            assert abs(as_seconds(timer[1]) - each.keepalive.timer_ns / 1e9) < 2
        else:
            assert each.keepalive.timer_ns is None
        for name, ago in (("lastsnd", "sent_ago_ns"), ("lastrcv", "received_ago_ns"), ("lastack", "acknowledged_ago_ns")):
            shown = next((int(word.partition(":")[2]) for word in facts.split() if word.startswith(f"{name}:")), 0)
            assert 0 <= getattr(each.socket.condition, ago) / 1e6 - shown < 2000
        assert each.socket.condition.peer_window == next(int(word.partition(":")[2]) for word in facts.split() if word.startswith("snd_wnd:"))


def as_seconds(text):
    """ss writes `14sec`, `1min59sec`, `700ms`, and `4.664ms` for four seconds and 664 ms; from ten minutes on it leaves seconds out."""
    if "." in text:
        minutes, _, rest = text.rpartition("min")
        return 60 * int(minutes or 0) + float(rest.removesuffix("ms"))
    units = {"min": 60, "sec": 1, "ms": 0.001}
    total, number = 0, ""
    while text:
        if text[0].isdigit() or text[0] == ".":
            number, text = number + text[0], text[1:]
            continue
        unit = next(unit for unit in units if text.startswith(unit))
        total, number, text = total + float(number) * units[unit], "", text.removeprefix(unit)
    return total


def test_what_private_keys_are_worth_with_a_stock_daemon(lab):
    """dockerd's TLS is looked at from the client's namespace, as on the runner's machine."""
    command = [
        "nsenter", f"--net=/run/netns/{lab['names'].client}", sys.executable, "-m", "captool.cli.main", "doctor",
        "--server", "10.77.2.2:2376", "--keys", str(lab["machine"]), "--format", "json",
    ]  # fmt: skip
    server = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["server"]
    assert ("forward-secrecy", "server-key.pem") == (server["private_key"]["verdict"], server["private_key"]["matching_key"])
    stock, rsa = server["stock_client"], server["rsa_key_exchange"]
    assert ("completed", "TLS 1.3", "(EC)DHE", True) == tuple(stock[name] for name in ("outcome", "version", "key_exchange", "forward_secrecy"))
    assert stock["program"].startswith("Docker/")
    assert ("refused", "handshake_failure", None) == (rsa["outcome"], rsa["detail"], rsa["key_exchange"])
    assert ("O=root.runner-1", ["10.77.2.2", "localhost"]) == (server["certificate"]["subject"], server["certificate"]["names"])
    without_key = [*command[:-4], "--format", "json"]
    stock = json.loads(subprocess.run(without_key, capture_output=True, text=True, check=True).stdout)["server"]["stock_client"]
    assert stock["program"] is None
    assert "certificate" in stock["rejected"]


def test_the_programs_are_known_with_their_version_and_the_keepalive_it_asks_for(diagnosis, lab):
    docker = next(each for each in diagnosis.programs if lab["docker"] in each.processes)
    assert "docker" == docker.name
    said = subprocess.run([docker.program.name, "--version"], capture_output=True, text=True, check=True).stdout
    assert f"version {docker.version}," in said
    assert {"hijacked": 15}.items() <= {one.kind: one.seconds for one in docker.keepalive}.items()
    dockerd = next(each for each in diagnosis.programs if each.name == "dockerd" and each.processes)
    assert [("accepted", 15)] == [(one.kind, one.seconds) for one in dockerd.keepalive]
    assert docker.keys
    assert dockerd.keys
    assert diagnosis.tracing.ready
