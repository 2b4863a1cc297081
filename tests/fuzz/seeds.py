"""python -m tests.fuzz.seeds (in the checkout): writes the seeds, from the builders of the tests and from fixtures/, into the corpus.

What a fuzzer finds is kept beside them under a name that says what it is. Seeds with private keys stay in fixtures/ (fixture_keys.py).
"""

import base64
import gzip
import struct
from collections.abc import Iterator
from pathlib import Path

import zstandard

from captool.capture import linktype
from tests.builders import ACK, FIN, Packet, Talk, block, enhanced, ethernet, interface, ip, option, pcap, pcapng, section, tcp
from tests.fuzz.script import steps
from tests.fuzz.small_program import small_program
from tests.tls.stacks import CLIENT
from tests.tls.writer import CLIENT_RANDOM, Writer, client_hello, server_hello

ROOT = Path(__file__).parent.parent.parent
CORPUS = Path(__file__).parent / "corpus"
CASE = ROOT / "fixtures" / "ecdhe-key-log"
MACHINE = next((CASE / "machines").iterdir())
FIRST_PACKETS = 24
LINK_TYPES = sorted(linktype.DECODED)  # as the target counts them
GET = b"GET /v1.41/containers/json HTTP/1.1\r\nHost: d\r\n\r\n"
ATTACH = b"POST /v1.41/containers/ab12/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
UPGRADED = b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
FRAMES = b"\1\0\0\0\0\0\0\5hello\2\0\0\0\0\0\0\3no\n\1\0\0\0\0\0\0\0"


def first_packets(path: Path, count: int) -> bytes:
    """The beginning of a pcap file of this machine's byte order."""
    data, at = path.read_bytes(), 24
    for _ in range(count):
        at += 16 + int.from_bytes(data[at + 8 : at + 12], "little")
    return data[:at]


def talk() -> Talk:
    said = Talk().opened().client(GET).server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]").client()
    said.wait(30).client(seq=said.next[0] - 1).server().wait(700).server(b"late").server(b"late", seq=said.next[1] - 4)
    return said.client(flags=FIN | ACK).server(flags=FIN | ACK).client()


def capture_files() -> Iterator[tuple[str, bytes]]:
    packets = talk().packets
    plain = pcap(packets)
    ng = section() + interface(options=option(9, b"\x09") + option(14, bytes(8))) + interface(113)
    secrets = (CASE / "keys.log").read_bytes()
    ng += block(10, struct.pack("<II", 0x544C534B, len(secrets)) + secrets)
    ng += b"".join(enhanced(packet, packet.ts_ns) for packet in packets[:4])
    ng += block(3, struct.pack("<I", len(packets[4].frame)) + packets[4].frame)
    ng += block(2, struct.pack("<HHIIII", 0, 0, 0, 9, len(packets[5].frame), len(packets[5].frame)) + packets[5].frame)
    ng += block(5, struct.pack("<III", 0, 0, 0) + option(5, struct.pack("<Q", 3))) + block(0xBAD, b"anything")
    yield "pcap", plain
    yield "pcap-micro-swapped", pcap(packets, order=">", nano=False)
    yield "pcap-modified", pcap(packets[:6], modified=True)
    yield "pcapng", pcapng(packets)
    yield "pcapng-all-blocks", ng
    yield "pcapng-swapped", pcapng(packets[:6], ">")
    yield "gzip", gzip.compress(plain, mtime=0)
    yield "zstd", zstandard.compress(plain)
    yield "cooked", pcap([Packet(bytes(14) + b"\x08\x00" + packet.frame[14:], packet.ts_ns) for packet in packets[:6]], link_type=113)
    yield "unknown-link-type", pcap(packets[:1], link_type=147)
    yield "tls-first-packets", first_packets(CASE / "server.pcap", FIRST_PACKETS)


def tls_capture() -> bytes:
    """A whole short session with its secrets in a DSB."""
    secrets = (CASE / "keys.log").read_bytes()
    data = first_packets(CASE / "server.pcap", 40)
    packets, at = [], 24
    while at < len(data):
        seconds, fraction, captured, original = struct.unpack_from("<IIII", data, at)
        packets.append(Packet(data[at + 16 : at + 16 + captured], seconds * 10**9 + fraction * 1000, original))
        at += 16 + captured
    return section() + interface() + block(10, struct.pack("<II", 0x544C534B, len(secrets)) + secrets) + b"".join(map(enhanced, packets))


def framed(*frames: tuple[int, bytes], cut: int = 0) -> bytes:
    return b"".join(bytes([LINK_TYPES.index(link_type), cut]) + len(frame).to_bytes(2) + frame for link_type, frame in frames)


def fragment(payload: bytes, place: int, *, more: bool, identification: int = 7) -> bytes:
    packet = bytearray(ip(payload, identification=identification))
    packet[6:8] = ((0x2000 if more else 0) | place // 8).to_bytes(2)
    return ethernet(bytes(packet))


def fragment6(payload: bytes, place: int, *, more: bool) -> bytes:
    header = b"\6\0" + (place | more).to_bytes(2) + b"\0\0\0\7"
    return ethernet(ip(header + payload, ("::1", 1), ("::2", 2), protocol=44))


def icmp_error(packet: bytes, kind: int, code: int, mtu: int = 0) -> bytes:
    """What a router says of a packet, of which it quotes the beginning."""
    version = packet[0] >> 4
    said = bytes([kind, code, 0, 0]) + (mtu.to_bytes(4) if version == 6 else bytes(2) + mtu.to_bytes(2)) + packet[:68]
    router, sender = (("::9", 0), ("::1", 1)) if version == 6 else (("10.0.0.9", 0), ("10.0.0.1", 40000))
    return ethernet(ip(said, router, sender, 1, 58 if version == 6 else 1))


def frames() -> Iterator[tuple[str, bytes]]:
    segment = tcp(payload=b"hello", options=b"\1\1\x08\x0a\0\0\0\1\0\0\0\2")
    four, six = ip(segment), ip(segment, ("::1", 1), ("::2", 2))
    yield "ethernet", framed((1, ethernet(four)), (1, ethernet(six)))
    errors = [icmp_error(four, 3, 4, 1300), icmp_error(four, 3, 13), icmp_error(four, 11, 0), icmp_error(six, 2, 0, 1280), icmp_error(six, 1, 3)]
    yield "icmp-errors", framed((1, ethernet(four)), *((1, error) for error in errors), (1, errors[0][:70]))
    yield "vlan-snap-mpls-pppoe", framed(
        (1, bytes(12) + b"\x81\0\0\1\x88\xa8\0\2\x08\0" + four),
        (1, bytes(12) + b"\0\x40\xaa\xaa\3\0\0\0\x08\0" + four),
        (1, bytes(12) + b"\x88\x47\0\0\0\1\0\0\1\1" + six),
        (1, bytes(12) + b"\x88\x64\x11\0\0\1\0\x40\0\x21" + four),
    )
    yield "cooked", framed((113, bytes(14) + b"\x08\0" + four), (276, b"\x86\xdd" + bytes(18) + six))
    yield "raw-ppp-null-ipnet", framed(
        (101, four), (12, six), (228, four), (9, b"\xff\3\0\x21" + four), (50, b"\x0f\0\0\x57" + six), (0, b"\2\0\0\0" + four),
        (108, b"\0\0\0\x1e" + six), (226, b"\1\x1a" + bytes(22) + six), (14, four), (229, six),
    )  # fmt: skip
    chain = b"\x2b\0" + bytes(6) + b"\x3c\0" + bytes(6) + b"\x33\0" + bytes(6) + b"\x87\1" + bytes(10) + b"\6\0" + bytes(6)
    yield "extension-headers", framed((1, ethernet(ip(chain + segment, ("::1", 1), ("::2", 2), protocol=0))))
    yield "fragments", framed((1, fragment(segment[16:], 16, more=False)), (1, fragment(segment[:16], 0, more=True)))
    yield "fragments-overlap", framed(
        (1, fragment(segment[:24], 0, more=True)), (1, fragment(segment[8:32], 8, more=True)), (1, fragment(segment[24:], 24, more=False))
    )
    yield "fragments-ipv6", framed((1, fragment6(segment[:16], 0, more=True)), (1, fragment6(segment[16:], 16, more=False)))
    offload = bytearray(four)
    offload[2:4] = b"\0\0"
    yield "length-zero", framed((1, ethernet(bytes(offload))), cut=9)


def segment_step(who: int = 0, how: int = 0, place: int = 0, acked: int = 0, size: int = 0, wait: int = 1) -> bytes:
    return struct.pack(">BBbbBB", who, how, place, acked, size, wait)


def segments() -> Iterator[tuple[str, bytes]]:
    isn = struct.pack(">BIIII", 0, 1000, 5000, 2**32 - 50, 2**32 - 90)
    opened = segment_step(0, 3) + segment_step(2, 4) + segment_step(0)
    data = segment_step(4, size=20) + segment_step(2) + segment_step(6, size=50) + segment_step(0)
    yield "opened-and-closed", isn + opened + data + segment_step(0, 5) + segment_step(2, 5) + segment_step(0)
    yield "mid-stream", isn + data + data
    yield "hole-filled-later", isn + opened + segment_step(4, place=30, size=20) + segment_step(4, place=-50, size=30) + segment_step(2)
    yield "hole-never-filled", isn + opened + segment_step(4, 0x70, place=30, size=20) + segment_step(2, wait=90) + segment_step(2)
    yield "probes", isn + opened + data + (segment_step(128, place=-1, wait=15) + segment_step(2)) * 4
    yield "retransmissions-into-nothing", isn + opened + data + segment_step(134, size=9, wait=250) + segment_step(134, place=-9, size=9) * 4
    yield "reset-and-reused", isn + opened + data + segment_step(2, 7) + segment_step(0, 3, place=127) + data
    yield "time-runs-backwards", isn + opened + data + segment_step(0x44 | 128, size=4) + data
    yield "snapped-and-overlapping", isn + opened + segment_step(36, size=40) + segment_step(4, place=-20, size=40) + segment_step(2)
    yield "wrapping", isn + segment_step(1, 3) + segment_step(3, 4) + segment_step(1) + segment_step(5, size=200) + segment_step(3)
    yield "little-room", b"\1" + isn[1:] + opened + segment_step(0, place=99, size=250) * 3


def sessions() -> Iterator[tuple[str, bytes]]:
    writer = Writer().start()
    writer.client.send(b"GET / HTTP/1.1\r\n\r\n")
    writer.server.send(b"answer", padding=9)
    writer.server.update_key()
    writer.server.send(b"after the update")
    writer.server.send(b"\1\0", 21)
    yield "tls13", b"\0" + steps(*((int(direction != CLIENT), data) for direction, data in writer.wire))
    yield "tls13-hole", b"\1" + steps(*((int(direction != CLIENT) | (8 if at > 8 else 0), data) for at, (direction, data) in enumerate(writer.wire)))
    early = Writer(early_data=True).start([b"early"])
    early.client.send(b"late")
    yield "tls13-early-data", b"\0" + steps(*((int(direction != CLIENT), data) for direction, data in early.wire))
    whole = bytearray()
    hellos = [
        (0, b"\x16\3\1" + len(client_hello()).to_bytes(2) + client_hello()),
        (1, b"\x16\3\3" + len(tls12_hello()).to_bytes(2) + tls12_hello()),
    ]
    whole += steps(*hellos) + steps((1, b"\x16\3\3\0\4\x0e\0\0\0"), (0, b"\x14\3\3\0\1\1"), (0, b"\x16\3\3\0\x28" + bytes(40)), (1, b"\x15\3\3\0\2\2\x14"))
    yield "tls12", b"\0" + bytes(whole)
    yield "sslv2-hello", b"\0" + steps((0, b"\x80\x2e\1\3\1\0\3\0\0\0\x20\0\0\x2f" + b"c" * 32))
    yield "mid-stream", b"\0" + steps((33, b"\x17\3\3\0\x20" + bytes(32)))


def tls12_hello(suite: int = 0x9C) -> bytes:
    body = b"\3\3" + b"s" * 32 + b"\0" + suite.to_bytes(2) + b"\0\0\5\xff\1\0\1\0"
    return b"\2" + len(body).to_bytes(3) + body


def messages() -> Iterator[tuple[str, bytes]]:
    name = b"\0\0\0\x0c\0\x0a\0\0\7example"
    body = b"\3\3" + CLIENT_RANDOM + b"\4idid\0\4\x13\1\0\x2f\1\0" + len(name).to_bytes(2) + name
    yield "client-hello", b"\3" + b"\1" + len(body).to_bytes(3) + body
    yield "server-hello", b"\0" + server_hello() + b"\x0e\0\0\0"
    certificate = base64.b64decode((MACHINE / "server.pem").read_bytes().split(b"-----")[2])
    yield "certificate", b"\0" + certificate
    yield "sslv2-hello", b"\0\1\3\1\0\3\0\0\0\x10\0\0\x2f" + bytes(16)
    yield "alert", b"\1\2\x28"


def dialogues() -> Iterator[tuple[str, bytes]]:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n"
    yield "keep-alive", steps((0, GET), (1, chunked), (0, GET), (1, b"HTTP/1.1 204 No Content\r\n\r\n"))
    yield "pipelined", steps((0, GET * 3), (1, chunked * 3))
    yield "attach", steps((0, ATTACH), (1, UPGRADED + FRAMES), (0, b"stdin"), (1, FRAMES[:11]))
    yield "stdin-before-101", steps((0, ATTACH + b"early"), (1, UPGRADED), (1, FRAMES))
    yield "raw-200", steps((0, ATTACH), (1, b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"), (1, b"a terminal"))
    yield "logs", steps((0, b"GET /containers/x/logs?follow=1 HTTP/1.1\r\nHost: d\r\n\r\n"), (1, chunked.replace(b"5\r\nhello", b"d\r\n" + FRAMES[:13])))
    yield "interim", steps((0, GET.replace(b"GET", b"POST")), (1, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"))
    yield "http2", steps((0, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
    yield "lost", steps((0, GET), (0x81, chunked))


def key_logs() -> Iterator[tuple[str, bytes]]:
    yield "fixture", (CASE / "keys.log").read_bytes()
    random, master = b"63" * 32, b"6d" * 48
    labels = b"CLIENT_HANDSHAKE_TRAFFIC_SECRET %s %s\n" % (random, master)
    rsa = b"RSA 0102030405060708 %s\nRSA Session-ID:aabb Master-Key:%s\n" % (master, master)
    yield "all-forms", b"# comment\r\n" + labels + rsa + b"PMS_CLIENT_RANDOM %s 0102\nbroken line\n" % random


def key_files() -> Iterator[tuple[str, bytes]]:
    yield "key-log", (CASE / "keys.log").read_bytes()
    yield "certificate", (MACHINE / "server.pem").read_bytes()
    yield "pkcs12", pkcs12()


def pkcs12() -> bytes:
    """A PFX without a key: the random salts of one with a key would make another file every time."""
    return bytes.fromhex("30 82 00 1b 02 01 03 30 16 06 09 2a 86 48 86 f7 0d 01 07 01 a0 09 04 07 30 05 30 03 02 01 00")


def pem_files() -> Iterator[tuple[str, bytes]]:
    yield "certificate", b"\0" + base64.b64decode((MACHINE / "server.pem").read_bytes().split(b"-----")[2])


def machines() -> Iterator[tuple[str, bytes]]:
    config = (MACHINE / "config.json").read_bytes()
    yield "config", len(config).to_bytes(2) + config
    files = [config, *((MACHINE / name).read_bytes() for name in ("ca.pem", "server.pem", "cert.pem"))]
    yield "certificates", b"".join(len(content).to_bytes(2) + content for content in files)


def trace_lines() -> Iterator[tuple[str, bytes]]:
    def array(data: bytes) -> str:
        return "{" + ",".join(f"{byte:#x}" for byte in data) + "}"

    head = "  docker-1234    (   1230) [001] ..... 5312.871093: "
    label = b"CLIENT_RANDOM"
    line = f"{head}k0: (0x746180) ll=13 l={array(label)} rl=32 r={array(bytes(range(1, 33)))} sl=48 s={array(bytes(range(100, 148)))}\n"
    socket = f"{head}inet_sock_set_state: family=AF_INET protocol=IPPROTO_TCP sport=40000 dport=2376 saddr=1.2.3.4 newstate=TCP_SYN_SENT\n"
    yield "secret-socket-loss", b"\x40" + (line + socket + "CPU:1 [LOST 17 EVENTS]\n").encode()


def seeds() -> dict[str, dict[str, bytes]]:
    """Target -> name -> content."""
    captures = dict(capture_files())
    return {
        "capture": captures,
        "analysis": {name: captures[name] for name in ("pcap", "tls-first-packets")} | {"tls-with-secrets": tls_capture()},
        "packets": dict(frames()),
        "tcp": dict(segments()),
        "tls": dict(sessions()),
        "handshake": dict(messages()),
        "http": dict(dialogues()),
        "docker": dict(dialogues()),
        "stdcopy": {"frames": b"\3" + FRAMES, "raw": b"\1a terminal", "out-of-step": b"\2" + FRAMES + b"\xff" * 9},
        "key_log": dict(key_logs()),
        "key_file": dict(key_files()),
        "pem_file": dict(pem_files()),
        "machine": dict(machines()),
        "program": {"small-go-program": small_program()},
        "trace_pipe": dict(trace_lines()),
    }


if __name__ == "__main__":
    for target, files in seeds().items():
        (CORPUS / target).mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (CORPUS / target / name).write_bytes(content)
