"""Findings about the capture itself."""

from captool.analysis import analyze
from captool.capture.summary import ClockStep
from captool.direction import PerDirection
from captool.findings import find
from captool.findings.coverage import capture_loss, snapped_packets
from captool.findings.gaps import believed
from tables import S, capture, connection, gap, keepalive, tables, tcp
from tests.builders import Talk, pcap

MISSING = keepalive("missing", longest_idle_ns=601 * S)


def test_kernel_drops_are_reported_only_where_there_were_some():
    assert [] == list(capture_loss(tables(capture_summary=capture(dropped_packets=0))))
    (finding,) = capture_loss(tables(capture_summary=capture(dropped_packets=3)))
    assert "The kernel dropped 3 packets" in finding.message


def test_snapped_packets_are_counted():
    (finding,) = snapped_packets(tables(capture_summary=capture(snapped_packets=1)))
    assert "1 packet" in finding.message


def test_idle_times_across_a_step_of_the_clock_are_not_judged(tmp_path):
    talk = Talk().opened().client(b"GET /wait").server().wait(65).client(b"again").server(b"200")
    path = tmp_path / "trace.pcap"
    path.write_bytes(pcap(talk.packets))
    assert {"missing-keepalive", "idle-gap"} <= {one.code for one in analyze(path).findings}
    for packet in talk.packets[:5]:
        packet.ts_ns += 200 * S
    path.write_bytes(pcap(talk.packets))
    (finding,) = analyze(path).findings
    assert ("clock-step", (6,), 1) == (finding.code, finding.packets, finding.evidence["count"])


def test_silence_to_the_end_is_none_to_the_time_before_the_clock_was_set_back(tmp_path):
    talk = Talk().opened().client(b"GET /").server(b"200").client().wait(10).client(b"GET /").server(b"200").client()
    talk.now -= 600 * S
    talk.client(b"GET /").server(b"200").client()
    path = tmp_path / "trace.pcap"
    path.write_bytes(pcap(talk.packets))
    analysis = analyze(path)
    assert {"clock-step", "quiet-but-healthy"} == {one.code for one in analysis.findings}
    assert "not-observable" == analysis.connections[0].tcp.keepalive.to_server.status
    talk.wait(700).client(b"GET /").server(b"200").client()  # later than all: then that is the end
    path.write_bytes(pcap(talk.packets))
    assert {"clock-step", "missing-keepalive", "idle-gap"} <= {one.code for one in analyze(path).findings}


def test_of_several_steps_all_durations_are_doubted():
    steps = capture(clock_step=ClockStep(2, 5 * S, 9))
    idle = connection(tcp(gaps=(gap(601),), keepalive=PerDirection(MISSING, MISSING)))
    judged = believed(tables(idle, capture_summary=steps))
    assert {"low"} == {one.confidence for one in find(judged) if one.connection == 0}
    assert [] == [one for one in find(believed(tables(idle, capture_summary=capture(clock_step=ClockStep(1, S, 5))))) if one.connection == 0]
    assert 2 == len([one for one in find(believed(tables(idle, capture_summary=capture(clock_step=ClockStep(1, S, 6))))) if one.connection == 0])


def test_files_that_overlap_in_time_do_not_accuse_the_clock(tmp_path):
    talk = Talk().opened().client(b"GET /").server(b"200").wait(30).client(b"GET /").server(b"200")
    first, second = tmp_path / "a.pcap", tmp_path / "b.pcap"
    first.write_bytes(pcap(talk.packets))
    second.write_bytes(pcap(talk.packets[2:]))
    assert analyze([first]).capture.clock_step is None
    assert analyze([first, second]).capture.clock_step is None
