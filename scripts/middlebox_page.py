#!/usr/bin/env python3
"""Write docs/middleboxes.md from the catalogue of idle timeouts."""

from pathlib import Path

from captool.middlebox.catalogue import IdleTimeout, load_catalogue

HEAD = """\
# Middleboxes and their idle timeouts

Written by `scripts/middlebox_page.py` from `captool/middlebox/idle_timeouts.toml`; change that file and run the script.

A connection on which nothing crosses for this long is forgotten or closed. *Probes count* says whether an empty TCP keepalive probe is traffic
to that box: load balancers and proxies that end the connection themselves do not see it. *At expiry* is what the two ends see. *Documented* is
`yes` where the source is the vendor's own documentation or the program's source, `no` where it is a report, a blog or common knowledge.

`captool analyze --network ID` judges idle times by one entry; without it every entry that an idle time exceeds is a candidate, the nearest first.

## Your own

`captool analyze --timeouts FILE` puts entries of your own on top. `seconds` must be there; an entry with an id of the table below need only name what
differs.

```toml
[office-firewall]
name = "Firewall of the office"
seconds = 300
range = [60, 3600]
probe_resets = true             # or false, or "unknown"
on_expiry = "silent-drop"       # or "reset", "close", "unknown"
state = "established"           # or "half-closed"
source = "the firewall's own page, session timeout"
primary = true

[aws-nlb]
seconds = 1200
```

    captool analyze trace.pcap --timeouts timeouts.toml --network office-firewall

## The catalogue

| id | middlebox | seconds | range | probes count | at expiry | state | documented | source |
|---|---|---|---|---|---|---|---|---|
"""
YES_NO = {True: "yes", False: "no", None: "unknown"}


def page() -> str:
    return HEAD + "".join(f"{row(entry)}\n" for entry in load_catalogue(state=None))


def row(entry: IdleTimeout) -> str:
    span = f"{entry.minimum:g} to {entry.maximum:g}" if entry.minimum is not None and entry.maximum is not None else ""
    cells = (f"`{entry.id}`", entry.name, f"{entry.seconds:g}", span, YES_NO[entry.probe_resets], entry.on_expiry, entry.state,
             YES_NO[entry.primary], entry.source)  # fmt: skip
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


if __name__ == "__main__":
    (Path(__file__).parent.parent / "docs/middleboxes.md").write_text(page(), encoding="utf-8")
