"""Captures recorded with a short snap length say so, with the length, in the reason of each connection that it keeps closed."""

import subprocess

import pytest

from captool.analysis import analyze
from captool.errors import NothingMatchedError
from captool.key_table import key_table
from captool.transcript import transcript
from tests.tls.captures import talk, write
from tests.tls.stacks import contexts, identity, key_ring, record

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_detail_names_a_cut_packet_and_its_length(tmp_path):
    recording = record(*contexts(ciphers="AES128-SHA"))
    whole = talk(recording.wire)
    longest = max(range(len(whole.packets)), key=lambda at: len(whole.packets[at].frame))
    cut = talk(recording.wire, cuts={longest - 3: len(whole.packets[longest].frame) - 200})
    (one,) = analyze(write(tmp_path / "c.pcap", cut), key_ring(identity())).connections
    assert ("partly", "snapped") == (one.tls.status, one.tls.reason)
    size = len(whole.packets[longest].frame)
    assert one.tls.detail.endswith(f" Packet {longest + 1} was recorded to 200 of its {size} bytes, as with tcpdump -s 200.")


@pytest.mark.needs("editcap")
@pytest.mark.parametrize("kind", ["pcap", "pcapng"])
def test_handshake_cut_by_the_snap_length(tmp_path, fixtures, kind):
    cut = tmp_path / f"cut.{kind}"
    machines = fixtures / "silent-drop/machines"
    subprocess.run(["editcap", "-F", kind, "-s", "96", fixtures / "silent-drop/server.pcap", cut], check=True)
    analysis = analyze(cut, machines)
    assert [("encrypted", "snapped")] * 2 == [(one.tls.status, one.tls.reason) for one in analysis.connections]
    assert all("recorded to 96 of its" in one.tls.detail and one.tls.detail.endswith("tcpdump -s 96.") for one in analysis.connections)
    assert all("tcpdump -s 96" in match.why for match in key_table(machines, cut).matches)
    with pytest.raises(NothingMatchedError, match="as with tcpdump -s 96"):
        list(transcript(cut, machines))


def test_whole_packets_name_no_snap_length(tmp_path):
    recording = record(*contexts(ciphers="AES128-SHA"))
    (one,) = analyze(write(tmp_path / "c.pcap", talk(recording.wire, lost={8})), key_ring(identity())).connections
    assert "stream-gap" == one.tls.reason
    assert "tcpdump" not in one.tls.detail
