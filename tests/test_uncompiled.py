"""The hot path gives the same answers compiled and as plain Python."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from captool.analysis import analyze
from captool.report.json_report import render
from captool.tcp import tracker
from fixture_cases import FIXTURES, captures

ROOT = Path(__file__).parent.parent
SCRIPT = """
import sys
from captool.analysis import analyze
from captool.report.json_report import render
from captool.tcp import tracker
assert tracker.__file__.endswith(".py"), tracker.__file__
for trace in sys.argv[1:]:
    print(render(analyze(trace.split(","))))
"""
# tcpdump's output in pieces of any size, in both byte orders and with every kind of end
CUTS = """
import random, struct
from captool.errors import MissingToolError
from captool.record.packet_stream import PacketStream
dice = random.Random(5)
answers = []
for order, magic in (("<", 0xA1B2C3D4), (">", 0xA1B23C4D)):
    for last in (b"", b"x" * 15, struct.pack(order + "IIII", 1, 1, (1 << 20) + 1, 1), struct.pack(order + "IIII", 1, 1, 0xFFFFFFFF, 1)):
        sizes = [dice.choice((0, 1, 60, 255, 256, 65536, 1 << 20)) for _ in range(20)]
        packets = [struct.pack(order + "IIII", n, n, size, size) + bytes(size) for n, size in enumerate(sizes)]
        data = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262144, 1) + b"".join(packets) + last
        stream, position = PacketStream(), 0
        while position < len(data) + (1 << 20):  # once more with nothing: a broken header is told when what precedes it is safe
            step = dice.choice((1, 7, 16, 80, 4096, 1 << 20))
            try:
                run = stream.feed(data[position : position + step])
                answers.append((len(run.data), run.ends, [stream.time_ns(run, n) for n in range(len(run.ends))]))
            except MissingToolError as error:
                answers.append(str(error))
                break
            position += step
"""


def test_installed_captool_is_compiled():
    if os.environ.get("CI") != "true" and tracker.__file__.endswith(".py"):
        pytest.skip("captool runs uncompiled here (from the checkout, or without a C compiler)")
    assert not tracker.__file__.endswith(".py")


@pytest.mark.slow
def test_source_gives_the_same_report_as_the_compiled_modules():
    at_the_same_time = ",".join(str(path) for path in sorted((FIXTURES / "any-interface").glob("*.pcap")))
    traces = [*map(str, captures()), at_the_same_time]
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, *traces], env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "".join(f"{render(analyze(trace.split(',')))}\n" for trace in traces) == run.stdout


def test_source_cuts_the_output_of_tcpdump_as_the_compiled_module_does():
    scope = {}
    exec(CUTS, scope)
    script = f"{CUTS}\nfrom captool.record import packet_stream\nassert packet_stream.__file__.endswith('.py')\nprint(answers)"
    command, environment = [sys.executable, "-c", script], {**os.environ, "PYTHONPATH": str(ROOT)}
    assert f"{scope['answers']}\n" == subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert sum(len(answer[1]) for answer in scope["answers"] if isinstance(answer, tuple)) == 8 * 20
    assert 4 == sum("broken packet header" in answer for answer in scope["answers"] if isinstance(answer, str))
