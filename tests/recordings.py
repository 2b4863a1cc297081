"""A `captool record` that runs in a network namespace of a test's own."""

import contextlib
import itertools
import json
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import captool

NUMBERS = itertools.count()
PACKAGES = str(Path(captool.__file__).parents[1])  # the programs run elsewhere, and are to run the captool that is tested
SEND = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for n in range(int(sys.argv[1])):
    s.sendto(b"x" * int(sys.argv[2]), ("127.0.0.1", 9999))
"""


@contextlib.contextmanager
def network_namespace():
    name = f"captool-test-{os.getpid()}-{next(NUMBERS)}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        yield name
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


def inside(namespace, *words):
    return ["nsenter", f"--net=/run/netns/{namespace}", *words]


def send(namespace, count, size=10):
    subprocess.run(inside(namespace, sys.executable, "-c", SEND, str(count), str(size)), check=True)


@contextlib.contextmanager
def recording(namespace, folder, *words, wrapper=()):
    """A recording that has begun; its messages are collected in folder/said."""
    said = folder / "said"
    command = inside(namespace, *wrapper, sys.executable, "-m", "captool.cli.main", "record", *words)
    environment = {**os.environ, "HOME": str(folder), "PYTHONPATH": PACKAGES}
    with said.open("wb") as sink:
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=sink, env=environment)
    try:
        deadline = time.monotonic() + 20
        while b"recording on" not in said.read_bytes() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        process.said = said
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()


def ended(process, code):
    """The recording's standard output, once it has ended with this exit code."""
    output = process.stdout.read().decode()
    assert process.wait(30) == code, process.said.read_text()
    return output


def failed(namespace, folder, *words, code, wrapper=()):
    """What a recording that cannot begin says, which is one line."""
    with recording(namespace, folder, *words, wrapper=wrapper) as process:
        assert ended(process, code) == ""
    (line,) = (folder / "said").read_text().splitlines()
    assert line.startswith("captool: ")
    return line


def packets(path):
    """The number of packets of a pcap file that ends after a whole one."""
    data = path.read_bytes()
    position, count = 24, 0
    while position < len(data):
        position, count = position + 16 + struct.unpack_from("<I", data, position + 8)[0], count + 1
    assert position == len(data)
    return count


def wait_for_packets(path):
    """The kernel hands packets over within a second."""
    deadline = time.monotonic() + 10
    while path.stat().st_size < 100 and time.monotonic() < deadline:
        time.sleep(0.05)


def manifest(folder, name="t.pcap"):
    return json.loads((folder / f"{name}.json").read_text())
