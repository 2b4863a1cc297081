"""What keepalive a program asks for, by its version and the Go that built it: the data of `keepalive_by_version.toml`."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal

Kind = Literal["hijacked", "pooled", "accepted", "dialed"]
Version = tuple[int, ...]

MEANING: Final[dict[Kind, str]] = {
    "hijacked": "attach and exec streams over TLS",
    "pooled": "its other requests",
    "accepted": "connections that it accepts",
    "dialed": "connections that it opens, unless it asks otherwise",
}
_VERSION: Final = re.compile(r"v?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?")
_GO: Final = "go"


@dataclass(frozen=True, slots=True)
class Rule:
    """Seconds between probes, 0 for none, None for whatever Go does by itself; and where that is known from."""

    seconds: int | None
    source: str


@dataclass(frozen=True, slots=True)
class Span:
    """Some versions (from `since` up to, not including, `before`), the Go of their official builds, and what they do."""

    since: Version
    before: Version | None
    go: Version | None
    rules: dict[Kind, Rule]

    def holds(self, version: Version) -> bool:
        """Whether the version is one of these; what it leaves out is 0."""
        version = (*version, 0, 0)[:3]
        return self.since <= version and (self.before is None or version < self.before)


@dataclass(frozen=True, slots=True)
class Product:
    """A program with a table of its own."""

    name: str
    packages: frozenset[str]
    variables: tuple[str, ...]
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class AskedFor:
    """What a program does on one kind of its connections: seconds between probes, 0 for none.

    `assumed_go` is set where the Go that built this very program is not known, and that of the official builds was taken.
    """

    kind: Kind
    seconds: int
    source: str
    assumed_go: str | None = None


@cache
def products() -> dict[str, Product]:
    """The products of the table by name, Go itself among them."""
    document = tomllib.loads((files("captool.doctor") / "keepalive_by_version.toml").read_text(encoding="utf-8"))
    return {
        name: Product(name, frozenset(one.get("packages", ())), tuple(one.get("variables", ())), tuple(map(_span, one.get("versions", ()))))
        for name, one in document.items()
    }


def version_numbers(text: str) -> Version | None:
    """(28, 2, 2) of "28.2.2", "v28.2.2" or "28.2.2+dfsg1"; None for what begins otherwise."""
    match = _VERSION.match(text)
    return tuple(int(number) for number in match.groups("0")) if match else None


def asked_for(product: Product | None, version: Version | None, go: Version | None) -> Iterator[AskedFor]:
    """What is known for this version, built with this Go; without a product or its version, what Go does by itself."""
    span = None if product is None or version is None else next((span for span in product.spans if span.holds(version)), None)
    if span is None:
        for kind, rule in _rules_of_go(go).items():
            if rule.seconds is not None:
                yield AskedFor(kind, rule.seconds, rule.source)
        return
    for kind, rule in span.rules.items():
        if rule.seconds is not None:
            yield AskedFor(kind, rule.seconds, rule.source)
        elif own := _rules_of_go(go or span.go).get("accepted" if kind == "accepted" else "dialed"):
            assumed = None if go or span.go is None else ".".join(map(str, span.go[:2]))
            yield AskedFor(kind, own.seconds or 0, f"{rule.source}; {own.source}", assumed)


def _rules_of_go(release: Version | None) -> dict[Kind, Rule]:
    if release is None:
        return {}
    return next((span.rules for span in products()[_GO].spans if span.holds(release)), {})


def _span(table: dict[str, Any]) -> Span:
    since, before, go = (version_numbers(table[name]) if name in table else None for name in ("since", "before", "go"))
    rules = {kind: Rule(None if one["probes"] == _GO else one["probes"], one["source"]) for kind in MEANING if (one := table.get(kind))}
    return Span(since or (), before, go, rules)
