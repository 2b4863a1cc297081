"""A verdict as one line: when, how grave, which connection, what was asked on it, what happened."""

from captool.live import Verdict
from captool.report.printable import printable, utc
from captool.tcp.connection import Endpoint


def line(verdict: Verdict) -> str:
    """`2026-11-24 03:06:40.123 UTC  error  10.77.1.2:41778 -> 10.77.2.2:2376 (POST /containers/ab12/attach): silent drop so far: ...`."""
    request = f" ({verdict.request})" if verdict.request else ""
    ends = f"{_end(verdict.client)} -> {_end(verdict.server)}{request}"
    return printable(f"{utc(verdict.ts_ns)} UTC  {verdict.severity:<7}  {ends}: {verdict.sentence}")


def _end(end: Endpoint) -> str:
    return f"[{end.ip}]:{end.port}" if ":" in end.ip else f"{end.ip}:{end.port}"
