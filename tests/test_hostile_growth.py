"""What a stranger can put into a capture to make it expensive, by name: the work grows with the input and no faster."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from captool.analysis import analyze
from captool.capture.walk import LAST_NS
from captool.direction import Direction, Moment
from captool.dockerapi.conversation import DockerConversation
from captool.dockerapi.stdcopy import StdcopyReader
from captool.errors import CaptoolError
from captool.keys.material import KeyRing
from captool.report.json_report import render as render_json
from captool.report.text import render as render_text
from captool.tcp.connection import StreamPiece
from captool.tls.conversation import TlsConversation
from tests.builders import SERVER, START, SYN, Packet, Talk, block, enhanced, ethernet, interface, ip, option, pcap, section, tcp
from tests.builders import analyze as tracked
from tests.growth import PROPORTIONATE, growth
from tests.tls.writer import Writer, clear, client_hello, message, ring

pytestmark = pytest.mark.slow
CLIENT_SAYS, SERVER_SAYS = Direction.TO_SERVER, Direction.TO_CLIENT

GET = b"GET /info HTTP/1.1\r\nHost: d\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ATTACH = b"POST /v1.41/containers/ab12/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
UPGRADED = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
HELLO = clear(22, client_hello())


def holes(count: int) -> list[Packet]:
    talk = Talk().opened()
    first = talk.next[0]
    for number in range(count):
        talk.client(b"x" * 10, seq=first + 20 * number + 10)
    return talk.packets


def retransmissions_across_holes(count: int) -> list[Packet]:
    talk = Talk().opened()
    first = talk.next[0]
    for number in range(1024 + count):
        talk.client(b"x", seq=first + 4 * (number % 1024) + 2)
    return talk.packets


def one_byte_each_in_turns(count: int) -> list[Packet]:
    talk = Talk().opened()
    for _ in range(count // 2):
        talk.client(b"x").server(b"y")
    return talk.packets


def fragment(place: int, payload: bytes, identification: int, *, more: bool) -> Packet:
    packet = bytearray(ip(payload, identification=identification))
    packet[6:8] = ((0x2000 if more else 0) | place // 8).to_bytes(2)
    return Packet(ethernet(bytes(packet)), START)


def interleaved_fragments(count: int) -> list[Packet]:
    """Of 500 datagrams at a time, each with its last fragment first."""
    fragments = [fragment(64_000, b"x" * 8, number, more=False) for number in range(500)]
    return fragments + [fragment(8 * (number // 500) % 64_000, b"x" * 8, number % 500, more=True) for number in range(count)]


def fragments_in_order_after_the_last(count: int) -> list[Packet]:
    return [fragment(64_792, b"x" * 8, 1, more=False)] + [fragment(8 * number % 64_784, b"x" * 8, 1, more=True) for number in range(count)]


def overlapping_fragments(count: int) -> list[Packet]:
    return [fragment(8 * (1 + number % 7000), bytes(1480), 1, more=True) for number in range(count)]


def flood(count: int) -> list[Packet]:
    ends = [(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 4000) for number in range(count)]
    return [Packet(ethernet(ip(tcp(end, SERVER, seq=1, ack=0, flags=SYN), end, SERVER)), START) for end in ends]


@pytest.mark.parametrize(
    "packets",
    [
        holes,
        retransmissions_across_holes,
        one_byte_each_in_turns,
        interleaved_fragments,
        fragments_in_order_after_the_last,
        overlapping_fragments,
        flood,
    ],
)
def test_packets_take_time_in_proportion(tmp_path: Path, packets: Callable[[int], list[Packet]]) -> None:
    def prepare(count: int) -> Callable[[], object]:
        data = pcap(packets(count))
        return lambda: tracked(tmp_path / "trace.pcap", data)

    assert growth(prepare, 1500) < PROPORTIONATE


FIRST = Talk().opened().packets[0]


@pytest.mark.parametrize(
    "blocks",
    [
        lambda count: interface() * count + enhanced(FIRST),
        lambda count: interface() + enhanced(FIRST) + block(5, struct.pack("<III", 0, 0, 0) + option(5, bytes(8))) * count,
        lambda count: (section() + interface() + enhanced(FIRST)) * count,
        lambda count: interface() + enhanced(FIRST) + block(0xBAD, b"") * count,
        lambda count: interface() + enhanced(FIRST) + block(10, struct.pack("<II", 0x544C534B, 2) + b"x\n") * count,
        lambda count: interface(options=option(2, b"") * count) + enhanced(FIRST),
    ],
    ids=["interfaces", "statistics", "sections", "unknown blocks", "secrets", "options"],
)
def test_blocks_take_time_in_proportion(tmp_path: Path, blocks: Callable[[int], bytes]) -> None:
    def prepare(count: int) -> Callable[[], object]:
        data = section() + blocks(count)
        return lambda: tracked(tmp_path / "trace.pcapng", data)

    assert growth(prepare, 3000) < PROPORTIONATE


def test_a_million_interfaces_are_refused_and_said(tmp_path: Path) -> None:
    summary, _, _ = tracked(tmp_path / "trace", section() + interface() + enhanced(FIRST) + interface() * 1_000_000)
    assert (1, True) == (summary.packets, summary.truncated_file)
    assert "more than 65536 interfaces" in summary.notes[0]


@pytest.mark.parametrize(
    "damaged",
    [
        pcap([FIRST]) + struct.pack("<IIII", 0, 0, 0xFFFFFFFF, 0xFFFFFFFF),
        section() + interface() + enhanced(FIRST) + struct.pack("<II", 6, 0xFFFFFFF0) + bytes(100),
        section() + interface() + enhanced(FIRST) + struct.pack("<II", 10, 0xFFFFFFF0) + bytes(100),
        section() + interface() + enhanced(FIRST) + struct.pack("<II", 0xBAD, 0xFFFFFFFC) + bytes(100),
        section() + interface() + enhanced(FIRST) + struct.pack("<II", 6, 0) + bytes(100),
    ],
    ids=["a record", "a packet block", "a secrets block", "an unknown block", "a block of no length"],
)
def test_what_claims_4_gb_or_nothing_ends_the_file_and_is_said(tmp_path: Path, damaged: bytes) -> None:
    summary, connections, _ = tracked(tmp_path / "trace", damaged)
    assert (1, 1, True) == (summary.packets, len(connections), summary.truncated_file)
    assert 1 == len(summary.notes)


@pytest.mark.parametrize(
    "ticks",
    [
        [START, START + 2**60, START - 2**60, START],
        [2**63, 0, 2**63 - 1, 2**64 - 1],
        [0, 2**63, 1, 2**63],
        list(range(START + 400, START, -100)),
    ],
)
@pytest.mark.parametrize("offset", [0, 2**40, -(2**40)])
def test_timestamps_that_jump_or_run_backwards_give_an_answer(tmp_path: Path, ticks: list[int], offset: int) -> None:
    path = tmp_path / "trace.pcapng"
    clock = interface(options=option(9, b"\x09") + option(14, struct.pack("<q", offset)))
    packets = Talk().opened().client(GET).server(OK).client().server(b"late").client().packets
    path.write_bytes(section() + clock + b"".join(enhanced(packet, ticks[at % len(ticks)] & 2**64 - 1) for at, packet in enumerate(packets)))
    result = analyze(path)
    assert len(packets) == result.capture.packets
    assert abs(result.capture.end_ns or 0) < 2 * LAST_NS
    assert render_text(result)
    assert render_json(result)


def http(dialogue: list[tuple[Direction, bytes]], step: int = 1 << 14, *, hole_at: int = -1) -> Callable[[], object]:
    """Listen to a dialogue; each part of it is a packet later. `hole_at`: before which part bytes of its direction are missing."""

    def listen() -> object:
        conversation, ends = DockerConversation(), [0, 0]
        for number, (direction, data) in enumerate(dialogue):
            if number == hole_at:
                conversation.lose(direction)
            for at in range(0, len(data), step):
                ends[direction] += len(data[at : at + step])
                conversation.feed(direction, data[at : at + step], Moment(number, number), ends[direction], None)
        return conversation.finish(Moment(len(dialogue), 2), None, closed=True)

    return listen


EXCHANGE = [(CLIENT_SAYS, GET), (SERVER_SAYS, OK)]
UPLOAD = b"PUT /tar HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "prepare",
    [
        lambda count: http([*EXCHANGE * 2, (CLIENT_SAYS, GET), (SERVER_SAYS, CHUNKED), (CLIENT_SAYS, GET), *[(SERVER_SAYS, OK)] * count], hole_at=7),
        lambda count: http([*EXCHANGE * 2, (CLIENT_SAYS, GET), *[(SERVER_SAYS, OK[:-9])] * count], hole_at=5),
        lambda count: http([*EXCHANGE * 2, *[(CLIENT_SAYS, GET)] * 1000, *[(SERVER_SAYS, OK[:-9])] * count], hole_at=1004),
        lambda count: http([*EXCHANGE * 2, (CLIENT_SAYS, GET), (SERVER_SAYS, CHUNKED), (SERVER_SAYS, b"1\r\nx\r\n" * count)], hole_at=6),
        lambda count: http([*EXCHANGE * 2, (CLIENT_SAYS, UPLOAD), *[(CLIENT_SAYS, GET)] * (count // 4)], hole_at=5),
        lambda count: http([*EXCHANGE * 2, (CLIENT_SAYS, UPLOAD), *[(CLIENT_SAYS, GET[:-2])] * count], hole_at=5),
        lambda count: http([*EXCHANGE * 2, (CLIENT_SAYS, UPLOAD), *[(CLIENT_SAYS, b"G")] * count], hole_at=5),
        lambda count: http([*EXCHANGE * 2, (CLIENT_SAYS, UPLOAD), *[(CLIENT_SAYS, GET[:-2])] * 9, *[(CLIENT_SAYS, b"x")] * count], hole_at=5),
        lambda count: http([*EXCHANGE * 2, (CLIENT_SAYS, UPLOAD), *[(SERVER_SAYS, OK)] * 4000, *[(CLIENT_SAYS, b"x")] * count], hole_at=5),
        lambda count: http([*EXCHANGE * 2, (CLIENT_SAYS, UPLOAD), (CLIENT_SAYS, UPLOAD), *[(SERVER_SAYS, OK)] * 4000, *[(CLIENT_SAYS, b"1\r\nx\r\n")] * count], hole_at=5),
        lambda count: http([*EXCHANGE, *[(CLIENT_SAYS, GET[:-2] + b"a\x1b: b\r\n\r\n"), (SERVER_SAYS, OK)] * (count // 8)]),
    ],
    ids=[
        "responses behind a hole", "beginnings of responses", "beginnings of responses to many requests", "chunks", "requests in an upload",
        "beginnings of requests", "a method without end", "a head without end", "answers to lost requests", "answers during an upload", "headers that are none",
    ],
)  # fmt: skip
def test_http_behind_a_hole_takes_time_in_proportion(prepare: Callable[[int], Callable[[], object]]) -> None:
    assert growth(prepare, 4000) < PROPORTIONATE


@pytest.mark.parametrize(
    "prepare",
    [
        lambda count: http([(CLIENT_SAYS, GET), (SERVER_SAYS, CHUNKED + b"1\r\nx\r\n" * count)]),
        lambda count: http([(CLIENT_SAYS, GET), (SERVER_SAYS, CHUNKED + b"1\r\nx\r\n" * (count // 10))], step=1),
        lambda count: http([(CLIENT_SAYS, GET), (SERVER_SAYS, CHUNKED + b"1;" + b"x" * count)], step=1),
        lambda count: http([(CLIENT_SAYS, GET), (SERVER_SAYS, CHUNKED + b"0\r\n" + b"a: b\r\n" * count + b"\r\n")]),
        lambda count: http([(CLIENT_SAYS, b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * (3 * count) + b"\r\n")]),
        lambda count: http([(CLIENT_SAYS, b"GET / HTTP/1.1\r\na: b\r\n" + b" b\r\n" * count + b"\r\n")]),
        lambda count: http([(CLIENT_SAYS, b"GET / HTTP/1.1\r\n" + b"Content-Length: 1\r\n" * count + b"\r\nx")]),
        lambda count: http([(CLIENT_SAYS, b"GET / HTTP/1.1\r\nContent-Length: " + b"1," * count + b"1\r\n\r\nx")]),
        lambda count: http([(CLIENT_SAYS, GET), (SERVER_SAYS, b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999\r\n\r\n" + b"x" * 100 * count)]),
        lambda count: http([(CLIENT_SAYS, GET), (SERVER_SAYS, b"HTTP/1.1 100 Continue\r\n\r\n" * (count // 4))]),
        lambda count: http([(CLIENT_SAYS, GET * (count // 8))]),
        lambda count: http([(CLIENT_SAYS, ATTACH), (CLIENT_SAYS, b"x" * count)], step=1),
        lambda count: http([(CLIENT_SAYS, ATTACH), (SERVER_SAYS, UPGRADED + b"\1\0\0\0\0\0\0\0" * count)]),
        lambda count: http([(CLIENT_SAYS, ATTACH), (SERVER_SAYS, UPGRADED + b"\2\0\0\0\0\0\0\1x" * count)]),
    ],
    ids=[
        "chunks of a byte", "chunks of a byte, byte by byte", "a chunk extension without end", "trailers", "headers", "folded headers",
        "many lengths", "a list of lengths", "a length that lies", "interim responses", "pipelined requests", "input before the answer",
        "empty frames", "frames of a byte",
    ],
)  # fmt: skip
def test_http_takes_time_in_proportion(prepare: Callable[[int], Callable[[], object]]) -> None:
    assert growth(prepare, 2000) < PROPORTIONATE


@pytest.mark.parametrize(("frame", "step"), [(b"\1\0\0\0\0\0\0\0", 1 << 30), (b"\1\0\0\0\0\0\0\1x", 1)])
def test_frames_of_docker_take_time_in_proportion(frame: bytes, step: int) -> None:
    def prepare(count: int) -> Callable[[], object]:
        data = frame * count
        reader = StdcopyReader()
        return lambda: [reader.feed(data[at : at + step]) for at in range(0, len(data), step)]

    assert growth(prepare, 3000) < PROPORTIONATE


def tls(wire: list[tuple[int, bytes]], step: int = 1 << 14, keys: KeyRing | None = None) -> Callable[[], object]:
    def listen() -> object:
        conversation, ends = TlsConversation(keys or KeyRing()), [0, 0]
        for direction, data in wire:
            for at in range(0, len(data), step):
                offset = ends[direction]
                piece = StreamPiece(0, int(direction), offset, data[at : at + step], 0, False, True, [offset], [1], [1])
                conversation.feed(piece)
                ends[direction] += len(piece.data)
        return conversation.summary()

    return listen


def byte_records(body: bytes) -> bytes:
    return b"".join(clear(22, bytes([byte])) for byte in message(11, body))


def protected(*, genuine: bool, count: int) -> list[tuple[int, bytes]]:
    writer = Writer().start()
    for _ in range(count):
        if genuine:
            writer.server.send(b"")
        else:
            writer.wire.append((Direction.TO_CLIENT, b"\x17\3\3\0\x11" + bytes(17)))
    return [(int(direction), data) for direction, data in writer.wire]


@pytest.mark.parametrize(
    "prepare",
    [
        lambda count: tls([(0, HELLO), (1, clear(23, b"") * count)]),
        lambda count: tls([(0, HELLO), (1, clear(22, b"") * count)]),
        lambda count: tls([(0, HELLO), (1, clear(21, b"\1\0") * count)]),
        lambda count: tls([(0, HELLO), (1, clear(20, b"\1") * count)]),
        lambda count: tls([(0, HELLO), (1, byte_records(bytes(count)))]),
        lambda count: tls([(0, HELLO), (1, byte_records(bytes(count // 8)))], step=1),
        lambda count: tls([(0, HELLO), (1, clear(22, message(11, bytes(count))))], step=1),
        lambda count: tls([(0, HELLO * (count // 8))]),
        lambda count: tls(protected(genuine=True, count=count // 2), keys=ring()),
        lambda count: tls(protected(genuine=False, count=count // 2), keys=ring()),
    ],
    ids=[
        "records of no byte", "handshake records of no byte", "alerts", "ChangeCipherSpec", "messages in records of a byte",
        "the same byte by byte", "a record byte by byte", "hellos", "protected records of no byte", "records that do not open",
    ],
)  # fmt: skip
def test_tls_takes_time_in_proportion(prepare: Callable[[int], Callable[[], object]]) -> None:
    assert growth(prepare, 2000) < PROPORTIONATE


def test_a_capture_of_very_many_link_types_is_refused_in_a_line_that_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "trace.pcapng"
    numbers = range(300, 20_300)
    interfaces = b"".join(interface(number) for number in numbers)
    path.write_bytes(section() + interfaces + b"".join(enhanced(Packet(b""), 0, number=at) for at in range(len(numbers))))
    with pytest.raises(CaptoolError) as refused:
        analyze(path)
    assert len(str(refused.value)) < 1000
    assert "and 19992 more" in str(refused.value)
