"""Ctrl-C at moments that are over in milliseconds: while modules are imported, while it is being answered, while the interpreter ends."""

import signal
import subprocess
import sys

import pytest

# SIGINT as soon as one of these modules is looked for, in a callback at `callback`; `exit` is when the interpreter has begun to end.
PROGRAM = """
import atexit, os, signal, sys, time
moments = sys.argv[1].split()
class Gone:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name in moments:
            os.kill(os.getpid(), signal.SIGINT)
        if name == "captool.cli.analyze" and "callback" in moments:
            Gone()
            time.sleep(5)
if "exit" in moments:
    atexit.register(os.kill, os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
sys.argv = ["captool", *sys.argv[2:]]
from captool.__main__ import main
main()
"""


def interrupted(moments, *words):
    run = subprocess.run([sys.executable, "-P", "-c", PROGRAM, moments, *words], capture_output=True, text=True, check=False)
    return run.returncode, run.stderr.strip()


@pytest.mark.parametrize(
    "moments",
    ["captool.cli.main", "click", "captool.cli.analyze", "captool.tcp.tracker", "captool.cli.analyze captool.report.printable", "callback"],
)
def test_ctrl_c_while_importing_is_no_traceback(moments):
    assert (130, "captool: interrupted") == interrupted(moments, "analyze", "trace.pcap")


def test_ctrl_c_while_the_interpreter_ends_is_no_traceback():
    assert (-signal.SIGINT, "") == interrupted("exit", "--version")  # which a shell calls 130
