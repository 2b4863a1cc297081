"""Findings: plain functions over the tables, in one visible tuple."""

from captool.findings.coverage import capture_loss, snapped_packets
from captool.findings.decryption import not_decrypted, tls_alert
from captool.findings.finding import SEVERITIES, Finding
from captool.findings.idle import idle_gap, missing_keepalive
from captool.findings.passage import other_side_unmatched, packets_lost, path_dead, reset_injected, settled
from captool.findings.silence import output_lost, silent_drop, unanswered_request
from captool.findings.tables import Tables

__all__ = ["RULES", "SEVERITIES", "Finding", "find"]

RULES = (
    path_dead,
    silent_drop,
    reset_injected,
    output_lost,
    missing_keepalive,
    idle_gap,
    unanswered_request,
    tls_alert,
    packets_lost,
    other_side_unmatched,
    not_decrypted,
    capture_loss,
    snapped_packets,
)


def find(tables: Tables) -> tuple[Finding, ...]:
    """All findings, the gravest first, within a severity in the order of the rules and then of the connections."""
    found = settled(tables, [finding for rule in RULES for finding in rule(tables)])
    return tuple(sorted(found, key=lambda finding: SEVERITIES.index(finding.severity)))
