import io
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import START, Packet, block, enhanced, interface, option, pcap, pcapng, section
from captool.capture.pcapng import PcapngFile
from captool.capture.reader import CaptureReader
from captool.errors import CaptureError
from captool.export import blocks
from captool.export.pcapng import write_pcapng

LINES = (f"CLIENT_RANDOM {'01' * 32} {'02' * 48}", f"SERVER_TRAFFIC_SECRET_0 {'03' * 32} {'04' * 32}")
PACKETS = [Packet(bytes([number]) * (60 + number), START + number * 7) for number in range(5)]


def exported(tmp_path, *contents, lines=LINES):
    paths = []
    for number, content in enumerate(contents):
        paths.append(tmp_path / f"in-{number}")
        paths[-1].write_bytes(content)
    file = io.BytesIO()
    written = write_pcapng(paths, lines, file)
    (tmp_path / "out").write_bytes(file.getvalue())
    return file.getvalue(), written


def read(path):
    """Packets (time, bytes, original length, link type), secrets, drops."""
    found, secrets = [], []
    with CaptureReader([path]) as capture:
        for frames in capture.chunks():
            found += [
                (frames.ts_ns[i], bytes(frames.buffer[frames.offset[i] : frames.offset[i] + frames.captured[i]]), frames.original[i], frames.link_type[i])
                for i in range(frames.count)
            ]  # fmt: skip
            secrets += [text for _, text in capture.take_secrets()]
    return found, b"".join(secrets), capture.truncated_file


def kinds(data):
    """The types of all blocks, in order; lengths agree at both ends."""
    found, position = [], 0
    while position < len(data):
        kind, length = struct.unpack_from("<II", data, position)
        assert struct.unpack_from("<I", data, position + length - 4)[0] == length
        assert length % 4 == 0
        found.append(kind)
        position += length
    return found


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nano", [True, False])
def test_packets_of_a_pcap_keep_their_bytes_lengths_and_times(tmp_path, order, nano):
    source = [*PACKETS, Packet(b"cut", START + 999_999_999, original=1500)]
    data, written = exported(tmp_path, pcap(source, order=order, nano=nano))
    assert ([0x0A0D0D0A, 1, 10, *[6] * 6], 6, ()) == (kinds(data), written.packets, written.notes)
    before, _, _ = read(tmp_path / "in-0")
    after, secrets, truncated = read(tmp_path / "out")
    assert before == after
    assert ("".join(f"{line}\n" for line in LINES).encode(), False) == (secrets, truncated)


def test_a_set_of_files_is_one_section_in_order_of_time(tmp_path):
    data, _ = exported(tmp_path, pcap(PACKETS[3:]), pcap(PACKETS[:3]), pcap([Packet(b"\x45" + bytes(30), START + 99)], link_type=101))
    assert [0x0A0D0D0A, 1, 10, *[6] * 5, 1, 6] == kinds(data)
    assert [START + 7 * number for number in range(5)] + [START + 99] == [packet[0] for packet in read(tmp_path / "out")[0]]
    assert [1] * 5 + [101] == [packet[3] for packet in read(tmp_path / "out")[0]]


@pytest.mark.parametrize("order", ["<", ">"])
def test_blocks_of_a_pcapng_are_copied_and_secrets_stand_behind_the_interfaces(tmp_path, order):
    old = block(10, struct.pack(order + "II", blocks.TLS_KEY_LOG, 4) + b"old\n", order)
    unknown = block(0xBAD, b"1234567", order)
    both = section(order) + interface(order=order, options=option(2, b"eth0", order)) + interface(101, order=order)
    packet = enhanced(PACKETS[0], order=order)
    data, written = exported(tmp_path, both + old + packet + unknown + old + packet)
    wanted = "".join(f"{line}\n" for line in LINES).encode()
    new = block(10, struct.pack(order + "II", blocks.TLS_KEY_LOG, len(wanted)) + wanted, order)
    assert both + new + packet + unknown + packet == data
    assert 2 == written.packets


def test_a_pcapng_behind_a_pcap_begins_a_section_of_its_own_without_secrets_again(tmp_path):
    data, _ = exported(tmp_path, pcap(PACKETS[:2]), pcapng(PACKETS[2:4]), pcap(PACKETS[4:]))
    assert [0x0A0D0D0A, 1, 10, 6, 6, 0x0A0D0D0A, 1, 6, 6, 0x0A0D0D0A, 1, 6] == kinds(data)
    assert [packet.frame for packet in PACKETS] == [packet[1] for packet in read(tmp_path / "out")[0]]


@pytest.mark.parametrize("whole", [pcap(PACKETS), pcapng(PACKETS)], ids=["pcap", "pcapng"])
def test_a_capture_that_is_cut_gives_all_whole_packets(tmp_path, whole):
    end = len(whole) - len(PACKETS[-1].frame)
    for cut in range(end, len(whole)):
        data, written = exported(tmp_path, whole[:cut])
        assert (4, 1) == (written.packets, len(written.notes))
        assert kinds(data)[-1] == 6
        assert "all before that was exported" in written.notes[0]


def test_counters_of_the_manifest_become_statistics(tmp_path):
    counted = {"received_by_filter": 9, "dropped_by_kernel": 4, "dropped_by_interface": None}
    (tmp_path / "in-0.json").write_text(json.dumps({"schema": "captool.recording/1", "interface": "eth0", "packets": counted}))
    data, _ = exported(tmp_path, pcap(PACKETS))
    assert [6, 5] == kinds(data)[-2:]
    with CaptureReader([tmp_path / "out"]) as capture:
        assert 5 == sum(frames.count for frames in capture.chunks())
        assert capture._dropped == 4
    assert b"eth0" in data


@pytest.mark.parametrize(
    "manifest", ["[]", "{}", '{"schema": "captool.recording/1", "packets": {"dropped_by_kernel": -1}, "interface": 7}', "\x00"]
)
def test_a_manifest_that_says_nothing_useful_is_passed_over(tmp_path, manifest):
    (tmp_path / "in-0.json").write_text(manifest)
    assert [0x0A0D0D0A, 1, 10, *[6] * 5] == kinds(exported(tmp_path, pcap(PACKETS))[0])


def test_many_secrets_are_more_than_one_block():
    lines = [f"CLIENT_RANDOM {number:064x} {'02' * 48}" for number in range(8000)]
    made = list(blocks.decryption_secrets(lines))
    assert len(made) == 2
    assert all(len(one) <= blocks.MAX_SECRETS_BLOCK + 64 for one in made)
    file = PcapngFile()
    for one in made:
        file._decryption_secrets(one[8:-4])
    assert lines == b"".join(file.secrets).decode().splitlines()
    assert [] == list(blocks.decryption_secrets([]))


def test_what_is_no_capture_is_said(tmp_path):
    with pytest.raises(CaptureError, match="text file"):
        exported(tmp_path, b"hello, this is text")


@given(st.binary(max_size=300))
def test_hostile_blocks_are_copied_whole_or_not_at_all(tmp_path_factory, tail):
    tmp_path = tmp_path_factory.mktemp("hostile")
    data, written = exported(tmp_path, pcapng(PACKETS) + tail)
    assert kinds(data)[:8] == [0x0A0D0D0A, 1, 10, *[6] * 5]
    assert written.packets >= 5
