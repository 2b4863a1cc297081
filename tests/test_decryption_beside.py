"""Large pieces that the reading thread decrypts: what is told of the connections of a capture, and when, is what it is without it."""

import random
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from builders import ACK, FIN, RST, Talk, pcap
from captool.analysis import hot_path_compiled
from captool.capture.reader import CaptureReader
from captool.connections import read_connections
from captool.packets.decode import Decoder
from captool.tcp.tracker import Tracker
from captool.tls import libcrypto
from captool.tls.conversation import TlsConversation
from tests.tls.captures import CLIENT_IP, SERVER_IP
from tests.tls.stacks import CLIENT
from tests.tls.writer import Writer, message, ring

ATTACH = b"POST /v1.41/containers/ab12/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
UPGRADED = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
CHUNK = 1 << 18
OUTPUT = 1_500_000


@pytest.fixture(autouse=True)
def the_thread(without: Callable[[str], None]) -> None:
    if not hot_path_compiled() or libcrypto.cipher("gcm", bytes(16)) is None:
        without("captool is installed without its compiled modules, or there is no libcrypto, so that no thread decrypts")


def attached(chance: random.Random, record: int, unlike: float = 0) -> Writer:
    """A session whose server says a lot of output, now and then something else."""
    session = Writer().start()
    session.client.send(ATTACH)
    session.server.send(UPGRADED)
    said = 0
    while said < OUTPUT:
        size = chance.randrange(1, record)
        session.server.send(bytes((chance.choice((1, 2)), 0, 0, 0)) + size.to_bytes(4) + bytes([65 + size % 26]) * size)
        said += size
        if chance.random() < unlike:
            match chance.randrange(4):
                case 0:
                    session.server.update_key()
                case 1:
                    session.server.send(message(4, b"ticket"), 22)
                case 2:
                    session.server.send(b"", padding=9)
                case 3:
                    session.client.send(b"stdin" * chance.randrange(1, 3000))
    return session


def talk(session: Writer, port: int, *, size: int = 1400, acknowledging: int = 4, flipped: int = -1, lost: int = -1, start_s: float = 0) -> Talk:
    """The session on a connection of its own, whose client acknowledges every so many segments; a byte of one may be wrong, or one lost."""
    one = Talk(client_end=(CLIENT_IP, port), server_end=(SERVER_IP, 2376)).wait(start_s).opened()
    number = 0
    joined: list[tuple[int, bytes]] = []
    for direction, data in session.wire:
        if joined and joined[-1][0] == direction and len(joined[-1][1]) < 100_000:
            joined[-1] = (direction, joined[-1][1] + data)
        else:
            joined.append((direction, data))
    for direction, data in joined:
        for begin in range(0, len(data), size):
            part = data[begin : begin + size]
            if number == flipped:
                part = part[:-1] + bytes([part[-1] ^ 1])
            (one.client if direction == CLIENT else one.server)(part, captured=number != lost)
            number += 1
            if acknowledging and number % acknowledging == 0:
                one.client()
    return one


@cache
def captures() -> dict[str, list[Talk]]:
    chance = random.Random(4)
    plain = attached(chance, 16_000)
    small = attached(chance, 200)
    mixed = attached(chance, 9000, 0.05)
    return {
        "large records": [talk(plain, 40000).server(flags=FIN | ACK).client(flags=FIN | ACK).server()],
        "small records": [talk(small, 40000)],
        "other things between": [talk(mixed, 40000)],
        "nothing acknowledged": [talk(plain, 40000, acknowledging=0).client(flags=RST)],
        "a bit flipped": [talk(plain, 40000, flipped=700).server(flags=FIN | ACK), talk(plain, 40001, start_s=0.01)],
        "a segment lost": [talk(plain, 40000, lost=500), talk(mixed, 40001, lost=900)],
        "two at a time": [talk(plain, 40000), talk(small, 40001, start_s=0.4)],
    }


def told(path: Path, *, ahead: bool) -> tuple[list, tuple, int]:
    tracker = Tracker()
    with CaptureReader([path], chunk_size=CHUNK) as capture:
        chunks = list(read_connections(capture, Decoder(), tracker, ring(), ahead=ahead))
    return chunks, tuple(tracker.notes()), capture.packets


@pytest.mark.parametrize(
    "name",
    [
        "large records", "small records", "other things between", "nothing acknowledged", "a bit flipped", "a segment lost", "two at a time",
    ],
)  # fmt: skip
def test_the_same_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    path = tmp_path / "c.pcap"
    path.write_bytes(pcap(sorted((packet for one in captures()[name] for packet in one.packets), key=lambda packet: packet.ts_ns)))
    beside = []
    catch_up = TlsConversation.catch_up

    def watched(conversation: TlsConversation) -> list:
        beside.append(conversation.behind)
        return catch_up(conversation)

    monkeypatch.setattr(TlsConversation, "catch_up", watched)
    expected = told(path, ahead=False)
    assert not any(beside)
    assert expected == told(path, ahead=True)
    assert sum(beside) > 2
    connections = [one for chunk in expected[0] for one in chunk]
    assert len(captures()[name]) == len(connections)
    assert all(one.exchanges for one in connections)


def test_reading_may_be_given_up_while_records_are_being_opened(tmp_path: Path) -> None:
    path = tmp_path / "c.pcap"
    path.write_bytes(pcap(captures()["large records"][0].packets))
    for chunks in range(1, 6):
        with CaptureReader([path], chunk_size=CHUNK) as capture:
            reading = read_connections(capture, Decoder(), Tracker(), ring())
            for _ in range(chunks):
                next(reading)
            if chunks % 2:
                reading.close()
        del reading
