"""What becomes of a connection when nothing is said on it: judged by the probes of its ends and the middleboxes on its path."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from captool.doctor.keepalive import SocketKeepalive
from captool.doctor.path import OnPath, Path
from captool.units import seconds

Verdict = Literal["kept-alive", "probes-too-slow", "will-be-cut", "may-be-cut", "no-timeout-known", "not-observable"]

NAMED: Final = 3
# A timer of the kernel fires late by up to an eighth of its time (kernel/time/timer.c: granularity of the wheel's levels).
LATE: Final = 8


@dataclass(frozen=True, slots=True)
class Outlook:
    """`cut_after_ns` is the silence after which the first middlebox forgets it, None where none on the path does.

    It is `may-be-cut` where that depends on what cannot be seen from here: the other end's probes, or whether that middlebox is there.
    """

    verdict: Verdict
    sentence: str
    cut_after_ns: int | None


def outlook(here: SocketKeepalive, there: SocketKeepalive | None, silent_ns: int | None, path: Path) -> Outlook:
    """`there` is the other end, where it is a socket of this machine too; `silent_ns` how long nothing has crossed by now."""
    ends = [here] if there is None else [here, there]
    blind = [one for one in path.middleboxes if one.certain and one.entry.probe_resets is False]
    if blind and any(end.status == "present" for end in ends):
        return Outlook("will-be-cut", f"{_cut(blind)}: it ignores the probes that are sent", blind[0].entry.timeout_ns)
    if periods := [end.period_ns for end in ends if end.period_ns is not None]:
        return _with_probes(min(periods), path)
    if any(end.status == "present" for end in ends):
        return _with_unknown_period(min(end.at_least_ns or 0 for end in ends if end.status == "present"), path)
    if unknown := next((end for end in ends if end.status == "not-observable"), None):
        return Outlook("not-observable", f"whether probes are sent cannot be seen now: {unknown.why}; look again when it is idle", None)
    return _without_probes(silent_ns, path, peer_known=there is not None)


def _with_probes(period_ns: int, path: Path) -> Outlook:
    latest = period_ns + period_ns // LATE
    survives = f"a probe crosses at least every {seconds(period_ns)}: survives timeouts above {seconds(latest)} of whatever counts probes"
    seeing = [one for one in path.middleboxes if one.entry.probe_resets is not False]
    blind = [one for one in path.middleboxes if one.entry.probe_resets is False]
    if over := [one for one in seeing if one.entry.timeout_ns <= latest]:
        first = min(one.entry.timeout_ns for one in over)
        return Outlook("probes-too-slow", f"{_cut(over)}: a probe comes only every {seconds(period_ns)}", first)
    if blind:
        return Outlook("kept-alive", f"{survives}; not for one that ignores probes, as {_names(blind)} would", blind[0].entry.timeout_ns)
    return Outlook("kept-alive", survives, None)


def _with_unknown_period(at_least_ns: int, path: Path) -> Outlook:
    """Only the timer was seen: it says no more than that probes are no closer together than this."""
    if over := [one for one in path.middleboxes if one.entry.timeout_ns <= at_least_ns]:
        first = min(one.entry.timeout_ns for one in over)
        return Outlook("probes-too-slow", f"{_cut(over)}: probes come at least {seconds(at_least_ns)} apart", first)
    apart = f", at least {seconds(at_least_ns)} apart" if at_least_ns else ""
    sentence = f"probes are sent{apart}; how often, only root and mostly the program's own user can read from the socket"
    return Outlook("not-observable", sentence, None)


def _without_probes(silent_ns: int | None, path: Path, *, peer_known: bool) -> Outlook:
    ends = "neither end sends keepalive probes" if peer_known else "this socket sends no keepalive probe"
    counts = not path.middleboxes or path.middleboxes[0].entry.probe_resets is not False
    unless = ", unless the other end sends probes, which cannot be seen from here" if counts and not peer_known else ""
    if not path.middleboxes:
        return Outlook("no-timeout-known", f"{ends}, and no middlebox is known on its path ({path.why})", None)
    first = path.middleboxes[0].entry.timeout_ns
    verdict: Verdict = "may-be-cut" if unless or not path.middleboxes[0].certain else "will-be-cut"
    so_far = ""
    if silent_ns is not None:
        left = first - silent_ns
        so_far = f"; silent for {seconds(silent_ns)} by now, " + (f"so in {seconds(left)}" if left > 0 else "longer than that already")
    return Outlook(verdict, f"{ends}: {_cut(path.middleboxes)}{unless}{so_far}", first)


def _cut(middleboxes: Sequence[OnPath]) -> str:
    """Who cuts it first, and after how long: the shortest of those that are certainly there, and what may be there and is shorter."""
    certain = [one for one in middleboxes if one.certain]
    shortest = certain[0].entry.timeout_ns if certain else None
    possible = [one for one in middleboxes if not one.certain and (shortest is None or one.entry.timeout_ns < shortest)]
    told = []
    if possible:
        first = [one for one in possible if one.entry.timeout_ns == possible[0].entry.timeout_ns]
        told.append(f"after {seconds(first[0].entry.timeout_ns)} of silence {_names(first)} will cut it if it is on the path")
    if certain:
        first = [one for one in certain if one.entry.timeout_ns == shortest]
        told.append(f"after {seconds(first[0].entry.timeout_ns)} of silence {_names(first)} will cut it")
    return ", ".join(told)


def _names(middleboxes: Iterable[OnPath]) -> str:
    names = [one.entry.name for one in middleboxes]
    if len(names) > NAMED:
        names = [*names[:NAMED], f"{len(names) - NAMED} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
