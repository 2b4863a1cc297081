"""Real TLS sessions made in memory by OpenSSL (Python's ssl), recorded as the bytes that crossed in each direction."""

import atexit
import contextlib
import datetime
import shutil
import ssl
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import SimpleNamespace

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from captool.direction import Direction
from captool.keys.keylog import add_secrets, parse_key_log
from captool.keys.material import KeyRing
from captool.keys.pem import pem_blocks, private_key
from captool.tls.conversation import TlsConversation
from captool.tls.summary import Plaintext

CLIENT, SERVER = Direction.TO_SERVER, Direction.TO_CLIENT
NOW = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)
SECLEVEL_0 = ":@SECLEVEL=0"

Wire = list[tuple[Direction, bytes]]
REQUEST = b"POST /v1.41/containers/ab12/attach?stream=1 HTTP/1.1\r\nHost: docker\r\nUpgrade: tcp\r\n\r\n"
ANSWER = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n" + bytes(range(256)) * 80
DIALOGUE: Wire = [(CLIENT, REQUEST), (SERVER, ANSWER), (CLIENT, b"exit\n"), (SERVER, b"bye\n" * 3)]


@dataclass(frozen=True)
class Identity:
    """A self-signed certificate with its key, on disk because ssl wants files."""

    key_file: Path
    certificate_file: Path
    key_pem: bytes
    organization: str


@dataclass
class Recording:
    """What crossed between the two ends. `key_log` is what OpenSSL wrote to its key log file."""

    wire: Wire = field(default_factory=list)
    key_log: bytes = b""
    suite: str = ""
    session: ssl.SSLSession | None = None
    client: ssl.SSLObject | None = None


@cache
def identity(
    kind: str = "rsa",
    organization: str = "root.runner-1",
    bits: int = 2048,
    days: tuple[int, int] = (-3650, 3650),
    names: tuple[str, ...] = (),
) -> Identity:
    """`days` from NOW is its certificate valid; `names` are its alternative names."""
    key = rsa.generate_private_key(65537, bits) if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)])
    builder = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(NOW + datetime.timedelta(days=days[0]))
        .not_valid_after(NOW + datetime.timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    folder = Path(tempfile.mkdtemp(prefix="captool-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # identities are cached for the whole run
    key_file, certificate_file = folder / "key.pem", folder / "cert.pem"
    key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    key_file.write_bytes(key_pem)
    certificate_file.write_bytes(certificate.public_bytes(Encoding.PEM))
    return Identity(key_file, certificate_file, key_pem, organization)


def contexts(
    *,
    ciphers: str = "DEFAULT",
    version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
    server: Identity | None = None,
    client: Identity | None = None,
    tickets: bool = True,
    curves: str | None = None,
) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A client's and a server's context. Mutual TLS when `client` is given, as Docker always does it."""
    server = server or identity()
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(server.certificate_file, server.key_file)
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname = False
    client_context.verify_mode = ssl.CERT_NONE
    for context in (client_context, server_context):
        context.minimum_version = context.maximum_version = version
        context.set_ciphers(ciphers + SECLEVEL_0)
        if not tickets:
            context.options |= ssl.OP_NO_TICKET
    if curves:
        server_context.set_ecdh_curve(curves)
    if client is not None:
        client_context.load_cert_chain(client.certificate_file, client.key_file)
        server_context.load_verify_locations(client.certificate_file)
        server_context.verify_mode = ssl.CERT_REQUIRED
    return client_context, server_context


def record(
    client_context: ssl.SSLContext,
    server_context: ssl.SSLContext,
    dialogue: Wire = DIALOGUE,
    *,
    session: ssl.SSLSession | None = None,
    server_name: str | None = None,
) -> Recording:
    """Run a handshake and a dialogue; every flight of bytes is kept as it crossed. Both ends say close_notify at the end."""
    recording = Recording()
    with tempfile.NamedTemporaryFile(prefix="captool-test-", suffix=".log") as log:
        client_context.keylog_filename = log.name
        to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = client_context.wrap_bio(to_client, to_server, server_side=False, session=session, server_hostname=server_name)
        server = server_context.wrap_bio(to_server_copy := ssl.MemoryBIO(), from_server := ssl.MemoryBIO(), server_side=True)

        def cross() -> None:
            if data := to_server.read():
                recording.wire.append((CLIENT, data))
                to_server_copy.write(data)
            if data := from_server.read():
                recording.wire.append((SERVER, data))
                to_client.write(data)

        for _ in range(6):
            for end in (client, server):
                with contextlib.suppress(ssl.SSLWantReadError):
                    end.do_handshake()
                cross()
        for direction, text in dialogue:
            sender, receiver = (client, server) if direction == CLIENT else (server, client)
            sender.write(text)
            cross()
            received = b""
            while len(received) < len(text):
                received += receiver.read(1 << 14)
        recording.suite, recording.session, recording.client = client.cipher()[0], client.session, client
        for end in (client, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.unwrap()
            cross()
        recording.key_log = Path(log.name).read_bytes()
    return recording


def record_refusal(client_context: ssl.SSLContext, server_context: ssl.SSLContext) -> Wire:
    """What crosses in a handshake that one end breaks off."""
    wire: Wire = []
    to_client, to_server, at_server, from_server = (ssl.MemoryBIO() for _ in range(4))
    client = client_context.wrap_bio(to_client, to_server, server_side=False)
    server = server_context.wrap_bio(at_server, from_server, server_side=True)
    for _ in range(4):
        for end, out, arrives, direction in ((client, to_server, at_server, CLIENT), (server, from_server, to_client, SERVER)):
            with contextlib.suppress(ssl.SSLError):
                end.do_handshake()
            if data := out.read():
                wire.append((direction, data))
                arrives.write(data)
    return wire


def said(dialogue: Wire, direction: Direction) -> bytes:
    return b"".join(text for side, text in dialogue if side == direction)


def key_ring(*identities: Identity, key_log: bytes = b"") -> KeyRing:
    keys = (private_key(block, str(one.key_file), one.organization) for one in identities for block in pem_blocks(one.key_pem))
    ring = KeyRing(tuple(key for key in keys if key))
    secrets, problems = parse_key_log(key_log, "keys.log")
    assert not problems
    add_secrets(ring, secrets)
    return ring


def run(direction: Direction, offset: int, data: bytes, packet: int = 1, **fields: object) -> SimpleNamespace:
    """A stream piece that one segment brought, packet N at N seconds."""
    piece = SimpleNamespace(
        direction=int(direction), offset=offset, data=data, missing_before=0, snapped=False, from_start=True,
        mark_offsets=[offset], mark_packets=[packet], mark_times_ns=[packet * 1_000_000_000],
    )  # fmt: skip
    piece.__dict__.update(fields)
    return piece


def pieces(wire: Iterable[tuple[Direction, bytes]], **fields: object) -> Iterator[SimpleNamespace]:
    """The wire as stream pieces, every entry a segment."""
    offsets = [0, 0]
    for packet, (direction, data) in enumerate(wire, 1):
        yield run(direction, offsets[direction], data, packet, **fields)
        offsets[direction] += len(data)


def read(wire: Iterable[tuple[Direction, bytes]], ring: KeyRing, **fields: object) -> tuple[TlsConversation, list[Plaintext]]:
    conversation = TlsConversation(ring)
    return conversation, [plain for piece in pieces(wire, **fields) for plain in conversation.feed(piece)]


def text(plaintexts: Iterable[Plaintext], direction: Direction) -> bytes:
    return b"".join(plain.data for plain in plaintexts if plain.direction == direction)


def cut(wire: Wire, size: int) -> Wire:
    """The same bytes in segments of at most `size`."""
    return [(direction, data[at : at + size]) for direction, data in wire for at in range(0, len(data), size)]
