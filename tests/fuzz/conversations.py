"""What is said on a connection: TLS records and messages, HTTP, Docker's frames."""

import hashlib

from captool.connections import key_ring
from captool.direction import Direction, Moment
from captool.dockerapi.conversation import DockerConversation
from captool.dockerapi.endpoints import hijacks, identify
from captool.dockerapi.stdcopy import StdcopyReader
from captool.errors import DecodeError
from captool.http.conversation import HttpConversation
from captool.keys.certificate import parse_certificate
from captool.keys.material import KeyRing, SessionSecret
from captool.tcp.connection import StreamPiece
from captool.tls.alerts import alert_words
from captool.tls.certificate import read_certificate
from captool.tls.conversation import TlsConversation
from captool.tls.fingerprint import client_fingerprints
from captool.tls.handshake import MessageBuffer
from captool.tls.hello import ClientHello, parse_client_hello, parse_server_hello, parse_sslv2_client_hello
from captool.tls.master_secrets import offered_rsa_suites
from fuzz.script import Script, dialogue

CLIENT_RANDOM = b"c" * 32  # of tests/tls/writer.py, whose sessions are seeds
SECRETS = {
    "CLIENT_EARLY_TRAFFIC_SECRET": "early",
    "CLIENT_HANDSHAKE_TRAFFIC_SECRET": "c hs",
    "SERVER_HANDSHAKE_TRAFFIC_SECRET": "s hs",
    "CLIENT_TRAFFIC_SECRET_0": "c ap",
    "SERVER_TRAFFIC_SECRET_0": "s ap",
}


def ring() -> KeyRing:
    secrets = {label: SessionSecret(label, CLIENT_RANDOM, hashlib.sha256(name.encode()).digest(), "keys.log:1") for label, name in SECRETS.items()}
    secrets["CLIENT_RANDOM"] = SessionSecret("CLIENT_RANDOM", CLIENT_RANDOM, b"m" * 48, "keys.log:9")
    return key_ring(KeyRing(session_secrets={CLIENT_RANDOM: secrets}))


def tls(data: bytes) -> object:
    """Stream pieces: a byte says whose and whether a hole comes before it. No more plaintext than ciphertext comes out."""
    conversation = TlsConversation(ring(), resume_after_loss=data[:1] == b"\1")
    offsets = [0, 0]
    released, fed = [], 0
    for number, (how, said) in enumerate(dialogue(Script(data[1:])), 1):
        direction = how & 1
        hole = (0, 0, 0, 1, 100, 5000, 1 << 20, 1 << 40)[how >> 1 & 7]
        offsets[direction] += hole
        if not said:
            continue
        offset = offsets[direction]
        piece = StreamPiece(0, direction, offset, said, hole, bool(how & 16), not how & 32, [offset], [number], [number])
        released += conversation.feed(piece)
        offsets[direction] += len(said)
        fed += len(said)
    assert sum(len(plain.data) for plain in released) <= fed
    for direction in (0, 1):
        ends = [plain.stream_end for plain in released if plain.direction == direction]
        assert ends == sorted(ends)
    return conversation.summary(), released


def handshake(data: bytes) -> object:
    """Messages cut anywhere are the same messages; hellos and certificates are read or refused."""
    script = Script(data)
    step = script.byte() or 1 << 16
    body = script.rest()
    whole = cut = None
    try:
        whole = MessageBuffer().messages(body)
        buffer = MessageBuffer()
        cut = [message for at in range(0, len(body), step) for message in buffer.messages(body[at : at + step])]
    except DecodeError:
        pass
    assert cut is None or whole == cut, (whole, cut)
    answers = [alert_words(body)]
    for read in (parse_client_hello, parse_server_hello, parse_sslv2_client_hello, parse_certificate, read_certificate):
        for content in (body, body[4:]):
            try:
                answers.append(read(content))
            except DecodeError as error:
                answers.append(type(error))
    for hello in answers:
        for name in ("server_name", "session_ticket", "is_tls13", "key_share_group"):
            getattr(hello, name, None)
    for hello in [one for one in answers if isinstance(one, ClientHello)]:
        answers += [client_fingerprints(hello), offered_rsa_suites(hello)]
    return whole, answers


def http(data: bytes) -> object:
    """A dialogue, and the same byte by byte: the same exchanges; what comes out was said."""
    said = dialogue(Script(data))
    whole, out = _heard(said, 1 << 16)
    single, out_single = _heard(said, 1)
    assert out <= sum(len(piece) for _, piece in said) >= out_single
    return whole, single


def _heard(said: list[tuple[int, bytes]], step: int) -> tuple[object, int]:
    conversation = HttpConversation(hijacks)
    ends, out, moment = [0, 0], 0, Moment(0, 0)
    for number, (how, text) in enumerate(said, 1):
        direction, moment = Direction(how & 1), Moment(number, number)
        if how & 0x80:
            conversation.lose(direction, None if how & 0x40 else how >> 1 & 31)
        for at in range(0, len(text), step):
            ends[direction] += len(text[at : at + step])
            out += sum(len(piece.data) for piece in conversation.feed(direction, text[at : at + step], moment, ends[direction]))
    conversation.finish(moment)
    return (conversation.exchanges(), conversation.refusal, conversation.http2, conversation.not_http, conversation.losses()), out


def docker(data: bytes) -> object:
    """HTTP as Docker speaks it, to the last bytes of output: counts are of bytes that were said."""
    printed = []
    conversation = DockerConversation(printed.append)
    ends, moment, said = [0, 0], Moment(0, 0), 0
    for number, (how, text) in enumerate(dialogue(Script(data)), 1):
        direction, moment = Direction(how & 1), Moment(number, number)
        if how & 0x80:
            conversation.lose(direction)
        ends[direction] += len(text)
        said += len(text)
        if text:
            conversation.feed(direction, text, moment, ends[direction], None if how & 0x40 else max(0, ends[1] - (how >> 1 & 7) * 16))
    exchanges = conversation.finish(moment, ends[1] // 2, closed=True)
    assert sum(len(output.data) for output in printed) <= said
    for exchange in exchanges:
        assert exchange.stream is None or exchange.stream.stdout_bytes + exchange.stream.stderr_bytes <= said
        identify(exchange.http.method, exchange.http.target)
    return exchanges, printed


def stdcopy(data: bytes) -> object:
    """Frames cut anywhere give the same output."""
    script = Script(data)
    step = script.byte() or 1
    stream = script.rest()
    answers = []
    for size in (max(len(stream), 1), step):
        reader = StdcopyReader()
        outputs = {"stdout": b"", "stderr": b""}
        for at in range(0, len(stream), size):
            for payload in reader.feed(stream[at : at + size]):
                outputs[payload.output] += payload.data
        for payload in reader.finish():
            outputs[payload.output] += payload.data
        answers.append((reader.kind, reader.out_of_step, outputs))
        assert sum(map(len, outputs.values())) <= len(stream)
    assert answers[0] == answers[1], answers
    return answers[0]


