"""A finding: what was wrong, how sure that is, which packets show it, and what to do."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

Severity = Literal["error", "warning", "info"]
Confidence = Literal["high", "medium", "low"]
CODES: tuple[str, ...] = (
    "silent-drop",
    "icmp-error",
    "path-dead",
    "peer-silent",
    "mtu-black-hole",
    "one-way-loss",
    "reset-injected",
    "packets-lost",
    "other-side-unmatched",
    "output-lost",
    "missing-keepalive",
    "idle-gap",
    "unanswered-request",
    "connection-unanswered",
    "connection-refused",
    "slow-connect",
    "connection-unknown",
    "tls-alert",
    "certificate-expired",
    "forward-secrecy",
    "no-matching-key",
    "resumed-without-original",
    "handshake-not-captured",
    "http-incomplete",
    "keepalive-too-slow",
    "keepalive-unanswered",
    "reset-after-idle",
    "reset-in-use",
    "half-close-idle",
    "client-timeout",
    "server-closed",
    "zero-window-stall",
    "outage",
    "many-retransmissions",
    "possible-drop",
    "capture-ended",
    "quiet-but-healthy",
    "mid-stream",
    "clock-step",
    "capture-loss",
    "snapped-packets",
)
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


class Finding(NamedTuple):
    """One finding. `message` and `remedy` are a sentence or two each; `evidence` holds the numbers as JSON values.

    `connection` is None for a finding about the capture as a whole. `packets` are the packet numbers to look at first.
    """

    code: str
    severity: Severity
    confidence: Confidence
    connection: int | None
    packets: tuple[int, ...]
    message: str
    remedy: str
    evidence: Mapping[str, object] = MappingProxyType({})
