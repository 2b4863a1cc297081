"""A key log that opens one direction alone: what the other said is not read, and nothing is claimed of it."""

import re
import ssl

import pytest

from captool.analysis import analyze
from captool.report.text import render
from tests.tls.captures import talk, write
from tests.tls.stacks import CLIENT, SERVER, contexts, key_ring, record

GETS = [b"GET /v1.41/containers/ab%02d/json HTTP/1.1\r\nHost: d\r\n\r\n" % number for number in range(3)]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture(scope="module")
def recording():
    said = [part for get in GETS for part in ((CLIENT, get), (SERVER, OK))]
    return record(*contexts(ciphers="DEFAULT", version=ssl.TLSVersion.TLSv1_3), said)


def judged(path, recording, label):
    log = b"\n".join(line for line in recording.key_log.splitlines() if not line.startswith(label))
    return analyze(write(path, talk(recording.wire)), key_ring(key_log=log))


def test_answers_that_cannot_be_decrypted_were_not_missing(tmp_path, recording):
    analysis = judged(tmp_path / "c.pcap", recording, b"SERVER_TRAFFIC_SECRET_0")
    (connection,) = analysis.connections
    assert ("partly", 3) == (connection.tls.status, len(connection.exchanges))
    assert not any(exchange.http.response_followed for exchange in connection.exchanges)
    assert {"unanswered-request", "server-closed", "possible-drop", "capture-ended"}.isdisjoint(one.code for one in analysis.findings)
    (unread,) = [one for one in analysis.findings if one.code == "http-incomplete"]
    assert "The capture lacks" not in unread.message
    assert unread.message.startswith("What the server said could not be decrypted to its end (no-matching-session-key).")
    assert "Record again" not in unread.remedy
    text = re.sub(r"\s+", " ", render(analysis, connection=0))
    assert "no response" not in text
    assert 3 == text.count("→ response not decrypted")
    assert "1 connection could be decrypted only in part; the rest of what was said is not judged." == analysis.verdict[-1]


def test_requests_that_cannot_be_decrypted_are_not_claimed(tmp_path, recording):
    analysis = judged(tmp_path / "c.pcap", recording, b"CLIENT_TRAFFIC_SECRET_0")
    assert not any("The capture lacks" in one.message for one in analysis.findings)
