"""The answer in a sentence or two, for someone who has never seen the tool."""

from collections.abc import Callable
from functools import partial
from typing import Final

from captool.findings.coverage import DOUBT
from captool.findings.finding import Finding
from captool.findings.gaps import worst_gap
from captool.findings.passage import proven
from captool.findings.silence import request
from captool.findings.tables import Connection, Tables
from captool.units import SECOND_NS, counted, seconds, size

SHOWN = 3
KINDS: Final = ("direction", "sender", "closed_by", "unfinished", "ended_by", "what", "client_had_closed", "injected", "closing", "used")
Sentence = Callable[[Finding], str]


def verdict(tables: Tables, findings: tuple[Finding, ...]) -> tuple[str, ...]:
    """Sentences, the gravest first; never empty. What could not be read is part of the answer."""
    by_connection = {connection.id: connection for connection in tables.connections}
    losses = _losses(findings)
    dropped = _concerned(findings, "silent-drop")
    sentences = [_dropped(by_connection[number], findings, losses) for number in dropped[:SHOWN]]
    if len(dropped) > SHOWN:
        sentences.append(f"{counted(len(dropped) - SHOWN, 'more connection')} died in the same way.")
    # Which reset it was that nobody sent is told with the idle time before it, or with its use.
    forged = {
        one.connection for one in findings if one.code in ("reset-after-idle", "reset-in-use") and one.evidence.get("injected")
    }
    certain = [one for one in proven(tables) if one[1] == "path-dead" or one[0] not in forged]
    sentences += [sentence for _, _, sentence in certain[:SHOWN]]
    if len(certain) > SHOWN:
        more = len({number for number, _, _ in certain[SHOWN:]})
        sentences.append(f"The captures prove the like of {counted(more, 'more connection')}.")
    # What both captures prove is not told again as what one of them makes likely; that it was half-closed is another matter.
    half_closed = [finding for finding in findings if finding.code == "half-close-idle" and finding.evidence["dropped"]]
    told = set(dropped)
    tell = partial(_tell, by_connection, losses, told)
    sentences += tell(_half_closed, half_closed)
    told |= {connection for connection, _, _ in certain}
    for code, said in CAUSES:
        grave = [finding for finding in findings if finding.code == code and finding.severity != "info"]
        for kind in dict.fromkeys(map(_kind, grave)):
            sentences += tell(said, [finding for finding in grave if _kind(finding) == kind])
    at_risk = [by_connection[number] for number in _concerned(findings, "missing-keepalive") if number not in told]
    if at_risk:
        at_risk.sort(key=_unimportance)
        sentences.append(_at_risk(at_risk[0], len(at_risk), first=not sentences))
    rest = sorted({finding.code for finding in findings if finding.severity == "error" and finding.connection not in told})
    if rest:
        sentences.append(f"Other errors: {', '.join(rest)}.")
    if not sentences:
        sentences.append(_no_fault(len(tables.connections), tables.capture.unlisted_connections))
        sentences += tell(_slow, [finding for finding in findings if finding.code == "many-retransmissions"])
        sentences += tell(_quiet, [finding for finding in findings if finding.code == "quiet-but-healthy"])
    sentences += tell(_ended, [finding for finding in findings if finding.code == "capture-ended"])
    lossy = len({finding.connection for finding in findings if finding.code == "capture-loss" and finding.connection is not None})
    if lossy:
        sentences.append(
            f"The capture lacks packets of {counted(lossy, 'connection')} that did arrive: what seems to be missing may be missing only "
            "in it."
        )
    unread = sum(1 for connection in tables.connections if connection.tls is not None and connection.tls.status == "encrypted")
    if unread:
        sentences.append(
            f"{counted(unread, 'connection')} could not be decrypted; what was said on {'it' if unread == 1 else 'them'} is not judged."
        )
    partly = sum(1 for connection in tables.connections if connection.tls is not None and connection.tls.status == "partly")
    if partly:
        sentences.append(f"{counted(partly, 'connection')} could be decrypted only in part; the rest of what was said is not judged.")
    return tuple(sentences)


def _no_fault(listed: int, unlisted: int) -> str:
    if not unlisted:
        return f"No fault found on {counted(listed, 'connection')}."
    return f"No fault found on the {counted(listed, 'connection')} listed; {unlisted:,} more are only counted, see the notes."


def label(connection: Connection) -> str:
    """`connection 0 (POST /containers/ab12/attach)`: the number, and the longest-lived request where one is known."""
    open_ended = [exchange for exchange in connection.exchanges if exchange.stream is not None or exchange.http.end is None]
    exchange = (open_ended or list(connection.exchanges))[-1:]
    return f"connection {connection.id}" + (f" ({request(exchange[0])})" if exchange else "")


def _tell(
    by_connection: dict[int, Connection], losses: dict[int, int], told: set[int], said: Sentence, findings: list[Finding]
) -> list[str]:
    """One sentence for all the connections with these findings of which nothing worse was told; they are told then."""
    concerned = [
        (finding, by_connection[finding.connection])
        for finding in findings
        if finding.connection is not None and finding.connection not in told
    ]
    if not concerned:
        return []
    numbers = {connection.id for _, connection in concerned}
    told |= numbers
    finding, connection = min(concerned, key=lambda one: (one[0].severity != "error", _unimportance(one[1]), -_idle(one[0])))
    others = f" (and {counted(len(numbers) - 1, 'other')} likewise)" if len(numbers) > 1 else ""
    doubt = ", as far as a capture shows that lacks packets" if finding.message.endswith(DOUBT) else ""
    return [_sentence(f"{label(connection)}{others} {said(finding)}{_loss(connection, losses)}{doubt}.")]


def _kind(finding: Finding) -> tuple[object, ...]:
    """What must be the same of two connections so that one sentence can be said of both, but for its numbers."""
    return tuple(finding.evidence.get(name) for name in KINDS)


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _idle(finding: Finding) -> float:
    return float(str(finding.evidence.get("idle_s") or 0))


def _unimportance(connection: Connection) -> bool:
    # A stream that waits for output loses it; a pooled connection is only opened again.
    return all(exchange.stream is None for exchange in connection.exchanges)


def _dropped(connection: Connection, findings: tuple[Finding, ...], losses: dict[int, int]) -> str:
    drop = next(finding for finding in findings if finding.code == "silent-drop" and finding.connection == connection.id)
    idle = drop.evidence["idle_before_s"] if drop.evidence["after_timeout"] else None
    after = f" after {_seconds(idle)} without data" if idle is not None else ""
    missing = {finding.connection for finding in findings if finding.code == "missing-keepalive" and finding.confidence == "high"}
    if idle is not None and connection.id in missing:
        after += " and without a keepalive probe from either side"
    errors = (one for one in findings if one.code == "icmp-error" and one.connection == connection.id)
    refused = next((one for one in errors if one.severity == "error"), None)
    if refused is not None:
        sentence = _sentence(f"{label(connection)} {_refused(refused)}")
        return f"{sentence}{_loss(connection, losses)}."
    # A capture of one direction shows that something is sent again and again, and not why.
    dropped = "was" if drop.evidence["peer_last_heard_packet"] is not None else "may have been"
    sentence = _sentence(f"{label(connection)} {dropped} dropped silently{after}")
    loss = _loss(connection, losses)
    return sentence + (
        f"{loss}." if loss else f": {size(int(str(drop.evidence['unacknowledged_bytes'])))} of data were never acknowledged."
    )


def _losses(findings: tuple[Finding, ...]) -> dict[int, int]:
    """Bytes of container output that each connection lost, as far as nothing refutes it."""
    losses: dict[int, int] = {}
    for finding in findings:
        if finding.code == "output-lost" and finding.severity == "error" and finding.connection is not None:
            lost = int(str(finding.evidence["stdout_bytes"])) + int(str(finding.evidence["stderr_bytes"]))
            losses[finding.connection] = losses.get(finding.connection, 0) + lost
    return losses


def _loss(connection: Connection, losses: dict[int, int]) -> str:
    if connection.id not in losses:
        return ""
    return f": at least {size(losses[connection.id])} of container output never reached the client"


def _at_risk(connection: Connection, count: int, *, first: bool) -> str:
    gap = worst_gap(connection)
    idle = f"{seconds(gap.duration_ns)} " if gap else ""
    more = f" (and {counted(count - 1, 'other')} likewise)" if count > 1 else ""
    lead = "No connection was seen to be dropped, but " if first else "Also, "
    return f"{lead}{label(connection)}{more} was idle for {idle}without a keepalive probe from either side."


def _reset(finding: Finding) -> str:
    # Who closes it after that has no more to say: what was lost had been lost before.
    peer = "client" if finding.evidence["sender"] == "server" else "server"
    done = f"the {peer} closed it" if finding.evidence["closing"] else "it was used again"
    return f"was reset{_by(finding)} when {done} after {_seconds(finding.evidence['idle_s'])} of silence"


def _reset_in_use(finding: Finding) -> str:
    return f"was reset{_by(finding)} {'while it was in use' if finding.evidence['used'] else 'as soon as it was open'}"


def _by(finding: Finding) -> str:
    """In whose name a RST came, and who sent it, as far as that is known."""
    sender = finding.evidence["sender"]
    injected = finding.evidence.get("injected")
    if injected is not None:
        by = f" in the {sender}'s name by something on the path, as both captures prove," if injected else f" by the {sender} itself"
    else:
        by = f" in the {sender}'s name"
        if finding.evidence["sender_differs"]:
            by += ", most likely by another machine (its TTL differs)"
        elif finding.evidence["sender_may_differ"]:
            by += ", perhaps by another machine (its TTL differs a little)"
    return by


def _half_closed(finding: Finding) -> str:
    cut = "; what was sent after that was never acknowledged" if finding.evidence["dropped"] else ""
    return f"was half-closed by the {finding.evidence['closed_by']} and then silent for {_seconds(finding.evidence['idle_s'])}{cut}"


def _too_large(finding: Finding) -> str:
    sender = "client" if finding.evidence["direction"] == "to_server" else "server"
    if finding.evidence["segment_bytes"] is None:
        missing = f"{finding.evidence['missing_bytes']} bytes of the {sender}"
        return f"stands still because {missing} never came while what was sent after them did: perhaps an MTU black hole"
    proven = bool(finding.evidence.get("proven_by_other_side"))
    smaller = "do, as both captures prove" if proven else "do" if finding.evidence["duplicate_acks"] else "may"
    return (
        f"stands still because the {sender}'s large packets ({finding.evidence['segment_bytes']:,} bytes of data{' or more' * proven}) do "
        f"not arrive while smaller ones {smaller}: an MTU black hole{', most likely' * (finding.confidence != 'high')}"
    )


def _one_way(finding: Finding) -> str:
    sender, peer = ("client", "server") if finding.evidence["direction"] == "to_server" else ("server", "client")
    return f"has one dead direction: what the {sender} sends does not reach the {peer}, while the {peer} is still heard"


def _stalled(finding: Finding) -> str:
    reader = "client" if finding.evidence["direction"] == "to_client" else "server"
    lasted = {
        "window-opened": "then read on",
        "close": "and did not read again before it was closed",
        "capture-ended": "and had not read on when the capture ended",
    }[str(finding.evidence["ended_by"])]
    return f"stood still for {_seconds(finding.evidence['stalled_s'])} because the {reader}'s program did not read, {lasted}"


def _cut_off(finding: Finding) -> str:
    sender, peer = ("client", "server") if finding.evidence["direction"] == "to_server" else ("server", "client")
    how = {
        "data": f"the {peer} acknowledged nothing of what the {sender} sent",
        "probes": f"the {peer} did not answer the {sender}'s keepalive probes",
        "answers": f"the {peer} did not get the {sender}'s acknowledgements",
        "silence": f"none of the {sender}'s regular keepalive probes came",
    }[str(finding.evidence["what"])]
    lasted = _seconds(finding.evidence["lasted_s"])
    if finding.evidence["what"] == "silence":
        return f"was cut off for {lasted}, or not recorded, and then went on: in that time {how}"
    return f"was cut off for {lasted} and then went on: in that time {how}"


def _lost(finding: Finding) -> str:
    sender = "client" if finding.evidence["direction"] == "to_server" else "server"
    lasted = _seconds(finding.evidence["longest_loss_s"])
    return f"received nothing for {lasted} of what the {sender} sent, as both captures prove"


def _slow(finding: Finding) -> str:
    sender = "client" if finding.evidence["direction"] == "to_server" else "server"
    again, late, packets = (finding.evidence[name] for name in ("retransmissions", "reordered", "sent_packets"))
    return (
        f"was slowed down by a path that loses or reorders packets: of {packets} packets of the {sender} {again} were sent again and "
        f"{late} overtaken by others"
    )


def _unanswered(finding: Finding) -> str:
    prober, peer = ("client", "server") if finding.evidence["direction"] == "to_server" else ("server", "client")
    gave_up = f", and the {prober} gave up" if finding.evidence["gave_up"] else ""
    return f"lost its {peer}: the last {finding.evidence['unanswered']} keepalive probes of the {prober} went unanswered{gave_up}"


def _timeout(finding: Finding) -> str:
    sure = "as with" if finding.confidence == "medium" else "perhaps by"
    waited, limit = _seconds(finding.evidence["waited_s"]), finding.evidence["timeout_s"]
    return f"was closed by the client after {waited} of waiting, {sure} a read timeout of {limit} s"


def _quiet(finding: Finding) -> str:
    return f"was quiet but healthy: {finding.message[0].lower()}{finding.message[1:].rstrip('.')}"


def _ended(_finding: Finding) -> str:
    return "was still in use when the capture ended, so nothing is proven about its end"


def _ended_early(finding: Finding) -> str:
    if finding.severity == "error":
        return "ended before all output had arrived"
    if finding.evidence.get("client_had_closed"):
        return "was closed by the client while container output was still to come"
    if finding.confidence == "low":
        return "ended with output that nothing but a reset, perhaps of another machine, says to have arrived"
    return "ended with output that had arrived at the client's machine and was never acknowledged"


def _unknown(finding: Finding) -> str:
    if finding.evidence["continues"] is None:
        return f"was not known to {finding.evidence['server']}, which answered what was sent on it with a reset"
    idle = finding.evidence["idle_s"]
    if "first_at_server" in finding.evidence:
        return "got another port or address from a NAT on the way, which had forgotten it, as both captures prove"
    after = f" after {_seconds(idle)} of silence" if idle is not None else ""
    return (
        f"is connection {finding.evidence['continues']} under another port or address, which a NAT gave it{after}; "
        "the server did not know it and answered with a reset"
    )


def _refused(finding: Finding) -> str:
    sender = "client" if finding.evidence["direction"] == "to_server" else "server"
    return f"was refused on its way: {finding.evidence['reporter']} answers what the {sender} sends with ICMP {finding.evidence['icmp']}"


def _opened_late(finding: Finding) -> str:
    again = counted(int(str(finding.evidence["sent_again"])), "SYN" if finding.evidence["what"] == "syn-unanswered" else "SYN-ACK")
    return f"took {_seconds(finding.evidence['took_s'])} to open: {again} had to be sent again"


def _tried(finding: Finding) -> str:
    tried = int(str(finding.evidence["connections"]))
    return f"{'the only try' if tried == 1 else f'{tried:,} tries'} to connect to {finding.evidence['server']}"


def _seconds(value: object) -> str:
    return seconds(round(float(str(value)) * SECOND_NS))


def _concerned(findings: tuple[Finding, ...], code: str) -> list[int]:
    return sorted({finding.connection for finding in findings if finding.code == code and finding.connection is not None})


# The gravest first. A connection is told once, with the first of these that it has.
CAUSES: Final[tuple[tuple[str, Sentence], ...]] = (
    ("mtu-black-hole", _too_large),
    ("one-way-loss", _one_way),
    ("icmp-error", _refused),
    ("peer-silent", lambda _: "got no answer although what was sent on it did arrive: the peer's host was silent, not the path"),
    ("connection-unknown", _unknown),
    ("reset-after-idle", _reset),
    ("reset-in-use", _reset_in_use),
    ("half-close-idle", _half_closed),
    ("keepalive-unanswered", _unanswered),
    ("output-lost", _ended_early),
    ("client-timeout", _timeout),
    ("server-closed", lambda one: f"was closed by the server {one.evidence['unfinished']}"),
    ("zero-window-stall", _stalled),
    ("outage", _cut_off),
    ("packets-lost", _lost),
    ("possible-drop", lambda one: f"may have been dropped: nothing came on it in the last {_seconds(one.evidence['silent_s'])}"),
    (
        "keepalive-too-slow",
        lambda one: (
            f"has slow keepalive probes: {_seconds(one.evidence['longest_silence_s'])} passed without a packet, longer than "
            f"an idle timeout of {one.evidence['timeout_s']:g} s"
        ),
    ),
    ("unanswered-request", lambda _: "ended before a request on it was answered"),
    ("connection-unanswered", lambda one: f"was never opened: {_tried(one)} got no answer to the {str(one.evidence['what']).upper()}"),
    ("connection-refused", lambda one: f"was refused with a RST: {_tried(one)} came to nothing"),
    ("slow-connect", _opened_late),
)
