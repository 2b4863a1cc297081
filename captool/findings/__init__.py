"""Findings: plain functions over the tables, in one visible tuple."""

from captool.findings.alerts import tls_alert
from captool.findings.certificates import certificate_expired
from captool.findings.closes import client_timeout, half_close_idle, server_closed
from captool.findings.coverage import capture_loss, clock_jump, clock_step, doubted, mid_stream, snapped_packets
from captool.findings.decryption import not_decrypted
from captool.findings.finding import SEVERITIES, Finding
from captool.findings.http_losses import http_incomplete
from captool.findings.icmp import icmp_error
from captool.findings.idle import idle_gap, missing_keepalive
from captool.findings.one_way import one_way_loss
from captool.findings.open_ends import capture_ended, possible_drop, quiet_but_healthy, zero_window_stall
from captool.findings.openings import connection_refused, connection_unanswered
from captool.findings.outages import many_retransmissions, outage
from captool.findings.passage import other_side_unmatched, packets_lost, path_dead, reset_injected
from captool.findings.path_mtu import mtu_black_hole
from captool.findings.probes import keepalive_too_slow, keepalive_unanswered
from captool.findings.resets import reset_after_idle, reset_in_use
from captool.findings.settled import settled
from captool.findings.silence import output_lost, silent_drop, unanswered_request
from captool.findings.slow_connects import slow_connect
from captool.findings.strangers import connection_unknown
from captool.findings.tables import Tables

__all__ = ["RULES", "SEVERITIES", "Finding", "find"]

RULES = (
    path_dead,
    silent_drop,
    icmp_error,
    mtu_black_hole,
    one_way_loss,
    reset_injected,
    output_lost,
    reset_after_idle,
    reset_in_use,
    keepalive_unanswered,
    half_close_idle,
    zero_window_stall,
    outage,
    many_retransmissions,
    client_timeout,
    server_closed,
    missing_keepalive,
    keepalive_too_slow,
    possible_drop,
    idle_gap,
    unanswered_request,
    connection_unanswered,
    connection_refused,
    connection_unknown,
    slow_connect,
    tls_alert,
    certificate_expired,
    packets_lost,
    other_side_unmatched,
    not_decrypted,
    http_incomplete,
    capture_loss,
    snapped_packets,
    clock_step,
    clock_jump,
    mid_stream,
    capture_ended,
)


def find(tables: Tables) -> tuple[Finding, ...]:
    """All findings, the gravest first, within a severity in the order of the rules and then of the connections."""
    found = list(settled(tables, [finding for rule in RULES for finding in rule(tables)]))
    found += quiet_but_healthy(tables, found)
    return tuple(sorted(doubted(tables, found), key=lambda finding: SEVERITIES.index(finding.severity)))
