"""A renegotiated session with each packet lost in turn: what the others carried is read, and nobody is sent after the wrong cause.

data/renegotiation.pcap: `openssl s_server -client_renegotiation -rev -keylogfile ...` and `s_client -tls1_2 -cipher AES128-GCM-SHA256`, which
was given a line, `R`, a line, `R` and a line on its standard input, recorded by tcpdump; OpenSSL breaks the last renegotiation off.
"""

import struct
from pathlib import Path

import pytest

from captool.analysis import analyze
from captool.direction import Direction
from captool.errors import NothingMatchedError
from captool.transcript import Said, plaintext

DATA = Path(__file__).parent / "data"
KEY_LOG = DATA / "renegotiation.log"
HELLOS = (4, 6)  # of the first handshake, in clear
NEW_HELLOS = (13, 14)  # of the second
LINES = {10: b"hello one\n", 11: b"eno olleh\n", 19: b"hello two after\n", 23: b"retfa owt olleh\n"}
ALL_LINES = ([LINES[10], LINES[19]], [LINES[11], LINES[23]])
# Nothing is known of what was lost where no packet of that direction follows.
LAST = (25, 28)
CARRYING = (4, 6, 8, 9, 10, 11, 13, 14, 16, 17, 19, 21, 23, *LAST)


def without(number, tmp_path):
    """The capture without this packet."""
    data = (DATA / "renegotiation.pcap").read_bytes()
    kept, at, packet = data[:24], 24, 0
    while at < len(data):
        end = at + 16 + struct.unpack_from("<I", data, at + 8)[0]
        packet += 1
        kept += b"" if packet == number else data[at:end]
        at = end
    path = tmp_path / "capture.pcap"
    path.write_bytes(kept)
    return path


def lines(path, direction):
    try:
        return [one.data for one in plaintext(path, direction, 0, KEY_LOG) if isinstance(one, Said)]
    except NothingMatchedError:
        return []


def read(path):
    return tuple(lines(path, direction) for direction in Direction)


def test_all_of_it_is_read(tmp_path):
    assert ALL_LINES == read(without(0, tmp_path))


@pytest.mark.parametrize("lost", [number for number in CARRYING if number not in (*HELLOS, *NEW_HELLOS)])
def test_a_lost_packet_takes_its_own_line_and_no_other(lost, tmp_path):
    path = without(lost, tmp_path)
    assert tuple([line for line in way if line != LINES.get(lost)] for way in ALL_LINES) == read(path)
    (connection,) = analyze(path, keys=KEY_LOG).connections
    assert (("decrypted", None) if lost in LAST else ("partly", "stream-gap")) == (connection.tls.status, connection.tls.reason)
    assert (lost in {8, 9}) == ("a part of the handshake among them" in (connection.tls.detail or ""))  # in clear


@pytest.mark.parametrize("lost", NEW_HELLOS)
def test_without_a_hello_what_came_before_is_read_and_the_hole_is_the_reason(lost, tmp_path):
    path = without(lost, tmp_path)
    assert ([LINES[10]], [LINES[11]]) == read(path)
    (connection,) = analyze(path, keys=KEY_LOG).connections
    assert ("partly", "stream-gap") == (connection.tls.status, connection.tls.reason)
    assert all(missing is None or missing.application_bytes[0] == 0 for missing in connection.tls.lost)


@pytest.mark.parametrize("lost", HELLOS)
def test_without_the_first_hellos_nothing_is_read(lost, tmp_path):
    path = without(lost, tmp_path)
    assert ([], []) == read(path)
    (connection,) = analyze(path, keys=KEY_LOG).connections
    assert ("encrypted", "stream-gap") == (connection.tls.status, connection.tls.reason)
    assert connection.tls.detail.endswith("are missing from the capture, a part of the handshake among them.")
