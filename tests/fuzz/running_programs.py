"""What comes from running programs: their ELF files, and lines of trace_pipe, in which any process writes its own name."""

from captool.errors import CaptoolError
from captool.goprogram.build_info import go_build
from captool.goprogram.elf import ElfFile
from captool.goprogram.function_address import find_function
from captool.goprogram.pclntab import find_table
from captool.session_keys.events import EventLines, SecretSeen, parse_event
from captool.session_keys.write_key_log import FUNCTION, fetch_arguments
from fuzz.capture_files import one_line
from fuzz.script import Script


def program(data: bytes) -> object:
    """An address that lies in the file, or one line."""
    answers = []
    try:
        elf = ElfFile(data, "program")
    except CaptoolError as error:
        return one_line(error)
    for question in (go_build, find_table, _arguments, lambda elf: find_function(elf, FUNCTION), lambda elf: find_function(elf, "main.main")):
        try:
            answers.append(question(elf))
        except CaptoolError as error:
            answers.append(one_line(error))
    for found in answers[3:]:
        assert isinstance(found, str) or 0 <= found.offset < len(data)
    return elf.sections, elf.segments, answers


def _arguments(elf: ElfFile) -> object:
    return fetch_arguments(elf, go_build(elf), find_function(elf, FUNCTION))


def trace_pipe(data: bytes) -> object:
    """Lines cut anywhere are the same lines; a secret has a size that a secret can have."""
    script = Script(data)
    step = script.byte() or 1
    text = script.rest()
    answers = []
    for size in (max(len(text), 1), step):
        lines = EventLines()
        events = [parse_event(line) for at in range(0, len(text), size) for line in lines.lines(text[at : at + size])]
        answers.append(events)
        for event in events:
            if isinstance(event, SecretSeen):
                assert len(event.client_random) == 32
                assert len(event.secret) in {32, 48}
                assert event.secret.hex() not in repr(event)
    assert answers[0] == answers[1]
    return answers[0]
