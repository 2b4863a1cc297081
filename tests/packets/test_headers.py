"""Most packets are read by a look at where nearly all have their headers, the others by `Datagram`; both tell the same."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captool.capture.reader import CaptureReader
from captool.packets.decode import Decoder
from tests.builders import ACK, PSH, Packet, ip, pcap, tcp

# LINKTYPE -> what stands before an IPv4 packet, without and with a VLAN tag.
BEFORE = {
    1: (bytes(12) + b"\x08\x00", bytes(12) + b"\x81\x00\x00\x07\x08\x00"),
    113: (bytes(14) + b"\x08\x00", bytes(14) + b"\x81\x00\x00\x07\x08\x00"),
    276: (b"\x08\x00" + bytes(18), b"\x81\x00" + bytes(18) + b"\x00\x07\x08\x00"),
}
COLUMNS = ("source_high", "source_low", "destination_high", "destination_low", "ports", "seq", "ack", "flags", "window", "hops")
COLUMNS += ("payload_length", "payload_captured", "key", "ends", "end_ports", "shape", "identity", "mark")


@dataclass(frozen=True)
class Seen:
    """What the decoder counted and wrote of one frame."""

    counts: tuple[int, int, int, int]
    row: tuple[int, ...]
    payload: bytes


def seen(decoder, path, frame, original, link_type):
    """Of the same decoder, whose hashes are those of no other."""
    path.write_bytes(pcap([Packet(frame, original=original)], link_type))
    with CaptureReader([path]) as capture:
        for frames in capture.chunks():
            segments = decoder.decode(frames)
            counts = (segments.count, segments.other, segments.undecodable, segments.snapped)
            if not segments.count:
                return Seen(counts, (), b"")
            segments.tell_ends(0)
            begin = segments.payload_offset[0]
            payload = bytes(frames.buffer[begin : begin + segments.payload_captured[0]])
            return Seen(counts, tuple(getattr(segments, name)[0] for name in COLUMNS), payload)
    raise AssertionError("no chunk")


@pytest.mark.parametrize("link_type", BEFORE)
@given(
    payload=st.binary(max_size=40),
    options=st.sampled_from([b"", b"\1\1\x08\n" + bytes(8), b"\1\1\5\n" + bytes(8)]),
    changes=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=3),
    cut=st.integers(0, 80),
    longer=st.integers(0, 3),
    identification=st.sampled_from([0, 1, 0xFFFF]),
)
def test_what_is_usual_is_read_as_everything_else(link_type, payload, options, changes, cut, longer, identification, tmp_path_factory):
    packet = bytearray(ip(tcp(flags=ACK | PSH, payload=payload, options=options), identification=identification))
    for place, value in changes:
        packet[place % len(packet)] = value
    packet = bytes(packet[: len(packet) - cut]) if cut < 60 else bytes(packet)
    path = tmp_path_factory.mktemp("headers") / "trace.pcap"
    decoder = Decoder()
    usual, tagged = (
        seen(decoder, path, before + packet, len(before + packet) + longer, link_type) for before in BEFORE[link_type]
    )  # fmt: skip
    assert usual == tagged
