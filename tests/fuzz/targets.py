"""The targets by name: each takes bytes of a stranger, calls a parser, checks what must hold, and returns the answer.

The answer's repr is the same whenever the bytes are, compiled or not.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from fuzz.capture_files import analysis, capture
from fuzz.conversations import docker, handshake, http, stdcopy, tls
from fuzz.frames import packets, tcp_segments
from fuzz.key_files import key_file, key_log, machine, pem_file
from fuzz.running_programs import program, trace_pipe

CORPUS: Final = Path(__file__).parent / "corpus"

TARGETS: Final[dict[str, Callable[[bytes], object]]] = {
    "capture": capture,
    "analysis": analysis,
    "packets": packets,
    "tcp": tcp_segments,
    "tls": tls,
    "handshake": handshake,
    "http": http,
    "docker": docker,
    "stdcopy": stdcopy,
    "key_log": key_log,
    "key_file": key_file,
    "pem_file": pem_file,
    "machine": machine,
    "program": program,
    "trace_pipe": trace_pipe,
}
