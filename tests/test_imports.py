"""What a run imports: a small capture is analyzed in less time than some modules take to be imported. Lists, never timings."""

import subprocess
import sys

import pytest

from captool.analysis import hot_path_compiled
from captool.tls import libcrypto

SCRIPT = """
import sys
import click  # and what it imports, which no run can do without
before = set(sys.modules)
from captool.cli.main import main
try:
    main(sys.argv[2:])
except SystemExit as ended:
    assert ended.code in {0, None, 2}, ended.code
print(sorted((set(sys.modules) - before) & set(sys.argv[1].split())), file=sys.stderr)
"""
LATER = """
import sys
from captool.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit:
    print("dis" in sys.modules)
"""
HEAVY = "scapy pyshark rich watchdog pyroute2 elftools zstandard cryptography cryptography.x509 multiprocessing subprocess asyncio decimal difflib"
SELDOM = "json tomllib socket selectors dataclasses shlex copy gzip ctypes random tempfile"
LAYERS = "h11 captool.http captool.dockerapi captool.keys.load captool.keys.keylog captool.keys.pem captool.keys.openssl_key"
APART = "captool.capture.growing captool.other_side captool.shards captool.live captool.export captool.report.json_report captool.tcp.packet_log"
X509 = "cryptography.x509 cryptography.hazmat.primitives.serialization captool.keys.openssl_key captool.keys.pem_facts captool.keys.stored_machine"


@pytest.mark.parametrize("words", [("--help",), ("analyze", "--help"), ("analyze", "--nonsense"), ("record", "--help"), ("keys", "--help")])
def test_the_command_line_alone(words):
    assert [] == needless(f"{HEAVY} {SELDOM} {LAYERS} captool.analysis captool.findings".replace("difflib", ""), *words)


def test_a_capture_of_which_only_tcp_is_read(fixtures, tmp_path):
    packets = (fixtures / "silent-drop/server.pcap").read_bytes()
    (tmp_path / "trace.pcap").write_bytes(packets[: 24 + 3 * 16 + sum(lengths(packets, 3))])  # the handshake of TCP
    assert [] == needless(f"{HEAVY} {SELDOM} {LAYERS} {APART} captool.tls.session hashlib", "analyze", tmp_path / "trace.pcap")


@pytest.mark.parametrize("fixture", ["silent-drop", "ecdhe-no-secrets", "stock-docker-tls13"])
def test_a_capture_without_keys(fixtures, fixture):
    assert [] == needless(f"{HEAVY} {SELDOM} {LAYERS} {APART}", "analyze", fixtures / fixture / "server.pcap")


def test_a_capture_with_the_keys_of_docker_machine(fixtures):
    place = fixtures / "silent-drop"
    heavy = HEAVY.replace("cryptography ", "")  # decrypts
    assert [] == needless(f"{heavy} {APART} {X509} socket shlex tomllib", "analyze", place / "server.pcap", "--keys", place / "machines")


def test_a_capture_that_the_systems_own_library_decrypts(fixtures):
    place = fixtures / "keepalive-saves"
    heavy = HEAVY if hot_path_compiled() and libcrypto.loaded() else HEAVY.replace("cryptography ", "")
    assert [] == needless(f"{heavy} {APART} {X509} socket shlex tomllib", "analyze", place / "server.pcap", "--keys", place / "machines")


@pytest.mark.parametrize(("words", "executed"), [(("analyze", "--jobs", "0", "trace.pcap"), False), (("analyze", "--help"), True)])
def test_what_click_needs_for_help_alone(words, executed):
    """`inspect` is executed where somebody looks into it (captool.cli.import_later); that imports `dis`."""
    run = subprocess.run([sys.executable, "-c", LATER, *words], capture_output=True, text=True, check=True, cwd="/")
    assert str(executed) == run.stdout.splitlines()[-1]


def test_the_table_of_keys(fixtures):
    assert [] == needless(f"{HEAVY} {APART} {X509} h11", "keys", fixtures / "silent-drop/machines")


def test_keys_that_open_nothing(fixtures):
    trace, keys = fixtures / "ecdhe-no-secrets/server.pcap", fixtures / "silent-drop/machines"
    assert [] == needless(f"{HEAVY} {APART} {X509} h11 captool.http", "analyze", trace, "--keys", keys)


def needless(modules, *words):
    """Those of the modules, separated by blanks, that the command imports."""
    command = [sys.executable, "-c", SCRIPT, modules, *map(str, words)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")  # what is installed, and compiled
    return eval(run.stderr.splitlines()[-1])


def lengths(pcap, count):
    """The captured lengths of the first packets of a little-endian pcap file."""
    found, at = [], 24
    for _ in range(count):
        found.append(int.from_bytes(pcap[at + 8 : at + 12], "little"))
        at += 16 + found[-1]
    return found
