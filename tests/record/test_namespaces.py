"""Recording in other network namespaces, on several interfaces, and what is there already when it starts."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from captool.errors import UsageError
from captool.record.manifest_file import cut_short
from captool.record.namespace import container_namespace
from docker_machine import machine
from recordings import PACKAGES, ended, failed, inside, manifest, network_namespace, packets, recording, send

pytestmark = [pytest.mark.needs("tcpdump", "ip", "nsenter", root=True), pytest.mark.slow]


@pytest.fixture
def elsewhere():
    """Another namespace, where the recording runs."""
    with network_namespace() as name:
        yield name


@contextmanager
def running(*command, until):
    """A program that has printed `until`."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
    try:
        assert until in process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stdin.close()


@pytest.mark.parametrize("form", ["{}", "/run/netns/{}"])
def test_another_namespace_is_recorded_by_name_or_path(namespace, elsewhere, tmp_path, form):
    words = ("--netns", form.format(namespace), "-i", "lo", "-w", "t.pcap", "-c", "20", "udp port 9999")
    with recording(elsewhere, tmp_path, *words) as process:
        send(elsewhere, 5)
        send(namespace, 20)
        ended(process, 0)
    assert (20, form.format(namespace)) == (packets(tmp_path / "t.pcap"), manifest(tmp_path)["namespace"])


def test_a_namespace_or_container_that_does_not_exist_is_said(namespace, tmp_path):
    assert "existing ones: " in failed(namespace, tmp_path, "--netns", "nowhere", "-w", "t.pcap", code=2)
    assert "is no network namespace" in failed(namespace, tmp_path, "--netns", "/proc/self/ns/mnt", "-w", "t.pcap", code=2)
    assert "is no network namespace" in failed(namespace, tmp_path, "--netns", "/dev/null", "-w", "t.pcap", code=2)
    assert "there is no running container nosuch" in failed(namespace, tmp_path, "--container", "nosuch", "-w", "t.pcap", code=2)
    assert "existing ones: lo, any" in failed(namespace, tmp_path, "--netns", namespace, "-i", "eth7", "-w", "t.pcap", code=2)
    assert ["said"] == [path.name for path in tmp_path.iterdir()]


def test_a_container_is_found_by_the_control_group_of_its_first_process(namespace):
    """What container engines leave in /proc: a group named after the id, in whatever hierarchy this machine has."""
    identity = f"{os.getpid():064x}"
    hierarchy = Path("/sys/fs/cgroup")
    root = (
        hierarchy
        if (hierarchy / "cgroup.procs").exists()
        else next(path for path in hierarchy.iterdir() if (path / "cgroup.procs").exists())
    )
    group = root / f"captool-{identity}"
    group.mkdir()
    try:
        with running(*inside(namespace, sys.executable, "-c", "print('up', flush=True); input()"), until="up") as process:
            (group / "cgroup.procs").write_text(str(process.pid))
            found = container_namespace(identity)
            assert Path(f"/run/netns/{namespace}").stat().st_ino == found.inode
            assert ["lo"] == list(found.interfaces())
            os.close(found.descriptor)
        with pytest.raises(UsageError, match="no running container"):
            container_namespace(identity)
    finally:
        deadline = time.monotonic() + 5
        while (group / "cgroup.procs").read_text() and time.monotonic() < deadline:
            time.sleep(0.02)
        group.rmdir()


def test_several_interfaces_are_recorded_and_no_other(namespace, tmp_path):
    for name, address in (("one", "10.98.1.1"), ("two", "10.98.2.1"), ("three", "10.98.3.1")):
        subprocess.run(["ip", "-n", namespace, "link", "add", name, "type", "veth", "peer", "name", f"{name}-far"], check=True)
        subprocess.run(["ip", "-n", namespace, "link", "set", f"{name}-far", "up"], check=True)
        subprocess.run(["ip", "-n", namespace, "addr", "add", f"{address}/24", "dev", name], check=True)
        subprocess.run(["ip", "-n", namespace, "link", "set", name, "up"], check=True)
    send_to = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); [s.sendto(b'x', (f'10.98.{n}.9', 9999)) for n in (1, 2, 3, 1)]"
    with recording(namespace, tmp_path, "-i", "one", "-i", "two", "-w", "t.pcap", "udp port 9999 or arp") as process:
        subprocess.run(inside(namespace, sys.executable, "-c", send_to), check=True)
        time.sleep(1.2)
        process.send_signal(signal.SIGTERM)
        ended(process, 0)
    data = (tmp_path / "t.pcap").read_bytes()
    assert "LINUX_SLL2" == manifest(tmp_path)["link_type"]
    assert b"\x0a\x62\x01" in data
    assert b"\x0a\x62\x02" in data
    assert b"\x0a\x62\x03" not in data
    assert "one, two" == manifest(tmp_path)["interface"]
    assert "there is no interface four" in failed(namespace, tmp_path, "-i", "one", "-i", "four", "-w", "u.pcap", code=2)


LISTEN = """
import socket
server = socket.create_server(("127.0.0.1", 2376))
client = socket.create_connection(("127.0.0.1", 2376))
print("open", client.getsockname()[1], flush=True)
input()
"""


def test_connections_that_are_open_already_are_named(namespace, elsewhere, tmp_path):
    with running(*inside(namespace, sys.executable, "-c", LISTEN), until="open") as process:
        with recording(namespace, tmp_path, "-i", "lo", "-w", "t.pcap", "--duration", "1ms") as recorder:
            ended(recorder, 0)
        with recording(elsewhere, tmp_path, "-i", "lo", "-w", "other.pcap", "--duration", "1ms") as recorder:
            ended(recorder, 0)
        (one,) = manifest(tmp_path)["circumstances"]["open_connections"]
    assert ("127.0.0.1:2376", process.pid) == (one["server"], one["pid"])
    assert Path(sys.executable).resolve().name == one["program"]
    assert [] == manifest(tmp_path, "other.pcap")["circumstances"]["open_connections"]
    assert manifest(tmp_path)["remarks"][0].endswith("without its handshake TLS cannot be decrypted; restart the client to have it all")


TLS = """
import socket, ssl, sys, threading
key, certificate = sys.argv[1:]
server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server.load_cert_chain(certificate, key)
server.maximum_version = ssl.TLSVersion.TLSv1_2
server.set_ciphers("AES256-SHA:@SECLEVEL=0")
listener = socket.create_server(("127.0.0.1", 2376))
def serve():
    with server.wrap_socket(listener.accept()[0], server_side=True) as connection:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nOK")
thread = threading.Thread(target=serve)
thread.start()
client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
client.set_ciphers("AES256-SHA:@SECLEVEL=0")
with client.wrap_socket(socket.create_connection(("127.0.0.1", 2376))) as connection:
    connection.sendall(b"GET /_ping HTTP/1.1\\r\\nHost: docker\\r\\n\\r\\n")
    assert connection.recv(1000)
thread.join()
"""


@pytest.mark.needs("tshark")
def test_a_machine_that_lives_for_half_a_second_opens_the_one_file(namespace, tmp_path):
    """Its directory appears after the recording has begun, and is removed before it ends."""
    material = machine(tmp_path / "elsewhere")
    store = tmp_path / "store"
    (store / "machines").mkdir(parents=True)
    with recording(namespace, tmp_path, "-i", "lo", "-w", "t.pcapng", "--machines", "store") as process:
        machine(store)
        time.sleep(0.5)
        subprocess.run(["rm", "-r", store / "machines/runner-1"], check=True)
        words = (str(material / name) for name in ("server-key.pem", "server.pem"))
        subprocess.run(inside(namespace, sys.executable, "-c", TLS, *words), check=True)
        process.send_signal(signal.SIGINT)
        assert ended(process, 0) == "captool analyze t.pcapng\n"
    trace = tmp_path / "t.pcapng"
    assert b"\n\r\r\n" == trace.read_bytes()[:4]
    assert 0o600 == trace.stat().st_mode & 0o777
    shown = subprocess.run(
        ["tshark", "-r", trace, "-Y", "http", "-T", "fields", "-e", "http.request.uri"],
        check=True, capture_output=True, text=True, env={**os.environ, "WIRESHARK_CONFIG_DIR": "/nonexistent"},
    ).stdout  # fmt: skip
    assert "/_ping" in shown
    made = manifest(tmp_path, "t.pcapng")
    assert trace.stat().st_size == made["file"]["bytes"]
    assert [made["file"]] == made["files"]
    assert {"said", "elsewhere", "store", "t.pcapng", "t.pcapng.json", "t.pcapng.keys"} == {path.name for path in tmp_path.iterdir()}


def test_whenever_it_is_killed_trace_and_manifest_can_be_read(namespace, tmp_path):
    """Killed at five moments under load and while files are cut, from before the first packet on."""
    for turn, delay in enumerate((0, 0.05, 0.6, 1.1, 1.7)):
        folder = tmp_path / str(turn)
        folder.mkdir()
        with recording(namespace, folder, "-i", "lo", "-w", "t.pcap", "-C", "50KB", "-G", "100ms", "udp port 9999") as process:
            load = subprocess.Popen(inside(namespace, sys.executable, "-c", FLOOD))
            time.sleep(delay)
            process.kill()
            process.wait()
            load.kill()
            load.wait()
        files = sorted(folder.glob("t-*.pcap"))
        made = manifest(folder)
        assert {"how": "recording"} == made["ended"]
        listed = [one["name"] for one in made["files"]]
        assert listed == [path.name for path in files][: len(listed)]
        assert len(files) - len(listed) <= 2
        whole = [path for path in files if path.stat().st_size]
        count = [packets(path) for path in whole]
        assert [one["packets"] for one in made["files"]] == count[: len(listed)]
        if delay > 1.5:
            assert sum(count) > 1000
            command = [sys.executable, "-m", "captool.cli.main", "analyze", *map(str, whole)]
            said = subprocess.run(command, check=False, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": PACKAGES})
            assert "none of its" in said.stderr  # UDP only
            assert cut_short(whole)[0].startswith(f"{folder}/t.pcap.json: the recording was cut off")


FLOOD = """
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    for _ in range(40):
        s.sendto(bytes(200), ("127.0.0.1", 9999))
    time.sleep(0.01)
"""
