"""Findings about the capture itself."""

from captool.findings.coverage import capture_loss, snapped_packets
from tables import capture, tables


def test_kernel_drops_are_reported_only_where_there_were_some():
    assert [] == list(capture_loss(tables(capture_summary=capture(dropped_packets=0))))
    (finding,) = capture_loss(tables(capture_summary=capture(dropped_packets=3)))
    assert "The kernel dropped 3 packets" in finding.message


def test_snapped_packets_are_counted():
    (finding,) = snapped_packets(tables(capture_summary=capture(snapped_packets=1)))
    assert "1 packet" in finding.message
