"""What captool tells of an attach stream with a hole: real TLS sessions whose capture lacks segments."""

import json
import re
import ssl
import subprocess
from functools import cache

import pytest

from captool.analysis import analyze
from captool.report.json_report import report
from captool.report.text import render
from captool.report.transcript_text import TranscriptText
from captool.transcript import Printed, transcript
from tests.tls.captures import talk, write
from tests.tls.stacks import CLIENT, SERVER, contexts, cut, identity, key_ring, record

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
V10, V12, V13 = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
ATTACH = b"POST /v1.41/containers/ab12/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
UPGRADED = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
LINES = 40
KINDS = {
    "GCM": ("AES128-GCM-SHA256", V12),
    "CBC": ("AES256-SHA", V12),
    "ChaCha20": ("ECDHE-RSA-CHACHA20-POLY1305", V12),
    "TLS 1.3": ("DEFAULT", V13),
}


def frame(kind, data):
    return bytes((kind, 0, 0, 0)) + len(data).to_bytes(4) + data


def line(number):
    return b"line %02d\n" % number


@cache
def attached(kind):
    ciphers, version = KINDS.get(kind, (kind, V10))
    output = [(SERVER, frame(1 + number % 2, line(number))) for number in range(LINES)]
    recording = record(*contexts(ciphers=ciphers, version=version), [(CLIENT, ATTACH), (SERVER, UPGRADED), *output])
    first = len(recording.wire) - LINES - 2  # close_notify of both sides comes last
    assert all(direction == SERVER for direction, _ in recording.wire[first : first + LINES])
    return recording, first


def captured(tmp_path, kind, lost):
    """The capture without the segments of these lines, and what opens it."""
    recording, first = attached(kind)
    assert len(recording.wire) == len(cut(recording.wire, 9000))
    capture = write(tmp_path / "c.pcap", talk(recording.wire, size=9000, lost={first + number for number in lost}))
    return capture, key_ring(identity(), key_log=recording.key_log)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lost", [[5], [5, 6, 7], [5, 20], [0], [LINES - 1], list(range(3, 38))])
def test_output_behind_a_hole_is_read_and_the_exchange_is_not_complete(tmp_path, kind, lost):
    (one,) = analyze(*captured(tmp_path, kind, lost)).connections
    assert ("partly", "stream-gap") == (one.tls.status, one.tls.reason)
    (exchange,) = one.exchanges
    kept = [number for number in range(LINES) if number not in lost]
    assert (False, False, None) == (exchange.http.complete, exchange.http.response_followed, exchange.http.end)
    assert (8 * sum(n % 2 == 0 for n in kept), 8 * sum(n % 2 for n in kept)) == (exchange.stream.stdout_bytes, exchange.stream.stderr_bytes)
    holes = sum(number - 1 not in lost for number in lost)
    assert (holes, 0) == (exchange.stream.holes, exchange.stream.unattributed_bytes)
    missing = 16 * len(lost)  # a frame with its header
    if kind == "CBC":
        least, most = exchange.stream.missing
        assert least <= missing <= most
    else:
        assert (missing, missing) == exchange.stream.missing


@pytest.mark.parametrize("kind", KINDS)
def test_whole_capture_has_no_hole(tmp_path, kind):
    (one,) = analyze(*captured(tmp_path, kind, [])).connections
    assert ("decrypted", None) == (one.tls.status, one.tls.reason)
    assert (0, 0) == (one.exchanges[0].stream.holes, one.exchanges[0].stream.unattributed_bytes)


def test_cipher_that_needs_the_record_before_stops_and_nothing_is_called_complete(tmp_path):
    (one,) = analyze(*captured(tmp_path, "AES128-SHA", [5])).connections
    assert ("partly", "stream-gap") == (one.tls.status, one.tls.reason)
    (exchange,) = one.exchanges
    assert (False, None, 1, 40) == (
        exchange.http.complete,
        exchange.http.end,
        exchange.stream.holes,
        exchange.stream.stdout_bytes + exchange.stream.stderr_bytes,
    )


def test_how_much_is_missing_is_not_said_where_one_place_is_unknown(tmp_path):
    """Behind the hole a record is damaged: nobody knows how much more the connection said."""
    recording, first = attached("GCM")
    wire = list(recording.wire)
    direction, data = wire[first + 20]
    wire[first + 20] = direction, data[:-1] + bytes([data[-1] ^ 1])
    (one,) = analyze(write(tmp_path / "c.pcap", talk(wire, size=9000, lost={first + 5})), key_ring(identity())).connections
    assert (2, None) == (one.exchanges[0].stream.holes, one.exchanges[0].stream.missing)
    assert (1, 16, 16) == one.tls.lost.to_client[1:4]


def test_damaged_record_leaves_the_exchange_incomplete(tmp_path):
    recording, first = attached("GCM")
    wire = list(recording.wire)
    direction, data = wire[first + 5]
    wire[first + 5] = direction, data[:-1] + bytes([data[-1] ^ 1])
    (one,) = analyze(write(tmp_path / "c.pcap", talk(wire, size=9000)), key_ring(identity())).connections
    assert ("bad-record-mac", False) == (one.tls.reason, one.exchanges[0].http.complete)
    assert 1 == one.exchanges[0].stream.holes


def test_transcript_shows_the_place_of_the_hole(tmp_path):
    printed = list(transcript(*captured(tmp_path, "TLS 1.3", [5, 6])))
    assert ["stdout", "stderr"] * 2 + ["stdout", "hole", "stderr"] == [one.output.stream for one in printed[:7] if isinstance(one, Printed)]
    text = list(TranscriptText().render(printed))
    at = next(index for index, shown in enumerate(text) if "the capture lacks what was printed before this" in shown)
    assert "before this (32 bytes of the stream)" in text[at]
    assert ("line 04", "line 07") == (text[at - 1].split("  ")[-1].strip(), text[at + 1].split("  ")[-1].strip())


def test_reports_call_the_sizes_lower_bounds(tmp_path):
    found = analyze(*captured(tmp_path, "GCM", [5, 6, 20]))
    text = re.sub(r"\s+", " ", render(found, connection=0))
    assert "101; at least stdout 144 bytes, stderr 152 bytes (the capture lacks parts of it, in 2 places, 48 bytes of the stream)" in text
    assert "; 3 records of the server are missing, with 48 bytes of plaintext" in text
    assert "Decryption goes on behind that." in text
    (one,) = json.loads(json.dumps(report(found)))["connections"]
    stream, between = one["exchanges"][0]["stream"], {"least": 48, "most": 48}
    assert (2, 0, between) == (stream["holes"], stream["unattributed_bytes"], stream["missing_bytes"])
    told = {"places": 2, "records": 3, "content_bytes": between, "application_bytes": between}
    assert {"to_server": None, "to_client": told} == one["tls"]["lost_records"]


def test_plain_http_stream_goes_on_behind_a_hole(tmp_path):
    output = [(SERVER, frame(1, line(number))) for number in range(10)]
    plain = talk([(CLIENT, ATTACH), (SERVER, UPGRADED), *output], lost={5})
    for packet in plain.packets:
        packet.ts_ns += 1
    (one,) = analyze(write(tmp_path / "c.pcap", plain)).connections
    (exchange,) = one.exchanges
    assert (72, 1, False) == (exchange.stream.stdout_bytes, exchange.stream.holes, exchange.http.complete)
    assert (16, 16) == exchange.stream.missing


def test_frames_longer_than_a_record_are_passed_over_until_one_begins(tmp_path):
    """A frame of 40 kB takes three records; behind a hole in its first one the other two belong to nobody."""
    output = [(SERVER, frame(1, b"a" * 40_000)), (SERVER, frame(2, b"after"))]
    recording = record(*contexts(ciphers="AES128-GCM-SHA256"), [(CLIENT, ATTACH), (SERVER, UPGRADED), *output])
    wire = cut(recording.wire, 1400)
    first = next(
        index for index, (direction, data) in enumerate(wire) if direction == SERVER and len(data) == 1400 and wire[index + 9][0] == SERVER
    )
    (one,) = analyze(write(tmp_path / "c.pcap", talk(recording.wire, lost={first + 3})), key_ring(identity())).connections
    stream = one.exchanges[0].stream
    assert (0, 5, 1) == (stream.stdout_bytes, stream.stderr_bytes, stream.holes)
    assert 40_008 - (1 << 14) == stream.unattributed_bytes
    assert (1 << 14, 1 << 14) == stream.missing
    text = re.sub(r"\s+", " ", render(analyze(tmp_path / "c.pcap", key_ring(identity())), connection=0))
    assert "23.6 kB more cannot be told apart" in text


@pytest.mark.parametrize("kind", ["GCM", "ChaCha20", "TLS 1.3"])
def test_behind_a_hole_inside_a_frame_its_rest_is_read_and_the_hole_has_its_stream(tmp_path, kind):
    """A frame of 40 kB takes three records, the second of which is lost."""
    ciphers, version = KINDS[kind]
    output = [(SERVER, frame(2, b"e" * 40_000)), (SERVER, frame(1, b"after\n"))]
    recording = record(*contexts(ciphers=ciphers, version=version), [(CLIENT, ATTACH), (SERVER, UPGRADED), *output])
    wire = cut(recording.wire, 1400)
    long = [index for index, (direction, data) in enumerate(wire) if direction == SERVER and len(data) == 1400]
    capture = write(tmp_path / "c.pcap", talk(recording.wire, lost={long[-12]}))
    ring = key_ring(identity(), key_log=recording.key_log)
    found = analyze(capture, ring)
    stream = found.connections[0].exchanges[0].stream
    assert (6, 40_000 - (1 << 14), 1, 0) == (stream.stdout_bytes, stream.stderr_bytes, stream.holes, stream.unattributed_bytes)
    assert ((1 << 14, 1 << 14), 0, 1 << 14) == (stream.missing, stream.missing_stdout, stream.missing_stderr)
    text = re.sub(r"\s+", " ", render(found, connection=0))
    assert "the capture lacks parts of it, in 1 place, 16,384 bytes of stderr)" in text
    told = report(found)["connections"][0]["exchanges"][0]["stream"]
    assert {"stdout_bytes": 0, "stderr_bytes": 1 << 14} == told["missing_output"]
    printed = list(transcript(capture, ring))
    holes = [one.output for one in printed if isinstance(one, Printed) and one.output.stream == "hole"]
    assert [(0, 1 << 14)] == [(hole.of_stdout, hole.of_stderr) for hole in holes]
    assert [line for line in TranscriptText().render(printed) if "before this (16,384 bytes of stderr)" in line]


def test_plain_hole_inside_a_frame(tmp_path):
    output = [(SERVER, frame(1, b"a" * 5000)), (SERVER, frame(2, b"after\n"))]
    wire = [(CLIENT, ATTACH), (SERVER, UPGRADED), *output]
    (one,) = analyze(write(tmp_path / "c.pcap", talk(wire, size=1000, lost={4}))).connections
    stream = one.exchanges[0].stream
    assert (4000, 6, 1000, 0, 0) == (
        stream.stdout_bytes, stream.stderr_bytes, stream.missing_stdout, stream.missing_stderr, stream.unattributed_bytes,
    )  # fmt: skip


# The stock docker CLI and dockerd, and dockerd behind an OpenSSL front: real recordings that lose one packet.


@pytest.mark.needs("editcap")
@pytest.mark.parametrize(
    ("case", "keys", "lost", "expected"),
    [
        ("stock-docker-tls13", "keys.log", 42, ["", "result", "oops"]),
        ("stock-docker-tls13", "keys.log", 46, ["start", "", "oops"]),
        ("silent-drop", "machines", 28, ["", "$ make test", "warning: 2 tests skipped", "ok 1 - parser"]),
    ],
)
def test_recording_that_lost_a_packet(fixtures, tmp_path, case, keys, lost, expected):
    capture = tmp_path / "lost.pcap"
    subprocess.run(["editcap", fixtures / case / "server.pcap", capture, str(lost)], check=True)
    printed = [one for one in transcript(capture, fixtures / case / keys) if isinstance(one, Printed)]
    lines = [one.output.data.decode() or "\n" for one in printed if one.output.stream != "stdin"]
    assert expected == "".join(lines).split("\n")[: len(expected)]
    assert 1 == [one.output.stream for one in printed].count("hole")
