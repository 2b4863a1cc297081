#!/usr/bin/env python3
"""Put the report of the demo into README.md, between its two markers. Run it in the checkout's root."""

import re
from pathlib import Path

from captool.analysis import analyze
from captool.report.text import render

ROOT = Path(__file__).parent.parent
TRACE, KEYS = "fixtures/silent-drop/server.pcap", "fixtures/silent-drop/machines"
MARKED = re.compile(r"(?<=<!-- report -->\n).*(?=<!-- /report -->)", re.DOTALL)


def block() -> str:
    return f"```\n$ captool analyze {TRACE} --keys {KEYS}\n\n{render(analyze(TRACE, KEYS))}```\n"


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(MARKED.sub(block().replace("\\", r"\\"), readme.read_text(encoding="utf-8")), encoding="utf-8")
