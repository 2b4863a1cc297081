#!/usr/bin/env python3
"""Put the reports of README.md and docs/two-sides.md between their markers. Run it in the checkout's root."""

import re
from pathlib import Path

from captool.analysis import analyze
from captool.report.text import render

ROOT = Path(__file__).parent.parent
TRACE, KEYS = "fixtures/silent-drop/server.pcap", "fixtures/silent-drop/machines"
OTHER_SIDE = "fixtures/silent-drop/client.pcap"
MARKED = re.compile(r"(?<=<!-- report -->\n).*(?=<!-- /report -->)", re.DOTALL)


def block() -> str:
    return f"```\n$ captool analyze {TRACE} --keys {KEYS}\n\n{render(analyze(TRACE, KEYS))}```\n"


def two_sides_block() -> str:
    return f"```\n$ captool analyze {TRACE} --other-side {OTHER_SIDE}\n\n{render(analyze(TRACE, other_side=OTHER_SIDE))}```\n"


if __name__ == "__main__":
    for page, text in ((ROOT / "README.md", block()), (ROOT / "docs/two-sides.md", two_sides_block())):
        page.write_text(MARKED.sub(text.replace("\\", r"\\"), page.read_text(encoding="utf-8")), encoding="utf-8")
