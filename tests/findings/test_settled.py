"""What one capture made likely, and the other settles: proven, corrected or given up."""

from dataclasses import replace

import pytest

from captool.direction import Moment, PerDirection
from captool.findings.verdict import verdict
from captool.tcp.connection import Outage, Reset, Unanswered
from captool.tcp.layout import RST
from captool.tcp.passage import NotSent, PacketRange
from passages import SOUND, counterpart, dead, judged, only
from tables import START, S, attach, capture, dropped_tcp, gap, keepalive, lost_output, tcp

END = START + 700 * S
SILENT = tcp(
    close="open", closed_by=None, gaps=(gap(690, ended_by="end-of-capture", packet=None, spoke_last="client"),), last_packet=Moment(4, START + 10 * S)
)
RESET = Reset(
    Moment(9, START + 602 * S), "client", 64, 63, 0, 77, acknowledges=False, window=0, sequence_distance=0,
    own_last=Moment(4, START), peer_last=Moment(5, START + 601 * S),
)  # fmt: skip
WAS_RESET = tcp(close="rst", gaps=(gap(601),), reset=RESET, closing=RESET.moment)
PROBES = keepalive(
    "present", probes=9, answered=5, interval_ns=15 * S, unanswered=4, unanswered_since=Moment(20, START), last_probe=Moment(26, START + 45 * S)
)
UNHEARD = tcp(close="open", closed_by=None, keepalive=PerDirection(PROBES, keepalive()))
CLIENT_SIDE = "trace"


def codes(findings):
    return {finding.code for finding in findings}


def test_a_possible_drop_gives_way_to_the_path_that_is_proven_dead():
    found, findings = judged(counterpart(to_client=dead(), client_side=CLIENT_SIDE), SILENT)
    assert "path-dead" in codes(findings)
    assert "possible-drop" not in codes(findings)
    assert not any("may have been dropped" in sentence for sentence in verdict(found, findings))


def test_a_possible_drop_is_refuted_by_a_server_that_sent_nothing():
    _, findings = judged(counterpart(client_side=CLIENT_SIDE), SILENT)
    finding = only(findings, "possible-drop")
    assert ("info", False) == (finding.severity, finding.evidence["proven_by_other_side"])
    assert "The connection was quiet, not dropped." in finding.message


def test_a_capture_that_ended_before_refutes_nothing():
    _, findings = judged(counterpart(client_side=CLIENT_SIDE), SILENT, capture=capture(files=("other.pcap",), end_ns=END - 100 * S))
    assert "warning" == only(findings, "possible-drop").severity


def test_probes_that_never_arrived_accuse_the_path():
    _, findings = judged(counterpart(to_server=dead(), client_side=CLIENT_SIDE), UNHEARD)
    assert "none of them reached the server's side, so the path dropped them" in only(findings, "keepalive-unanswered").message


def test_probes_that_arrived_and_were_not_answered_accuse_the_peer():
    arrived = replace(SOUND, last_arrived=(Moment(26, START), Moment(90, START)))
    _, findings = judged(counterpart(to_server=arrived, client_side=CLIENT_SIDE), UNHEARD)
    finding = only(findings, "keepalive-unanswered")
    assert "the server's host is dead or frozen, and the path is not at fault" in finding.message
    assert finding.evidence["proof_needs"] is None


def test_answers_that_left_and_were_lost_accuse_the_way_back():
    arrived = replace(SOUND, last_arrived=(Moment(26, START), Moment(90, START)))
    _, findings = judged(counterpart(to_server=arrived, to_client=dead(), client_side=CLIENT_SIDE), UNHEARD)
    assert "the answers did not come back" in only(findings, "keepalive-unanswered").message


def test_a_reset_that_the_peer_never_sent_is_told_once_with_the_idle_time_before_it():
    forged = NotSent(RESET.moment, RST, 0, 64, 63)
    found, findings = judged(counterpart(to_server=replace(SOUND, not_sent=(forged,), not_sent_packets=1)), WAS_RESET)
    assert (True, "high") == (only(findings, "reset-after-idle").evidence["injected"], only(findings, "reset-after-idle").confidence)
    assert (
        "Connection 0 was reset in the client's name by something on the path, as both captures prove, when it was used again after "
        "601.0 s (10 min 1 s) of silence.",
    ) == verdict(found, findings)


def test_probes_are_no_remedy_against_a_reset_in_use():
    forged = NotSent(RESET.moment, RST, 0, 64, 63)
    in_use = WAS_RESET._replace(gaps=(), gap_count=0)
    found, findings = judged(counterpart(to_server=replace(SOUND, not_sent=(forged,), not_sent_packets=1)), in_use)
    reset, injected = only(findings, "reset-in-use"), only(findings, "reset-injected")
    assert (True, "high") == (reset.evidence["injected"], reset.confidence)
    assert reset.remedy == injected.remedy
    assert "their rules changed" in reset.remedy
    assert ("Connection 0 was reset in the client's name by something on the path, as both captures prove, while it was in use.",) == verdict(found, findings)


def test_a_reset_that_the_peer_did_send_is_its_own():
    sent = replace(SOUND, last_arrived=(Moment(70, START), RESET.moment))
    found, findings = judged(counterpart(to_server=sent), WAS_RESET)
    assert "the client's side did send it (packet 70 of other.pcap)" in only(findings, "reset-after-idle").message
    assert "was reset by the client itself" in verdict(found, findings)[0]


@pytest.mark.parametrize(("lost", "severity"), [((), "warning"), ((PacketRange(Moment(5, START), Moment(5, START), 1),), "error")])
def test_output_that_arrived_unacknowledged_is_not_called_lost(lost, severity):
    sent = Unanswered(Moment(5, START + 602 * S), Moment(12, START + 662 * S), 162, 7, Moment(4, START))
    one = tcp(close="rst", unanswered=PerDirection(None, sent))
    arrived = replace(SOUND, last_arrived=(Moment(6, START), Moment(60, START)), lost=len(lost), lost_ranges=lost)
    _, findings = judged(counterpart(to_client=arrived), one, exchanges=(attach(lost=lost_output()),))
    finding = only(findings, "output-lost")
    assert (severity, severity == "warning") == (finding.severity, "did reach the client's side" in finding.message)


def test_probes_of_the_far_side_may_have_been_lost_on_the_way():
    """As behind a firewall that forgot the connection before the client's first probe came."""
    lost = replace(SOUND, lost=1, lost_ranges=(PacketRange(Moment(55, START), Moment(55, START), 1),))
    found, findings = judged(counterpart(to_server=lost), dropped_tcp())
    finding = only(findings, "missing-keepalive")
    assert ("warning", "low") == (finding.severity, finding.confidence)
    assert "packets that the client sent did not arrive here (packet 55 of other.pcap)" in finding.message
    assert "without a keepalive probe" not in verdict(found, findings)[0]


def test_an_idle_time_that_the_capture_cuts_off_is_decided_by_the_other():
    _, findings = judged(counterpart(to_client=dead(), client_side=CLIENT_SIDE), SILENT)
    assert only(findings, "idle-gap").message.endswith("The path died, as both captures prove.")


def test_how_it_died_ends_the_doubt_of_a_capture_that_ended_first():
    waiting = {"exchanges": (attach(),)}
    _, findings = judged(counterpart(client_side=CLIENT_SIDE), tcp(close="open", closed_by=None), **waiting)
    assert "capture-ended" in codes(findings)
    _, findings = judged(counterpart(to_client=dead(), client_side=CLIENT_SIDE), tcp(close="open", closed_by=None), **waiting)
    assert "capture-ended" not in codes(findings)


def test_a_path_dead_in_both_directions_is_one_sentence():
    found, findings = judged(counterpart(to_server=dead(), to_client=dead()))
    assert (
        "Proven by both captures: on connection 0 the path died in both directions: neither the client's packets 5 to 12 (other.pcap) nor "
        "the server's packets 5 to 12 (trace.pcap) reached the other side.",
    ) == verdict(found, findings)


def test_output_that_arrived_is_no_loss_in_the_verdict():
    sent = Unanswered(Moment(5, START + 602 * S), Moment(12, START + 662 * S), 162, 7, Moment(4, START))
    one = tcp(close="rst", unanswered=PerDirection(None, sent))
    arrived = replace(SOUND, last_arrived=(Moment(6, START), Moment(60, START)))
    found, findings = judged(counterpart(to_client=arrived), one, exchanges=(attach(lost=lost_output()),))
    (sentence,) = verdict(found, findings)
    assert "ended with output that had arrived at the client's machine" in sentence
    assert "never reached" not in sentence


def test_an_outage_whose_packets_did_not_arrive_was_the_paths():
    held_up = Outage(Moment(5, START), Moment(9, START + 13 * S), Moment(12, START + 27 * S), 4)
    trace = tcp(close="open", closed_by=None, outages=PerDirection(held_up, None))
    lost = replace(SOUND, sent=10, lost=4, lost_ranges=(PacketRange(Moment(6, START), Moment(9, START + 13 * S), 4),))
    _, findings = judged(counterpart(to_server=lost, client_side=CLIENT_SIDE), trace)
    out = only(findings, "outage")
    assert "packets 6 to 9 of trace.pcap did not reach the server's side, so the path was out, and then it went on." in out.message
    assert (True, None) == (out.evidence["proven_by_other_side"], out.evidence["proof_needs"])
    _, findings = judged(counterpart(client_side=CLIENT_SIDE), trace)
    assert "the path, or the server's host, was out" in only(findings, "outage").message


def unacknowledged(**changes):
    sent = Unanswered(Moment(5, START), Moment(9, START + 20 * S), 7, 4, Moment(12, START + 25 * S))
    return tcp(close="open", closed_by=None, unanswered=PerDirection(None, sent), unacknowledged_bytes=PerDirection(0, 7), **changes)


def test_a_dead_direction_is_proven_where_nothing_of_it_arrived():
    _, findings = judged(counterpart(to_client=dead()), unacknowledged())
    finding = only(findings, "one-way-loss")
    assert (True, False) == (finding.evidence["proven_by_other_side"], "--other-side" in finding.remedy)


def test_data_that_arrived_and_was_not_acknowledged_accuses_the_host():
    arrived = replace(SOUND, last_arrived=(Moment(9, START), Moment(51, START)))
    _, findings = judged(counterpart(to_client=arrived), unacknowledged())
    finding = only(findings, "one-way-loss")
    assert finding.message.endswith("acknowledged none of it, although it did reach the client's side (packet 51 of other.pcap).")
    assert finding.remedy.startswith("Look at the client's host")


def test_a_silent_drop_whose_acknowledgements_did_not_come_back_says_so():
    _, findings = judged(counterpart(to_server=dead()), dropped_tcp(gaps=()))
    finding = only(findings, "silent-drop")
    assert finding.message.endswith("It did arrive, and the acknowledgements did not come back.")
    assert "Record at" not in finding.remedy
