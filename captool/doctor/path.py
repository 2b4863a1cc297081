"""Which middleboxes of the catalogue the connections of this machine may pass, and how sure that is."""

from dataclasses import dataclass
from typing import Final

from captool.doctor.cloud import Cloud
from captool.doctor.kernel import Conntrack
from captool.middlebox.catalogue import IdleTimeout, by_id, load_catalogue
from captool.units import SECOND_NS

# Where nothing is known of the path: what connections to the three largest clouds meet.
USUAL: Final = ("azure-lb", "aws-nat-gateway", "gcp-vpc")


@dataclass(frozen=True, slots=True)
class OnPath:
    """A middlebox; `certain` if every connection passes it, or if the user said so."""

    entry: IdleTimeout
    certain: bool


@dataclass(frozen=True, slots=True)
class Path:
    """The middleboxes, the shortest timeout first, and why these; `named` if the user said so."""

    middleboxes: tuple[OnPath, ...]
    why: str
    named: bool = False


def path_of(network: str | None, idle_timeout_ns: int | None, cloud: Cloud) -> Path:
    """What the user named; else what matters in the cloud that was recognised; else the usual ones. Raises UsageError for an unknown id."""
    catalogue = load_catalogue()
    chosen: list[OnPath] = []
    if idle_timeout_ns is not None:
        given = IdleTimeout(
            "given",
            "a middlebox with the given timeout",
            idle_timeout_ns / SECOND_NS,
            None,
            None,
            None,
            "unknown",
            "--idle-timeout",
            primary=False,
        )
        chosen.append(OnPath(given, certain=True))
    if network is not None:
        chosen.append(OnPath(by_id(catalogue, network), certain=True))
    if chosen:
        return Path(_sorted(chosen), "named in the call", named=True)
    if cloud.rule is not None and (cloud.rule.always or cloud.rule.possible):
        chosen += [OnPath(by_id(catalogue, name), certain=True) for name in cloud.rule.always]
        chosen += [OnPath(by_id(catalogue, name), certain=False) for name in cloud.rule.possible]
        return Path(_sorted(chosen), f"{cloud.rule.name}: {cloud.evidence}")
    where = f"of {cloud.rule.name} no idle timeout is known" if cloud.rule is not None else cloud.evidence
    return Path(
        _sorted([OnPath(by_id(catalogue, name), certain=False) for name in USUAL]),
        f"{where}, so these are what connections to the largest clouds meet; name yours with --network or --idle-timeout",
    )


def within_this_machine(path: Path) -> Path:
    """The path of a connection between two sockets of this machine: no middlebox but those that the user named."""
    return path if path.named else Path((), "the connection does not leave this machine")


def with_conntrack(path: Path, conntrack: Conntrack | None) -> Path:
    """The path of a socket of this network namespace, whose own connection tracking is on it (if its rules use it)."""
    established = None if conntrack is None else conntrack.timeouts_ns.get("established")
    if established is None:
        return path
    known = by_id(load_catalogue(), "linux-conntrack")
    here = known._replace(id="conntrack-here", name="this machine's own conntrack", seconds=established / SECOND_NS)
    return Path(_sorted([*path.middleboxes, OnPath(here, certain=False)]), path.why, path.named)


def _sorted(middleboxes: list[OnPath]) -> tuple[OnPath, ...]:
    return tuple(sorted(middleboxes, key=lambda one: (one.entry.seconds, one.entry.id)))
