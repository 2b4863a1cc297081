"""Handshakes with real servers: what is negotiated, what a private key would be worth, and that nothing hangs."""

import contextlib
import shutil
import socket
import subprocess
import threading
import time

import pytest

from captool.doctor.handshake import RSA_ONLY, STOCK_CLIENT, ClientIdentity, handshake
from captool.doctor.server import client_identities, look_at_server
from captool.keys.load import load_keys
from captool.keys.material import KeyRing
from docker_machine import machine
from tests.tls.stacks import identity

openssl = pytest.mark.needs("openssl")


@contextlib.contextmanager
def s_server(directory, *options):
    """`openssl s_server` with a machine's certificate on a port of its own."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [
        "openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", directory / "server.pem", "-key", directory / "server-key.pem",
        "-quiet", *options,
    ]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            deadline = time.monotonic() + 10
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                assert time.monotonic() < deadline
                assert server.poll() is None
                time.sleep(0.02)
            yield port
        finally:
            server.kill()


@contextlib.contextmanager
def plain_server(answer, *, close=True):
    """A server that sends this to whoever connects, once it has heard something."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept = []

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    kept.append(connection)
                    connection.recv(4096)
                    connection.sendall(answer)
                    if close:
                        connection.close()

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            for connection in kept:
                connection.close()


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    return machine(tmp_path_factory.mktemp("store"))


@openssl
@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "verdict", "stock", "rsa"),
    [
        (("-tls1_2", "-cipher", "AES256-SHA:@SECLEVEL=0"), "opens-rsa-only", (None, None), ("TLS_RSA_WITH_AES_256_CBC_SHA", None)),
        (("-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256", "-groups", "P-256"), "forward-secrecy",
         ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "secp256r1"), (None, None)),
        (("-tls1_3",), "forward-secrecy", ("TLS_AES_256_GCM_SHA384", "x25519"), (None, None)),
        (("-cipher", "ALL:@SECLEVEL=0"), "opens-rsa-only", ("TLS_AES_256_GCM_SHA384", "x25519"), ("TLS_RSA_WITH_AES_256_GCM_SHA384", None)),
    ],
    ids=["RSA only", "ECDHE only", "TLS 1.3 only", "everything"],
)  # fmt: skip
def test_what_a_private_key_is_worth(runner, options, verdict, stock, rsa):
    with s_server(runner, *options) as port:
        report = look_at_server("127.0.0.1", port, load_keys([runner]), [runner], attempt_s=1.5)
    assert (verdict, "server-key.pem") == (report.private_key, report.matching_key)
    assert stock == (report.stock.cipher_suite, report.stock.group)
    assert rsa == (report.rsa.cipher_suite, report.rsa.group)
    assert "O=root.runner-1" == report.certificate.subject
    assert ("cannot connect" in report.sentence) == (stock == (None, None))
    assert ("--session-keys" in report.sentence) == (stock != (None, None))


@openssl
@pytest.mark.slow
def test_server_that_wants_a_certificate_has_chosen_its_suite_before_it_refuses(runner):
    options = ("-tls1_2", "-Verify", "1", "-verify_return_error", "-CAfile", str(runner / "ca.pem"), "-cipher", "AES128-SHA:@SECLEVEL=0")
    with s_server(runner, *options) as port:
        without = handshake("127.0.0.1", port, RSA_ONLY, attempt_s=1.5)
        given = handshake("127.0.0.1", port, RSA_ONLY, ClientIdentity(runner / "cert.pem", runner / "key.pem"), attempt_s=1.5)
    assert ("refused", "RSA", True) == (without.outcome, without.key_exchange, without.asks_for_certificate)
    assert ("completed", "RSA", True) == (given.outcome, given.key_exchange, given.asks_for_certificate)


@openssl
@pytest.mark.slow
@pytest.mark.parametrize("versions", [(), ("-tls1_2",)])
def test_the_servers_own_key_is_known_though_the_server_refuses_clients_without_a_certificate(runner, tmp_path, versions):
    alone = tmp_path / "server-key.pem"
    alone.write_bytes((runner / "server-key.pem").read_bytes())
    options = ("-Verify", "1", "-verify_return_error", "-CAfile", str(runner / "ca.pem"), "-cipher", "ALL:@SECLEVEL=0", *versions)
    with s_server(runner, *options) as port:
        report = look_at_server("127.0.0.1", port, load_keys([alone]), [alone], attempt_s=1.5)
    assert ("opens-rsa-only", str(alone)) == (report.private_key, report.matching_key)
    assert "O=root.runner-1" == report.certificate.subject


@openssl
@pytest.mark.slow
def test_other_servers_keys_match_nothing(runner, tmp_path):
    own = tmp_path / "key.pem"
    own.write_bytes(identity().key_pem)
    with s_server(runner, "-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0") as port:
        report = look_at_server("127.0.0.1", port, load_keys([own]), [own], attempt_s=1.5)
    assert ("matching-key-missing", None) == (report.private_key, report.matching_key)
    assert "None of the given keys is that key" in report.sentence


@pytest.mark.parametrize(
    ("answer", "outcome", "detail"),
    [
        (b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request", "not-tls", "plain HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not-tls", "not TLS"),
        (b"\x15\x03\x03\x00\x02\x02\x28", "refused", "handshake_failure"),
        (b"\x16\x03\x03\x00\x04\x02\xff\xff\xff", "refused", None),
        (b"\x16\x03\x03\xff\xff" + bytes(100), "refused", None),
        (b"\x16\x03\x03\x00\x2a\x02\x00\x00\x26\x03\x03" + bytes(36), "refused", None),
        (b"\x1b[31m", "not-tls", "not TLS"),
        (b"", "closed", "closed the connection"),
    ],
)
def test_what_is_no_tls_server_is_told_and_breaks_nothing(answer, outcome, detail):
    with plain_server(answer) as port:
        report = look_at_server("127.0.0.1", port, KeyRing(), [], attempt_s=1.5)
    assert outcome == report.stock.outcome
    assert detail is None or detail in report.stock.detail
    assert "not-known" == report.private_key


@pytest.mark.slow
def test_server_that_says_nothing_is_left_after_the_time_given():
    started = time.monotonic()
    with plain_server(b"", close=False) as port:
        report = look_at_server("127.0.0.1", port, KeyRing(), [], attempt_s=0.5)
    assert ("timed-out", "not-tried") == (report.stock.outcome, report.rsa.outcome)
    assert time.monotonic() - started < 2


def test_nobody_there_is_one_reason():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    attempt = handshake("127.0.0.1", port, STOCK_CLIENT, attempt_s=2)
    assert ("unreachable", "connection refused") == (attempt.outcome, attempt.detail)
    assert "unreachable" == handshake("no-such-host.invalid", port, STOCK_CLIENT, attempt_s=2).outcome
    assert "unreachable" == handshake("a" * 300, port, STOCK_CLIENT, attempt_s=2).outcome


def test_client_certificates_are_found_beside_their_keys(runner, tmp_path):
    assert [ClientIdentity(runner / "cert.pem", runner / "key.pem")] == list(client_identities([runner.parent.parent]))
    shutil.copytree(runner, tmp_path / "again")
    assert 1 == len(list(client_identities([runner, tmp_path])))  # the same key
    (tmp_path / "again/cert.pem").write_bytes(identity().certificate_file.read_bytes())
    assert [] == list(client_identities([tmp_path]))  # not a pair
    assert [ClientIdentity(runner / "cert.pem", runner / "key.pem")] == list(client_identities([runner / "server-key.pem"]))
