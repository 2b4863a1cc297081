"""The answer in a sentence or two, for someone who has never seen the tool."""

from captool.findings.finding import Finding
from captool.findings.gaps import worst_gap
from captool.findings.passage import proven
from captool.findings.silence import request
from captool.findings.tables import Connection, Tables
from captool.units import counted, seconds, size

SHOWN = 3


def verdict(tables: Tables, findings: tuple[Finding, ...]) -> tuple[str, ...]:
    """Sentences, the gravest first; never empty. What could not be read is part of the answer."""
    by_connection = {connection.id: connection for connection in tables.connections}
    dropped = _concerned(findings, "silent-drop")
    certain = proven(tables)
    sentences = [_dropped(by_connection[number], findings) for number in dropped[:SHOWN]]
    if len(dropped) > SHOWN:
        sentences.append(f"{counted(len(dropped) - SHOWN, 'more connection')} died in the same way.")
    sentences += certain[:SHOWN]
    if len(certain) > SHOWN:
        sentences.append(f"The captures prove the like {len(certain) - SHOWN} times more.")
    at_risk = [by_connection[number] for number in _concerned(findings, "missing-keepalive") if number not in dropped]
    if at_risk:
        # A stream that waits for output loses it; a pooled connection is only opened again.
        at_risk.sort(key=lambda connection: all(exchange.stream is None for exchange in connection.exchanges))
        sentences.append(_at_risk(at_risk[0], len(at_risk), nothing_dropped=not dropped and not certain))
    other = sorted(
        {finding.code for finding in findings if finding.severity == "error"}
        - {"silent-drop", "output-lost", "missing-keepalive", "idle-gap", "path-dead", "reset-injected"}
    )
    if other:
        sentences.append(f"Other errors: {', '.join(other)}.")
    if not sentences:
        sentences.append(f"No fault found on {counted(len(tables.connections), 'connection')}.")
    unread = sum(1 for connection in tables.connections if connection.tls is not None and connection.tls.status == "encrypted")
    if unread:
        sentences.append(
            f"{counted(unread, 'connection')} could not be decrypted; what was said on {'it' if unread == 1 else 'them'} is not judged."
        )
    return tuple(sentences)


def label(connection: Connection) -> str:
    """`connection 0 (POST /containers/ab12/attach)`: the number, and the longest-lived request where one is known."""
    open_ended = [exchange for exchange in connection.exchanges if exchange.stream is not None or exchange.http.end is None]
    exchange = (open_ended or list(connection.exchanges))[-1:]
    return f"connection {connection.id}" + (f" ({request(exchange[0])})" if exchange else "")


def _dropped(connection: Connection, findings: tuple[Finding, ...]) -> str:
    drop = next(finding for finding in findings if finding.code == "silent-drop" and finding.connection == connection.id)
    idle = drop.evidence["idle_before_s"]
    after = f" after {seconds(round(float(str(idle)) * 1e9))} without data" if idle is not None else ""
    if any(finding.code == "missing-keepalive" and finding.connection == connection.id for finding in findings):
        after += " and without a keepalive probe from either side"
    name = label(connection)
    sentence = f"{name[0].upper()}{name[1:]} was dropped silently{after}"
    lost = [exchange.stream.lost for exchange in connection.exchanges if exchange.stream and exchange.stream.lost]
    if lost:
        total = sum(part.stdout_bytes + part.stderr_bytes for part in lost)
        return f"{sentence}: at least {size(total)} of container output never reached the client."
    return f"{sentence}: {size(int(str(drop.evidence['unacknowledged_bytes'])))} of data were never acknowledged."


def _at_risk(connection: Connection, count: int, *, nothing_dropped: bool) -> str:
    gap = worst_gap(connection)
    idle = f"{seconds(gap.duration_ns)} " if gap else ""
    more = f" (and {counted(count - 1, 'other')} likewise)" if count > 1 else ""
    lead = "No connection was seen to be dropped, but " if nothing_dropped else "Also, "
    return f"{lead}{label(connection)}{more} was idle for {idle}without a keepalive probe from either side."


def _concerned(findings: tuple[Finding, ...], code: str) -> list[int]:
    return sorted({finding.connection for finding in findings if finding.code == code and finding.connection is not None})
