"""What the findings say of packets that did not cross; each claim with its numbers."""

from dataclasses import replace

import pytest

from captool.direction import Moment
from captool.findings import find
from captool.findings.passage import numbers
from captool.findings.verdict import verdict
from captool.tcp.layout import ACK, RST
from captool.tcp.passage import NotSent, PacketRange
from passages import SOUND, counterpart, dead, judged, only, other_side
from tables import START, S, capture, connection, dropped_tcp, tables


def test_dead_path_names_the_packets_of_the_capture_they_are_in():
    _, findings = judged(counterpart(to_client=dead()))
    finding = only(findings, "path-dead")
    assert ("high", (5, 12)) == (finding.confidence, finding.packets)
    assert "The server sent packets 5 to 12 (trace.pcap; 3 packets, 162 bytes) and none of them reached the client's side" in finding.message
    assert "nothing from the server after packet 44 (other.pcap)" in finding.message
    assert "nothing tells whether the other direction still worked" in finding.message
    assert "The loss began after 601.0 s (10 min 1 s) without a packet" in finding.message


def test_dead_path_towards_the_trace_names_the_other_capture():
    _, findings = judged(counterpart(to_server=dead()))
    finding = only(findings, "path-dead")
    assert ("other-side", (44,)) == (finding.evidence["sender_side"], finding.packets)
    assert "The client sent packets 5 to 12 (other.pcap;" in finding.message


@pytest.mark.parametrize(
    ("sent", "arrived", "said"),
    [
        (3, 3, "The other direction still worked: 3 packets from the client did reach the server's side."),
        (3, 0, "Nor did any of the 3 packets that the client sent meanwhile reach the server's side."),
        (3, 1, "Of 3 packets that the client sent meanwhile, 1 reached the server's side."),
    ],
)
def test_other_direction_is_judged_by_what_was_sent_in_it(sent, arrived, said):
    _, findings = judged(counterpart(to_client=dead(other_way=sent, other_way_arrived=arrived)))
    assert said in only(findings, "path-dead").message


def test_loss_without_an_idle_time_is_no_question_of_keepalive():
    _, findings = judged(counterpart(to_client=dead(idle_ns=S)))
    assert only(findings, "path-dead").remedy.startswith("Look at what lies between")


def test_dropped_packets_or_a_clock_that_was_set_leave_a_doubt():
    one = counterpart(to_client=dead())
    _, findings = judged(one, capture=capture(files=("other.pcap",), dropped_packets=3))
    assert "medium" == only(findings, "path-dead").confidence
    _, findings = judged(one, clock=replace(other_side().clock, consistent=False))
    assert "medium" == only(findings, "path-dead").confidence


def test_silent_drop_is_proven_where_the_path_is_dead():
    found, findings = judged(counterpart(to_client=dead()), dropped_tcp())
    silent = only(findings, "silent-drop")
    assert (True, "high") == (silent.evidence["proven_by_other_side"], silent.confidence)
    assert "Proven by both captures: on connection 0 the server sent packets 5 to 12" in verdict(found, findings)[1]


def test_silent_drop_gives_way_where_the_data_arrived_and_nobody_answered():
    _, findings = judged(counterpart(to_client=replace(SOUND, last_arrived=(Moment(12, START), Moment(51, START)))), dropped_tcp())
    assert "silent-drop" not in {finding.code for finding in findings}
    silent = only(findings, "peer-silent")
    assert "did reach the client's side (the last as packet 51 of other.pcap), and no answer to it left there" in silent.message


def test_silent_drop_stays_as_it_is_where_the_other_capture_ended_before():
    _, findings = judged(counterpart(), dropped_tcp())
    assert "proven_by_other_side" not in only(findings, "silent-drop").evidence


def test_reset_made_on_the_way_is_told_with_its_hop_limit():
    forged = NotSent(Moment(9, START), RST | ACK, 0, 61, 64)
    found, findings = judged(counterpart(to_server=replace(SOUND, not_sent=(forged,), not_sent_packets=1)))
    finding = only(findings, "reset-injected")
    assert (9,) == finding.packets
    assert "a RST that claims to come from the client (packet 9 of trace.pcap)" in finding.message
    assert "Its TTL is 61, that of the client's packets 64." in finding.message
    assert "Proven by both captures: something on the path closed connection 0 in the client's name." in verdict(found, findings)


def test_reset_that_looks_like_its_senders_may_be_missing_only_in_the_capture():
    missing = NotSent(Moment(9, START), RST | ACK, 0, 64, 64)
    found, findings = judged(counterpart(to_server=replace(SOUND, not_sent=(missing,), not_sent_packets=1)))
    finding = only(findings, "reset-injected")
    assert ("info", "low") == (finding.severity, finding.confidence)
    assert "the capture of the client's side does not have it: its recorder lost it, or something between" in finding.message
    assert not any("Proven" in sentence for sentence in verdict(found, findings))


def test_what_a_capture_lacks_that_lacks_other_packets_is_not_told_as_lost():
    lost = (PacketRange(Moment(2, START), Moment(9, START + 14 * S), 4),)
    way = replace(SOUND, sent=9, lost=4, lost_payload_bytes=9, lost_ranges=lost, lacking=2)
    finding = only(judged(counterpart(to_client=way))[1], "packets-lost")
    assert ("info", "low", 0) == (finding.severity, finding.confidence, finding.evidence["longest_loss_s"])
    assert "4 of 9 packets that the server sent are not in the capture of the client's side, which lacks 2 packets known to have crossed" in finding.message
    found, findings = judged(counterpart(to_client=replace(dead(), lacking=2)))
    assert "medium" == only(findings, "path-dead").confidence
    assert not any("Proven" in sentence for sentence in verdict(found, findings))


def test_packets_without_data_may_have_been_lost_by_the_recorder():
    lost = (PacketRange(Moment(2, START), Moment(4, START + 14 * S), 1),)
    finding = only(judged(counterpart(to_client=replace(SOUND, sent=7, lost=1, lost_ranges=lost)))[1], "packets-lost")
    assert ("info", "medium") == (finding.severity, finding.confidence)
    assert "did not reach the client's side, or its recorder lost them (packet 2 of trace.pcap)" in finding.message


def test_empty_segments_that_were_not_sent_are_no_reset():
    other = NotSent(Moment(9, START), ACK, 0, 61, 64)
    _, findings = judged(counterpart(to_server=replace(SOUND, not_sent=(other,), not_sent_packets=1)))
    assert "reset-injected" not in {finding.code for finding in findings}


def test_lost_packets_of_a_living_path_are_worth_knowing():
    lost = (PacketRange(Moment(2, START), Moment(3, START), 2),)
    _, findings = judged(counterpart(to_client=replace(SOUND, sent=7, lost=2, lost_payload_bytes=9, lost_ranges=lost)))
    finding = only(findings, "packets-lost")
    assert ("info", (2,)) == (finding.severity, finding.packets)
    assert "2 of 7 packets that the server sent did not reach the client's side (packets 2 to 3 of trace.pcap), others after them did." == finding.message


def test_a_loss_that_lasts_is_an_outage():
    lost = (PacketRange(Moment(2, START), Moment(2, START), 1), PacketRange(Moment(5, START), Moment(9, START + 14 * S), 4))
    found, findings = judged(counterpart(to_client=replace(SOUND, sent=7, lost=5, lost_payload_bytes=9, lost_ranges=lost)))
    finding = only(findings, "packets-lost")
    assert ("warning", 14) == (finding.severity, finding.evidence["longest_loss_s"])
    assert finding.message.endswith("For 14.00 s (packets 5 to 9) nothing of this direction arrived.")
    assert "Connection 0 received nothing for 14.00 s of what the server sent, as both captures prove." == verdict(found, findings)[0]


def test_what_went_on_after_a_lost_range_is_not_told_of_the_path_that_died():
    findings = judged(counterpart(to_client=replace(dead(packets=3), lost=4)))[1]
    assert "info" == only(findings, "packets-lost").severity


def test_a_capture_with_nothing_later_need_not_have_ended():
    cut = replace(SOUND, sent=9, not_judged=4)
    _, findings = judged(counterpart(to_client=cut), dropped_tcp(gaps=()))
    assert "its recording was over, or nothing arrived there" in only(findings, "silent-drop").remedy


def test_captures_of_one_name_are_told_apart_by_their_paths():
    one = counterpart(to_client=dead())
    _, findings = judged(one, capture=capture(files=("there/trace.pcap",)))
    assert "(trace.pcap; 3 packets" in only(findings, "path-dead").message
    assert "after packet 44 (there/trace.pcap)" in only(findings, "path-dead").message


def test_without_another_capture_nothing_is_said():
    assert set() == {"path-dead", "peer-silent", "other-side-unmatched"} & {finding.code for finding in find(tables(connection()))}


def test_ranges_are_written_short():
    one, many = PacketRange(Moment(3, 0), Moment(3, 0), 1), PacketRange(Moment(5, 0), Moment(9, 0), 3)
    assert ["packet 3", "packets 5 to 9", "packets 3, 5 to 9"] == [numbers(some) for some in ((one,), (many,), (one, many))]
    assert numbers((one,) * 9).endswith("3, ...")
