"""`captool export` as its users meet it; what it writes is judged by tshark, which is given nothing but the file."""

import os
import subprocess
import threading

import pytest

from fixture_cases import FIXTURES

CASES = ("ecdhe-key-log", "idle-but-healthy", "keepalive-saves", "silent-drop", "stock-docker-tls13")
tshark_needed = pytest.mark.needs("tshark")


def keys_of(folder):
    return [word for path in (folder / "machines", folder / "keys.log") if path.exists() for word in ("--keys", path)]


def tshark(*words):
    environment = {**os.environ, "WIRESHARK_CONFIG_DIR": "/nonexistent"}  # without any preference
    return subprocess.run(["tshark", *map(str, words)], check=True, capture_output=True, text=True, env=environment).stdout


def rsa_and_log(folder):
    options = [f'-ouat:rsa_keys:"{path}",""' for path in sorted(folder.glob("machines/*/server-key.pem"))]
    return [*options, *(f"-otls.keylog_file:{path}" for path in folder.glob("keys.log"))]


@tshark_needed
@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_tshark_reads_the_file_decrypted_without_any_preference(captool, tmp_path, case):
    folder, made = FIXTURES / case, tmp_path / "one.pcapng"
    assert captool("export", folder / "server.pcap", *keys_of(folder), "--to", "pcapng", "-o", made).code == 0
    shown = ("frame.number", "frame.time_epoch", "frame.len", "http.request.uri", "http.response.code")
    fields = ("-T", "fields", *(word for name in shown for word in ("-e", name)))
    expected = tshark("-r", folder / "server.pcap", *rsa_and_log(folder), *fields)
    assert "/containers/create" in expected
    assert expected == tshark("-r", made, *fields)
    assert 0o600 == made.stat().st_mode & 0o777
    assert [made] == list(tmp_path.iterdir())


@tshark_needed
@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_the_key_log_alone_opens_the_capture(captool, tmp_path, case):
    folder, made = FIXTURES / case, tmp_path / "keys.log"
    run = captool("export", folder / "server.pcap", *keys_of(folder), "--to", "keylog", "-o", made)
    assert run.code == 0
    assert 0o600 == made.stat().st_mode & 0o777
    requests = tshark("-r", folder / "server.pcap", f"-otls.keylog_file:{made}", "-T", "fields", "-e", "http.request.uri")
    assert "/containers/create" in requests
    assert not {line.split()[2] for line in made.read_text().splitlines()} & set(f"{run.out} {run.err}".split())


def test_captool_reads_what_it_wrote(captool, tmp_path):
    folder, made = FIXTURES / "silent-drop", tmp_path / "one.pcapng"
    captool("export", folder / "server.pcap", *keys_of(folder), "--to", "pcapng", "-o", made)
    with_keys = captool("analyze", folder / "server.pcap", *keys_of(folder)).out
    alone = captool("analyze", made).out
    assert "Job succeeded" in alone
    assert with_keys.splitlines()[3:8] == alone.splitlines()[3:8]


def test_secrets_of_other_connections_stay_at_home(captool, tmp_path):
    folder = FIXTURES / "stock-docker-tls13"
    (tmp_path / "more.log").write_text((folder / "keys.log").read_text() + f"CLIENT_RANDOM {'ab' * 32} {'cd' * 48}\n")
    made = tmp_path / "keys.log"
    assert captool("export", folder / "server.pcap", "--keys", tmp_path / "more.log", "--to", "keylog", "-o", made).code == 0
    lines = made.read_text().splitlines()
    assert {line for line in (folder / "keys.log").read_text().splitlines() if line[:1] != "#"} >= set(lines)
    assert len(lines) == 12
    assert "cdcdcd" not in made.read_text()


def test_a_capture_that_no_secret_opens_is_not_written(captool, tmp_path):
    folder = FIXTURES / "ecdhe-no-secrets"
    for form in ("pcapng", "keylog"):
        run = captool("export", folder / "server.pcap", *keys_of(folder), "--to", form, "-o", tmp_path / "out")
        assert (4, "") == (run.code, run.out)
        assert "no secret of its TLS connections is known" in run.err
    assert [] == list(tmp_path.iterdir())


def test_the_capture_itself_is_never_the_output(captool, tmp_path):
    folder, trace = FIXTURES / "silent-drop", tmp_path / "t.pcap"
    trace.write_bytes((folder / "server.pcap").read_bytes())
    run = captool("export", trace, *keys_of(folder), "--to", "pcapng", "-o", trace)
    assert (2, True) == (run.code, "is what is to be read" in run.err)
    assert (folder / "server.pcap").read_bytes() == trace.read_bytes()


def test_a_place_that_cannot_be_written_is_said_and_leaves_nothing(captool, tmp_path):
    folder = FIXTURES / "silent-drop"
    run = captool("export", folder / "server.pcap", *keys_of(folder), "--to", "pcapng", "-o", tmp_path / "missing/x.pcapng")
    assert (2, 1) == (run.code, len(run.err.splitlines()))
    assert [] == list(tmp_path.iterdir())


def test_a_pipe_is_written_to_and_stays_one(captool, tmp_path):
    folder, pipe = FIXTURES / "silent-drop", tmp_path / "pipe"
    os.mkfifo(pipe)
    got = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    assert captool("export", folder / "server.pcap", *keys_of(folder), "--to", "keylog", "-o", pipe).code == 0
    reader.join(10)
    assert got[0].startswith(b"CLIENT_RANDOM ")
    assert pipe.is_fifo()


@pytest.mark.needs("tshark", "editcap")
@pytest.mark.slow
def test_blocks_of_a_pcapng_capture_are_kept_and_its_own_secrets_are_in_front(captool, tmp_path):
    folder = FIXTURES / "stock-docker-tls13"
    first, again, other = tmp_path / "first.pcapng", tmp_path / "again.pcapng", tmp_path / "commented.pcapng"
    captool("export", folder / "server.pcap", *keys_of(folder), "--to", "pcapng", "-o", first)
    subprocess.run(["editcap", "-a", "7:the seventh packet", first, other], check=True)
    assert captool("export", other, "--to", "pcapng", "-o", again).code == 0
    fields = ("-T", "fields", "-e", "frame.time_epoch", "-e", "frame.comment", "-e", "http.request.uri")
    assert tshark("-r", other, *fields) == tshark("-r", again, *fields)
    assert "the seventh packet" in tshark("-r", again, *fields)
    data = again.read_bytes()
    assert data.count(b"CLIENT_HANDSHAKE_TRAFFIC_SECRET") == first.read_bytes().count(b"CLIENT_HANDSHAKE_TRAFFIC_SECRET") == 3
    assert data.index(b"CLIENT_HANDSHAKE_TRAFFIC_SECRET") < data.index(b"the seventh packet")
