"""TLS secrets of an unmodified Go program: a uprobe event on crypto/tls.(*Config).writeKeyLog, written as a key log.

The function is called for every secret, whether or not the program asked for a key log, so an event at its entry sees them all.
amd64 and Go 1.17 or newer: arguments are in registers (label in bx/cx, client random in di/si, secret in r9/r10, as address and length).
"""

import contextlib
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from processes import LabError, run

FUNCTION = "crypto/tls.(*Config).writeKeyLog"
ARGUMENTS = "llen=%cx:u64 label=+0(%bx):x8[32] rlen=%si:u64 random=+0(%di):x8[32] slen=%r10:u64 secret=+0(%r9):x8[48]"
LINE = re.compile(r"llen=(\d+) label=\{(.*?)\} rlen=(\d+) random=\{(.*?)\} slen=(\d+) secret=\{(.*?)\}")


@contextlib.contextmanager
def go_key_log(program: Path, destination: Path, directory: Path) -> Iterator[None]:
    """While the block runs, every TLS secret of every process of this program is written to `destination`."""
    group = f"captool_lab_{os.getpid()}"
    with _tracefs(directory) as tracing:
        event = f"{group}/keylog"
        events = tracing / "uprobe_events"
        instance = tracing / "instances" / group  # a buffer of our own: other users of tracing are not disturbed
        with contextlib.ExitStack() as stack:
            _append(events, f"p:{event} {program}:{_file_offset(program):#x} {ARGUMENTS}")
            stack.callback(_append, events, f"-:{event}")
            instance.mkdir()
            stack.callback(instance.rmdir)
            enable = instance / "events" / event / "enable"
            enable.write_text("1")
            stack.callback(enable.write_text, "0")
            pipe = stack.enter_context(subprocess.Popen(["cat", instance / "trace_pipe"], stdout=subprocess.PIPE, text=True))
            stack.callback(pipe.terminate)
            reader = threading.Thread(target=_write_lines, args=(pipe, destination))
            reader.start()
            yield
            # the reader has everything once a last look at the buffer finds it empty
            while LINE.search((instance / "trace").read_text()):
                time.sleep(0.05)
            pipe.terminate()
            reader.join()


def _write_lines(pipe: "subprocess.Popen[str]", destination: Path) -> None:
    seen = set()
    assert pipe.stdout is not None
    with os.fdopen(os.open(destination, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        for text in pipe.stdout:
            match = LINE.search(text)
            if match is None:
                continue
            label, random, secret = (_bytes(match[n + 1], int(match[n])) for n in (1, 3, 5))
            line = f"{label.decode('ascii')} {random.hex()} {secret.hex()}\n"
            if line not in seen:  # an entry that has to grow its stack first is hit twice
                seen.add(line)
                file.write(line)
                file.flush()


def _bytes(array: str, length: int) -> bytes:
    return bytes(int(item, 16) for item in array.split(",")[:length])


def _file_offset(program: Path) -> int:
    """Where the function's first instruction is in the file."""
    with program.open("rb") as file:
        elf = ELFFile(file)
        table = elf.get_section_by_name(".symtab")
        symbols = table.get_symbol_by_name(FUNCTION) if isinstance(table, SymbolTableSection) else None
        if not symbols:
            raise LabError(f"{program} has no symbol {FUNCTION}; take the official static build of the docker client")
        address = symbols[0]["st_value"]
        for segment in elf.iter_segments("PT_LOAD"):
            if segment["p_flags"] & 1 and segment["p_vaddr"] <= address < segment["p_vaddr"] + segment["p_filesz"]:
                return int(address - segment["p_vaddr"] + segment["p_offset"])
    raise LabError(f"{program}: {FUNCTION} lies in no executable segment")


@contextlib.contextmanager
def _tracefs(directory: Path) -> Iterator[Path]:
    usual = Path("/sys/kernel/tracing")
    if (usual / "uprobe_events").exists():
        yield usual
        return
    mounted = directory / "tracing"
    mounted.mkdir()
    run("mount", "-t", "tracefs", "captool-lab", mounted)
    try:
        yield mounted
    finally:
        run("umount", mounted)


def _append(path: Path, line: str) -> None:
    # O_APPEND, because opening only for writing removes everybody's events; not open(), which seeks, which this file refuses
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(descriptor, line.encode() + b"\n")
    finally:
        os.close(descriptor)
