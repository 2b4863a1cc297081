"""The catalogue of idle timeouts: after how long without a packet a middlebox forgets or closes a connection.

Data in `idle_timeouts.toml`, in which each entry names its source; a user's own file has the same form and goes on top. What is shipped
is read from `shipped.py`, which `scripts/middlebox_page.py` makes of that file: to parse it takes as long as to analyze a small capture.
"""

from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from captool.errors import UsageError

OnExpiry = Literal["silent-drop", "reset", "close", "unknown"]
State = Literal["established", "half-closed"]

MAX_CHARACTERS: Final = 1 << 20  # of a file of the user: a device would never end
ON_EXPIRY: Final = ("silent-drop", "reset", "close", "unknown")
STATES: Final = ("established", "half-closed")
NANOSECONDS: Final = 1_000_000_000
MAX_SECONDS: Final = 10 * 365 * 86400


class IdleTimeout(NamedTuple):
    """One kind of middlebox and its timeout for TCP connections without traffic.

    `seconds` is the default, `minimum` and `maximum` what it can be configured to (None where that is unknown or impossible).
    `probe_resets` says whether an empty keepalive probe counts as traffic: proxies that end TCP themselves ignore it; None is
    unknown. `on_expiry` is what the ends see: nothing at all (`silent-drop`), a RST to whoever sends next (`reset`), FIN or RST at
    once (`close`). `state` says which connections it is for: middleboxes give those of which one side sent its FIN a shorter
    timeout of their own. `source` is a link or a document's name; `primary` is true when that is the vendor's own documentation or
    the program's source, false for reports, blogs and common knowledge.
    """

    id: str
    name: str
    seconds: float
    minimum: float | None
    maximum: float | None
    probe_resets: bool | None
    on_expiry: OnExpiry
    source: str
    primary: bool
    state: State = "established"

    @property
    def timeout_ns(self) -> int:
        """The default in nanoseconds."""
        return round(self.seconds * NANOSECONDS)


def load_catalogue(extra: Path | None = None, *, state: State | None = "established") -> tuple[IdleTimeout, ...]:
    """The entries for connections in this state, the shortest timeout first; None: all of them.

    Entries of the file `extra` come on top, and replace those with the same id. An entry of `extra` that replaces one need only
    name what differs. Raises `UsageError` naming file, entry and field.
    """
    entries = _shipped()
    if extra is not None:
        try:
            with extra.open(encoding="utf-8") as file:
                text = file.read(MAX_CHARACTERS)
        except (OSError, UnicodeDecodeError) as error:
            reason = (error.strerror or str(error)).lower() if isinstance(error, OSError) else "not UTF-8 text"
            raise UsageError(f"{extra}: {reason}; a catalogue of idle timeouts is a TOML file") from error
        entries = parse_catalogue(str(extra), text, entries)
    chosen = [entry for entry in entries.values() if state is None or entry.state == state]
    return tuple(sorted(chosen, key=lambda entry: (entry.seconds, entry.id)))


def by_id(catalogue: tuple[IdleTimeout, ...], wanted: str) -> IdleTimeout:
    """The entry with this id; raises `UsageError` that names the ones spelled like it, or all of them."""
    by_name = {entry.id: entry for entry in catalogue}
    if wanted in by_name:
        return by_name[wanted]
    from difflib import get_close_matches

    close = get_close_matches(wanted.lower(), by_name, n=3, cutoff=0.5) or [name for name in by_name if wanted and wanted.lower() in name]
    known = f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(sorted(by_name))}"
    raise UsageError(f"no middlebox {wanted!r} in the catalogue of idle timeouts: {known} (docs/middleboxes.md lists them all)")


@cache
def _shipped() -> dict[str, IdleTimeout]:
    from captool.middlebox.shipped import SHIPPED

    return {row[0]: IdleTimeout(*row) for row in SHIPPED}


def parse_catalogue(origin: str, text: str, known: dict[str, IdleTimeout]) -> dict[str, IdleTimeout]:
    """The entries of a catalogue in TOML, by id, on top of those that are `known`. Raises `UsageError` naming `origin`, entry and field."""
    import tomllib

    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{origin}: not TOML: {error}") from error
    entries = dict(known)
    for name, table in document.items():
        if not isinstance(table, dict):
            raise UsageError(f"{origin}: {name}: expected a table such as [my-firewall] with a field `seconds`")
        entries[name] = _entry(f"{origin}: [{name}]", name, table, known.get(name))
    return entries


def _entry(where: str, name: str, table: dict[str, Any], known: IdleTimeout | None) -> IdleTimeout:
    unknown = sorted(set(table) - set(FIELDS))
    if unknown:
        from difflib import get_close_matches

        close = get_close_matches(unknown[0], FIELDS, n=1)
        hint = f"did you mean `{close[0]}`?" if close else f"fields are {', '.join(FIELDS)}"
        raise UsageError(f"{where}: unknown field `{unknown[0]}`; {hint}")
    if known is None:
        if "seconds" not in table:
            raise UsageError(f"{where}: field `seconds` is missing: the idle timeout in seconds")
        known = IdleTimeout(name, name, 0, None, None, None, "unknown", where.partition(": [")[0], primary=False)
    changes: dict[str, Any] = {}
    for field, value in table.items():
        changes |= FIELDS[field](f"{where}: field `{field}`", field, value)
    entry = known._replace(**changes)
    if not (entry.minimum is None or entry.minimum <= entry.seconds) or not (entry.maximum is None or entry.seconds <= entry.maximum):
        raise UsageError(f"{where}: field `range`: {entry.seconds:g} seconds lie outside it")
    return entry


def _text(where: str, field: str, value: object) -> dict[str, Any]:
    if isinstance(value, str) and value.strip():
        return {field: value}
    raise UsageError(f"{where}: expected text, not {value!r}")


def _truth(where: str, field: str, value: object) -> dict[str, Any]:
    if isinstance(value, bool):
        return {field: value}
    raise UsageError(f"{where}: expected true or false, not {value!r}")


def _duration(where: str, field: str, value: object) -> dict[str, Any]:
    return {field: _seconds(where, value)}


def _range(where: str, _field: str, value: object) -> dict[str, Any]:
    if not isinstance(value, list) or len(value) != 2:
        raise UsageError(f"{where}: expected [least, most] in seconds, not {value!r}")
    return {"minimum": _seconds(where, value[0]), "maximum": _seconds(where, value[1])}


def _probe_resets(where: str, field: str, value: object) -> dict[str, Any]:
    if value == "unknown":
        return {field: None}
    if isinstance(value, bool):
        return {field: value}
    raise UsageError(f'{where}: expected true, false or "unknown", not {value!r}')


def _on_expiry(where: str, field: str, value: object) -> dict[str, Any]:
    if value in ON_EXPIRY:
        return {field: value}
    raise UsageError(f"{where}: expected one of {', '.join(ON_EXPIRY)}, not {value!r}")


def _state(where: str, field: str, value: object) -> dict[str, Any]:
    if value in STATES:
        return {field: value}
    raise UsageError(f"{where}: expected one of {', '.join(STATES)}, not {value!r}")


def _seconds(where: str, value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= MAX_SECONDS:
        return value
    raise UsageError(f"{where}: expected seconds above 0 (at most ten years), not {value!r}")


FIELDS: Final = {
    "name": _text,
    "seconds": _duration,
    "range": _range,
    "probe_resets": _probe_resets,
    "on_expiry": _on_expiry,
    "source": _text,
    "primary": _truth,
    "state": _state,
}
