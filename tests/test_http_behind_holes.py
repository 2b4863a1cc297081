"""Real recordings of connections that carry many requests, with packets taken out: what is told is what the whole recording tells."""

import struct
from functools import cache

import pytest

from captool.analysis import analyze
from captool.report.json_report import report
from captool.report.text import render
from captool.report.transcript_text import TranscriptText
from captool.transcript import transcript
from fixture_cases import FIXTURES

# Plain HTTP, TLS 1.3, and TLS 1.2 under AES-CBC with a question every 30 s.
CASES = {"many-requests": [], "many-requests-tls13": ["keys.log"], "silent-drop": ["machines"]}


def keys(case):
    return [FIXTURES / case / name for name in CASES[case]]


@cache
def recorded(case):
    """Header and packets of the recording, and the connection with the most exchanges in it."""
    path = FIXTURES / case / "server.pcap"
    content, place, packets = path.read_bytes(), 24, []
    while place < len(content):
        (size,) = struct.unpack_from("<I", content, place + 8)
        packets.append(content[place : place + 16 + size])
        place += 16 + size
    whole = max(analyze(path, keys(case)).connections, key=lambda one: len(one.exchanges))
    return content[:24], packets, whole


def of_connection(case):
    """The numbers (from 0) of the connection's packets with data, behind those of the handshake."""
    _, packets, whole = recorded(case)
    first = whole.exchanges[0].http.request.packet - 1
    ends = {whole.tcp.client.port, whole.tcp.server.port}
    found = []
    for number, packet in enumerate(packets[first:], first):
        ip = packet[16 + 14 :]
        segment = ip[(ip[0] & 15) * 4 : int.from_bytes(ip[2:4])]
        if set(struct.unpack_from(">HH", segment)) == ends and len(segment) > (segment[12] >> 4) * 4:
            found.append(number)
    return found


def without(case, lost, tmp_path):
    header, packets, whole = recorded(case)
    path = tmp_path / "lossy.pcap"
    path.write_bytes(header + b"".join(packet for number, packet in enumerate(packets) if number not in lost))
    lossy = analyze(path, keys(case))
    return lossy, next(one for one in lossy.connections if one.tcp.client == whole.tcp.client)


def compared(case, lossy):
    """How many exchanges are told as the whole recording tells them; nothing may be told otherwise."""
    whole = {one.http.request.ts_ns: one.http for one in recorded(case)[2].exchanges}
    same = 0
    for exchange in lossy.exchanges:
        http, truth = exchange.http, whole[exchange.http.request.ts_ns]
        assert (truth.method, truth.target) == (http.method, http.target)
        if http.response is not None:
            assert (truth.status, truth.response.ts_ns) == (http.status, http.response.ts_ns)
            same += 1
        if http.complete:
            assert (truth.end.ts_ns, truth.response_body_bytes) == (http.end.ts_ns, http.response_body_bytes)
    return same


def sizes_hold(case, lossy):
    """Whether each direction lacks as much plaintext as is told, where all that it lacks lies in holes; how many of these were counted."""
    whole, counted = recorded(case)[2], 0
    first = whole.exchanges[0].http.request.ts_ns
    spoke = any(one.http.request.ts_ns == first and one.http.response for one in lossy.exchanges)  # before, a server may send tickets
    for direction, lost in enumerate(lossy.tls.lost if lossy.tls else ()):
        missing = whole.tls.plaintext_bytes[direction] - lossy.tls.plaintext_bytes[direction]
        if lost is not None:
            least, most = lost.application_bytes
            assert least <= missing <= most
            assert case != "many-requests-tls13" or least == most or (direction and not spoke)
            counted += 1
    return counted


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_without_any_one_packet_no_other_exchange_is_lost(case, tmp_path):
    _, _, whole = recorded(case)
    answered = sum(one.http.response is not None for one in whole.exchanges)
    assert answered >= 10
    counted = 0
    for lost in of_connection(case):
        _, lossy = without(case, {lost}, tmp_path)
        counted += sizes_hold(case, lossy)
        assert compared(case, lossy) >= answered - 1, lost
        # What is missing at the very end leaves no hole in the stream.
        assert lossy.losses is not None or lost in of_connection(case)[-3:] or compared(case, lossy) == answered
    assert (counted >= len(of_connection(case)) // 2) == bool(CASES[case])


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("count", [2, 3, 6])
def test_without_neighbours_the_others_are_told_as_they_were(case, count, tmp_path):
    _, _, whole = recorded(case)
    answered = sum(one.http.response is not None for one in whole.exchanges)
    numbers = of_connection(case)
    for place in range(0, len(numbers) - count, count):
        _, lossy = without(case, set(numbers[place : place + count]), tmp_path)
        sizes_hold(case, lossy)
        # Each packet may belong to another exchange, and one more response may be that to any of those.
        assert compared(case, lossy) >= answered - count - 1, numbers[place]


def test_reports_say_what_is_missing_and_where_reading_went_on(tmp_path):
    case = "silent-drop"
    _, _, whole = recorded(case)
    response = whole.exchanges[9].http.response.packet
    lossy, one = without(case, {response - 1}, tmp_path)
    hit, after = one.exchanges[9].http, one.exchanges[10].http
    assert (None, True, False) == (hit.status, hit.response_hole, hit.response_followed)
    text = " ".join(render(lossy, connection=one.id).split())
    assert f"The capture lacks bytes of what the server said, before packet {after.response.packet}; reading went on in packet" in text
    assert "Not complete: 1 exchange (GET /containers/" in text
    values = report(lossy)["connections"][one.id]
    (place,) = values["http_losses"]["places"]
    assert ("to_client", None, after.response.packet, "turn") == (
        place["direction"], place["missing_bytes"], place["resumed_packet"], place["found_by"],
    )  # fmt: skip
    told = [exchange for exchange in values["exchanges"] if exchange["response_hole"] or exchange["uncertain"]]
    assert [(None, True, False), (200, False, True)] == [(exchange["status"], exchange["response_hole"], exchange["uncertain"]) for exchange in told]


def test_under_tls_a_body_of_known_length_ends_where_it_does_as_well(tmp_path):
    """The size of the hole is known from the records' numbers: nothing of the next message is looked for."""
    _, _, whole = recorded("many-requests-tls13")
    found = []
    for lost in of_connection("many-requests-tls13"):
        _, lossy = without("many-requests-tls13", {lost}, tmp_path)
        found += [(loss.found, loss.refusal, loss.missing) for loss in (lossy.losses.losses if lossy.losses else ()) if loss.found == "length"]
        for one in lossy.exchanges:
            truth = next(other.http for other in whole.exchanges if other.http.request.ts_ns == one.http.request.ts_ns)
            if one.http.response_hole and one.http.end is not None and one.http.hijack is None:
                assert truth.end.ts_ns == one.http.end.ts_ns
    assert len(found) >= 2
    assert all(refusal is None and missing for _, refusal, missing in found)


@pytest.mark.parametrize("case", ["many-requests", "many-requests-tls13"])
def test_a_followed_log_that_lost_a_line_goes_on_and_its_place_is_shown(case, tmp_path):
    _, _, whole = recorded(case)
    logs = next(one for one in whole.exchanges if "/logs" in one.http.target)
    numbers = [number for number in of_connection(case) if logs.http.response.packet < number + 1 < logs.http.end.packet]
    lossy, one = without(case, {numbers[3]}, tmp_path)
    (lost,) = [exchange for exchange in one.exchanges if exchange.http.response_hole]
    assert (200, False, True) == (lost.http.status, lost.http.complete, lost.http.end is not None)
    assert (1, 0) == (lost.stream.holes, lost.stream.unattributed_bytes)
    assert 56 + 5 - 7 == lost.stream.stdout_bytes + lost.stream.stderr_bytes
    assert ["chunks"] == [loss.found for loss in one.losses.losses]
    assert len(whole.exchanges) - 1 == sum(exchange.http.complete and not exchange.http.uncertain for exchange in one.exchanges)
    printed = list(TranscriptText().render(transcript(tmp_path / "lossy.pcap", keys(case))))
    assert 1 == sum("the capture lacks what was printed before this" in line for line in printed)
    assert "http-incomplete" in {finding.code for finding in lossy.findings}
    assert {"info"} == {finding.severity for finding in lossy.findings if finding.code == "http-incomplete"}


def test_without_its_first_request_a_plain_connection_is_read_from_the_first_answer_on(tmp_path):
    _, _, whole = recorded("many-requests")
    _, lossy = without("many-requests", {whole.exchanges[0].http.request.packet - 1}, tmp_path)
    assert compared("many-requests", lossy) == len(whole.exchanges) - 1
    assert [200] == [one.status for one in lossy.losses.unpaired]


def test_without_the_servers_first_packets_no_answer_is_given_to_the_first_request(tmp_path):
    """The handshake's answer is not there either, so that nothing says how much is missing."""
    _, packets, whole = recorded("many-requests")
    until = whole.exchanges[5].http.request.packet - 1
    lost = {number for number, packet in enumerate(packets[:until]) if packet[16 + 14 + 12 : 16 + 14 + 16] == bytes((10, 77, 2, 2))}
    _, lossy = without("many-requests", lost, tmp_path)
    assert [None] * 5 == [one.http.status for one in lossy.exchanges[:5]]
    assert compared("many-requests", lossy) >= len(whole.exchanges) - 6
