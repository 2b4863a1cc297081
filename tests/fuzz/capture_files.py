"""Capture files of any kind through the reader, and through every stage to the report."""

import io
import tempfile
from contextlib import closing
from pathlib import Path

from captool.analysis import analyze
from captool.capture.reader import CaptureReader
from captool.capture.source import open_source
from captool.capture.stream import open_stream
from captool.errors import CaptoolError
from captool.packets.decode import Decoder
from captool.report.json_report import render as render_json
from captool.report.text import render as render_text
from captool.tcp.tracker import Tracker

MAX_EXPANDED = 64 << 20


def written(data: bytes) -> Path:
    """The bytes as a file; always the same, whose name is in the answers."""
    path = Path(tempfile.gettempdir()) / "captool-fuzz-input"
    path.write_bytes(data)
    return path


def one_line(error: CaptoolError) -> str:
    message = str(error)
    assert message, "an error without a message"
    assert "\n" not in message, message
    assert message.isprintable(), message
    return f"{type(error).__name__} {message}"


def expanded_size(path: Path) -> int:
    """How many bytes stand in the file once it is expanded, as far as it can be."""
    size = 0
    buffer = memoryview(bytearray(1 << 20))
    try:
        with closing(open_source(path)) as opened:
            stream = open_stream(opened)
            while got := stream.readinto(buffer):
                size += got
    except OSError:
        size += len(buffer)  # what came before the damage
    return size


def capture(data: bytes) -> object:
    """Reader, decoder and tracker: every packet is counted once, and no more bytes come out than went in."""
    path = written(data)
    decoder, tracker = Decoder(), Tracker()
    packets = captured = delivered = 0
    columns = []
    try:
        with CaptureReader([path], chunk_size=1024) as reader:
            for frames in reader.chunks(decoder):
                packets += frames.count
                for row in range(frames.count):
                    start, length = frames.offset[row], frames.captured[row]
                    assert 0 <= start <= start + length <= frames.spare, (start, length, frames.spare)
                    captured += length
                    columns.append((frames.ts_ns[row], length, frames.original[row], frames.link_type[row]))
                tracker.add(frames, decoder.decode(frames))
                delivered += sum(len(piece.data) for piece in tracker.take_pieces())
            tracker.finish()
            delivered += sum(len(piece.data) for piece in tracker.take_pieces())
            summary = reader.summary(decoder, tracker)
            secrets = reader.take_secrets()
    except CaptoolError as error:
        return one_line(error)
    assert packets == summary.packets == summary.tcp_packets + summary.other_packets + summary.undecodable_packets, summary
    assert delivered <= captured, (delivered, captured)
    assert captured + sum(len(text) for _, text in secrets) <= expanded_size(path)
    return summary, columns, secrets, tracker.take_closed()


def analysis(data: bytes) -> object:
    """The whole way from file to report; DSBs in the file bring the secrets."""
    path = written(data)
    try:
        result = analyze(path)
    except CaptoolError as error:
        return one_line(error)
    text, report = render_text(result), render_json(result)
    for line in io.StringIO(text).read().split("\n"):
        assert line.isprintable(), line
    assert report.isascii() or report.replace("\n", "").isprintable()
    return report
