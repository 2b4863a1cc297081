"""`captool follow` as its users meet it: lines with times, raw bytes unchanged, a reason where there is nothing."""

import pytest

PRINTED = ["Cloning repository...", "$ make test", "warning: 2 tests skipped", "ok 1 - parser", "ok 2 - network", "ok 3 - storage"]


@pytest.fixture
def dropped(fixtures):
    return fixtures / "silent-drop/server.pcap", "--keys", fixtures / "silent-drop/machines"


def test_what_the_container_printed_with_times_and_streams(captool, dropped):
    run = captool("follow", *dropped)
    heading, *lines = run.out.splitlines()
    assert (0, "") == (run.code, run.err)
    assert "connection 1  2026-11-23 UTC  POST /v1.41/containers/8794e4598261/attach?stream=1&stdout=1&stderr=1" == heading
    assert "06:17:25.458  stdout  Cloning repository..." == lines[0]
    assert "06:27:26.463  stderr  warning: 2 tests skipped" == lines[2]
    assert PRINTED == [line[22:] for line in lines[:6]]
    assert "the client never acknowledged what was printed from 06:27:26.463 on (stdout 81 bytes, stderr 25 bytes)" == lines[-1]


def test_session_secrets_open_the_stock_client_as_well(captool, fixtures):
    folder = fixtures / "stock-docker-tls13"
    run = captool("follow", folder / "server.pcap", "--keys", folder / "keys.log")
    assert 0 == run.code
    assert "  stdout  " in run.out


def test_output_can_go_to_a_file_for_its_owner_alone(captool, dropped, tmp_path):
    run = captool("follow", *dropped, "-o", tmp_path / "job.txt")
    assert (0, "") == (run.code, run.out)
    assert "ok 1 - parser" in (tmp_path / "job.txt").read_text()
    assert 0o600 == (tmp_path / "job.txt").stat().st_mode & 0o777
    assert [tmp_path / "job.txt"] == list(tmp_path.iterdir())


def test_raw_bytes_are_those_of_the_only_connection_with_output(captool, dropped, tmp_path):
    for direction, begins, ends in (("to_server", b"POST /v1.41/containers/", b"\r\n\r\n"), ("to_client", b"HTTP/1.1 101 UPGRADED", b"Job succeeded\n")):
        assert 0 == captool("follow", *dropped, "--raw", direction, "-o", tmp_path / direction).code
        said = (tmp_path / direction).read_bytes()
        assert said.startswith(begins)
        assert said.endswith(ends)
    assert b"\x01\0\0\0\0\0\0\x51ok 1 - parser\n" in (tmp_path / "to_client").read_bytes()


def test_without_a_key_the_reason_is_said_and_no_file_is_left(captool, dropped, tmp_path):
    for options in ((), ("--raw", "to_client"), ("--raw", "to_client", "--connection", "1")):
        run = captool("follow", dropped[0], *options, "-o", tmp_path / "job")
        assert (4, "") == (run.code, run.out)
        assert "no-secret" in run.err
        assert "--keys" in run.err
        assert 1 == run.err.count("\n")
    assert [] == list(tmp_path.iterdir())


def test_forward_secrecy_is_the_reason_that_is_said(captool, fixtures):
    folder = fixtures / "ecdhe-no-secrets"
    run = captool("follow", folder / "server.pcap", "--keys", folder / "machines")
    assert 4 == run.code
    assert "forward-secrecy" in run.err


def test_connection_that_is_not_there_and_connection_without_output(captool, dropped):
    assert "no connection 9" in captool("follow", *dropped, "--connection", "9").err
    run = captool("follow", *dropped, "--connection", "0")
    assert 4 == run.code
    assert "container output" in run.err


def test_a_password_file_that_others_can_read_is_used_and_told(captool, tmp_path, dropped):
    password = tmp_path / "the password"
    password.write_text("secret\n")
    for mode, told in ((0o600, ""), (0o400, ""), (0o640, "told"), (0o604, "told")):
        password.chmod(mode)
        run = captool("analyze", *dropped, "--key-password-file", password)
        remedy = f"captool: {password}: the password in it can be read by other users; take that right from them: chmod 600 '{password}'\n"
        assert (0, remedy if told else "") == (run.code, run.err)


def test_encrypted_key_needs_its_password(captool, fixtures, tmp_path, dropped):
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat, load_pem_private_key

    key = load_pem_private_key((fixtures / "silent-drop/machines/runner-1/server-key.pem").read_bytes(), None)
    (tmp_path / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"hunter2")))
    (tmp_path / "password").write_text("hunter2\nsecond line\n")
    (tmp_path / "wrong").write_text("hunter3\n")
    (tmp_path / "none").write_text("\n")
    for command in ("follow", "analyze"):
        assert 0 == captool(command, dropped[0], "--keys", tmp_path / "key.pem", "--key-password-file", tmp_path / "password").code
        assert 3 == captool(command, dropped[0], "--keys", tmp_path / "key.pem").code
        for wrong in ("wrong", "none", "missing"):
            run = captool(command, dropped[0], "--keys", tmp_path / "key.pem", "--key-password-file", tmp_path / wrong)
            assert (3, "") == (run.code, run.out)
            assert "hunter" not in run.err
