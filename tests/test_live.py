"""Verdicts while a capture grows: recorded captures are played packet by packet, and what was said is held against the whole."""

import struct
from pathlib import Path

import pytest
from hypothesis import settings

from builders import ACK, FIN, RST, SECOND, Talk, pcap, write_anew
from captool.analysis import analyze
from captool.capture.reader import CaptureReader
from captool.connections import DOCKER_PORTS
from captool.findings.so_far import NEVER
from captool.findings.tables import Settings
from captool.keys.growing import GrowingKeys
from captool.keys.load import load_keys
from captool.live import LiveAnalysis
from captool.middlebox.catalogue import load_catalogue
from captool.packets.decode import Decoder
from captool.report.live_text import line
from captool.tcp.tracker import Tracker
from captool.units import size
from hosts import Hosts

FIXTURES = Path(__file__).parent.parent / "fixtures"
CAPTURES = sorted(path for path in FIXTURES.glob("*/*.pcap") if path.parent.name != "lossy-path")  # thousands of packets
RECORDED = (Path(__file__).parent / "findings/data").glob("*.pcap")
CAPTURES += sorted(path for path in RECORDED if path.stem != "ports-reused")  # what was said is told apart by the ports
STEP = SECOND // 2


class Keys(GrowingKeys):
    """All keys are there from the beginning."""

    def __init__(self, folder):
        super().__init__(folder, "keys.log")
        paths = [path for path in (folder / "machines", folder / "keys.log") if path.exists()]
        self.ring = load_keys(paths) if paths else self.ring

    def look(self):
        pass


def records(path):
    """The header of a pcap file, and (time, record) of each packet."""
    data = path.read_bytes()
    unit = 1000 if data[:4] == bytes.fromhex("d4c3b2a1") else 1
    position, found = 24, []
    while position + 16 <= len(data):
        seconds, fraction, length = struct.unpack_from("<III", data, position)
        found.append((seconds * SECOND + fraction * unit, data[position : position + 16 + length]))
        position += 16 + length
    return data[:24], found


class Player:
    """Gives a live analysis the packets at their times, and looks at it every half second meanwhile."""

    def __init__(self, tmp_path, keys=None, **settings):
        self.now = 0
        self.file = tmp_path / "piece.pcap"
        self.live = LiveAnalysis(
            Settings(**settings),
            load_catalogue(),
            load_catalogue(state="half-closed"),
            keys or Keys(tmp_path),
            monotonic_ns=lambda: self.now,
        )
        self.said = []

    def wait_until(self, time_ns):
        while self.now and self.now + STEP < time_ns:
            self.now += STEP
            self.look()
        self.now = time_ns
        self.look(time_ns - 1)

    def look(self, until_ns=None, **options):
        self.said += self.live.verdicts(self.now if until_ns is None else until_ns, **options)

    def play(self, header, packets):
        for time_ns, record in packets:
            self.wait_until(time_ns)
            write_anew(self.file, header + record)
            with CaptureReader([self.file]) as capture:
                for frames in capture.chunks():
                    self.live.take(frames)
        return self

    def talk(self, talk):
        self.file.write_bytes(pcap(talk.packets))
        header, packets = records(self.file)
        return self.play(header, packets)

    def sentences(self):
        return [(verdict.severity, verdict.sentence) for verdict in self.said]


@pytest.mark.slow
@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_nothing_that_was_said_is_contradicted_by_the_whole_capture(path, tmp_path):
    timeout = 5 * SECOND
    keys = Keys(path.parent)
    player = Player(tmp_path, keys, idle_timeout_ns=timeout).play(*records(path))
    player.look(ended=True)
    whole = analyze(path, keys.ring, idle_timeout_ns=timeout)
    said = {}
    for verdict in player.said:
        said.setdefault((verdict.client, verdict.server), []).append(verdict)
    for one in whole.connections:
        tcp, mine = one.tcp, said.get((one.tcp.client, one.tcp.server), [])
        told = " | ".join(verdict.sentence for verdict in mine)
        assert (max((gap.longest_silence_ns for gap in tcp.gaps), default=0) >= timeout) == ("reaches the idle timeout given" in told)
        assert any(side.probes for side in tcp.keepalive) == ("keepalive probe of the" in told)
        for direction, side in enumerate(tcp.keepalive):
            seen = f"a keepalive probe of the {('client', 'server')[direction]} was seen"
            assert (side.probes > 0) == (seen in told)
        assert (tcp.close == "silent-drop") == ("silent drop so far" in told and "lost, but the connection" not in told)
        if tcp.closing is not None:
            assert f"the {tcp.closed_by} (" in told or "reset after idle" in told or "refused" in told or "by whoever does not know" in told
        in_use = any(finding.code == "reset-in-use" and finding.connection == one.id for finding in whole.findings)
        assert in_use == ("by whoever does not know" in told)
        assert (any(finding.code == "reset-after-idle" and finding.connection == one.id for finding in whole.findings)) == (
            "reset after idle" in told
        )
        for direction, shut in enumerate(tcp.shut_windows):
            reader = ("server", "client")[direction]
            assert (shut is not None and shut.duration_ns >= 2 * SECOND) == (f"the {reader}'s program has not read for 2.00 s" in told)
        assert any(out and out.until.ts_ns - out.first.ts_ns >= 3 * SECOND for out in tcp.outages) == ("was cut off for" in told)
        dead = [finding for finding in whole.findings if finding.code == "one-way-loss" and finding.connection == one.id]
        assert len(dead) == told.count("one direction is dead so far") - told.count(" sends arrives at the ")
        lost = [finding.evidence for finding in whole.findings if finding.code == "output-lost" and finding.connection == one.id]
        assert (lost != []) == ("output lost so far: at least " in told and "after all" not in told)
        for evidence in lost:
            assert f"at least {size(evidence['stdout_bytes'] + evidence['stderr_bytes'])} of container output" in told
        for exchange in one.exchanges:
            if exchange.http.hijack:
                assert f"its stream is open ({exchange.http.status})" in told
                assert any(verdict.request and exchange.container[:12] in verdict.request for verdict in mine)
        # What waits behind bytes that may still come is read when the capture ends.
        waited = one.tls and one.tls.reason == "stream-gap" and tcp.awaited.to_client
        if one.tls and one.tls.status == "encrypted" and "handshake is not complete" not in one.tls.detail and not waited:
            assert told.count("cannot be decrypted so far") == 1
        else:
            assert "cannot be decrypted" not in told


def test_every_line_has_time_connection_request_and_what_happened(tmp_path):
    case = FIXTURES / "just-above"
    player = Player(tmp_path, Keys(case), idle_timeout_ns=10 * SECOND).play(*records(case / "server.pcap"))
    lines = [line(verdict) for verdict in player.said]
    assert all("UTC  " in text and " -> 10.77.2.2:2376" in text for text in lines)
    order = [next(i for i, text in enumerate(lines) if what in text) for what in ("its stream is open", "reaches the idle", "silent drop")]
    assert sorted(order) == order
    assert "(POST /containers/" in lines[order[2]]


def asked():
    return Talk().opened().client(b"GET /").server(b"200").client()


def test_each_timeout_is_told_once_when_it_is_reached_and_named(tmp_path):
    player = Player(tmp_path).talk(asked())
    last = player.now
    player.wait_until(last + 400 * SECOND)
    idle = [verdict for verdict in player.said if "idle for" in verdict.sentence]
    assert [30, 60, 65, 120, 240, 300, 350, 360] == [round((verdict.ts_ns - last) / SECOND, 3) for verdict in idle]
    assert "no keepalive probe from either side seen so far: reaches the timeout of" in idle[0].sentence
    before = len(player.said)
    player.talk(asked_again(player.now))
    player.wait_until(player.now + 200 * SECOND)
    assert not [verdict for verdict in player.said[before:] if "idle for" in verdict.sentence]


def asked_again(now):
    """More of the same conversation, much later."""
    talk = asked()
    done = len(talk.packets)
    talk.now = now + SECOND
    talk.client(b"GET /").server(b"200").client()
    del talk.packets[:done]
    return talk


def test_a_connection_whose_probes_come_in_time_gives_no_alarm(tmp_path):
    talk = asked()
    at = talk.next[0]
    for _ in range(50):
        talk.wait(15).client(seq=at - 1).server()
    player = Player(tmp_path).talk(talk)
    player.wait_until(player.now + 14 * SECOND)
    assert [("info", "a keepalive probe of the client was seen, 15.00 s after the last data")] == player.sentences()


def test_a_drop_that_was_a_loss_is_taken_back(tmp_path):
    talk = asked()
    at, text = talk.next[1], b"output"
    talk.wait(100).server(text)
    for _ in range(4):
        talk.wait(1).server(text, seq=at)
    talk.wait(1).client()
    player = Player(tmp_path, network="gcp-vpc").talk(talk)
    player.look()
    (error, first), out, (info, second) = player.sentences()
    assert ("error", "info") == (error, info)
    cut_off = "was cut off for 5.00 s and goes on: in that time the client acknowledged nothing of what the server sent (4 retransmissions)"
    assert ("warning", cut_off) == out
    assert first.startswith("silent drop so far: the server sends 6 bytes after 100.0 s without a packet again and again (2 retransmissions")
    assert second == "the client acknowledged what was sent again: packets were lost, but the connection was not dropped"


ATTACH = b"POST /v1.41/containers/ab12/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
UPGRADED = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
FRAME = bytes([1, 0, 0, 0, 0, 0, 0, 6]) + b"result"
NOT_ARRIVED = "output lost so far: at least 6 bytes of container output (stdout 6) were "


def attached():
    """A job whose output is on its way."""
    return Talk().opened().client(ATTACH).server(UPGRADED).client().wait(1).server(FRAME)


def output_lines(player):
    return [(severity, sentence) for severity, sentence in player.sentences() if "output" in sentence]


def sent_again(talk, *seconds):
    for wait in seconds:
        talk.wait(wait).server(FRAME, seq=talk.next[1] - len(FRAME))
    return talk


def test_output_that_does_not_arrive_is_told_once_and_taken_back_when_it_does(tmp_path):
    player = Player(tmp_path).talk(sent_again(attached(), 0.2, 0.4, 0.8))
    player.wait_until(player.now + 5 * SECOND)
    assert [("error", f"{NOT_ARRIVED}sent 4 times in 1.40 s and not acknowledged")] == output_lines(player)
    talk = attached()
    done = len(sent_again(talk, 0.2, 0.4, 0.8).packets)
    sent_again(talk, 1.6).client()
    del talk.packets[:done]
    player.talk(talk)
    player.wait_until(player.now + 5 * SECOND)
    assert [("info", "the client acknowledged the container output after all")] == output_lines(player)[1:]


def test_output_that_is_still_on_its_way_is_not_called_lost(tmp_path):
    player = Player(tmp_path).talk(sent_again(attached(), 0.2, 0.4))
    player.wait_until(player.now + 5 * SECOND)
    assert [] == output_lines(player)


def test_output_that_a_reset_cut_off_is_told(tmp_path):
    talk = attached()
    player = Player(tmp_path).talk(talk.client(flags=RST, ack=0))
    player.wait_until(player.now + 5 * SECOND)
    assert [("error", f"{NOT_ARRIVED}not acknowledged")] == output_lines(player)


def test_output_is_counted_when_all_of_it_was_read(tmp_path):
    """The secrets of what came last are waited for: until then less would be told than is known."""
    player = Player(tmp_path).talk(sent_again(attached().server(FRAME), 0.2, 0.4, 0.8))
    player.look()
    assert [] == output_lines(player)
    player.wait_until(player.now + 5 * SECOND)
    assert 1 == len(output_lines(player))
    assert "at least 12 bytes of container output (stdout 12)" in output_lines(player)[0][1]


@pytest.mark.parametrize(
    ("end", "sentence"),
    [
        (lambda talk: talk.client(flags=FIN | ACK).server(flags=FIN | ACK).client(), ("info", "closed by the client (FIN)")),
        (lambda talk: talk.server(flags=RST | ACK), ("warning", "broken off by the server (RST)")),
        (
            lambda talk: talk.wait(100).client(b"x").server(flags=RST, ack=0),
            ("error", "reset after idle: the first packet after 100.0 s of silence was answered by a reset in the server's name"),
        ),
    ],
)
def test_the_end_of_a_connection_is_told_once(tmp_path, end, sentence):
    player = Player(tmp_path, network="gcp-vpc").talk(end(asked()))
    player.look()
    player.wait_until(player.now + 1000 * SECOND)
    assert [sentence] == player.sentences()


def test_a_reader_that_stopped_and_one_that_reads_on_are_told_once_each(tmp_path):
    talk = asked().server(b"x" * 1000).client(window=0)
    shut = talk.now
    for _ in range(6):
        talk.wait(1).server(seq=talk.next[1] - 1).client(window=0)
    talk.wait(1).client().wait(1).server(b"y").client(window=0)
    for _ in range(4):  # a shorter stall than the one that was told
        talk.wait(1).server(seq=talk.next[1] - 1).client(window=0)
    player = Player(tmp_path, network="gcp-vpc").talk(talk.client())
    player.look()
    assert [
        ("warning", "stands still: the client's program has not read for 2.00 s (its receive window is 0)"),
        ("info", "the client's program reads on after 7.01 s"),
    ] == player.sentences()
    assert shut + 2 * SECOND == player.said[0].ts_ns
    (finding,) = [one for one in analyze(written(tmp_path, talk)).findings if one.code == "zero-window-stall"]
    assert 7.01 == round(finding.evidence["stalled_s"], 2)


def written(folder, talk):
    path = folder / "whole.pcap"
    path.write_bytes(pcap(talk.packets))
    return path


@pytest.mark.parametrize("ahead", [600 * SECOND, -600 * SECOND])
def test_idle_times_across_a_change_of_the_clock_are_not_judged(tmp_path, ahead):
    player = Player(tmp_path, network="gcp-vpc").talk(asked())
    player.live.clock_was_set(ahead)
    player.wait_until(player.now + 3600 * SECOND)
    assert [] == player.said
    assert [] == player.live._due  # and not looked at again and again
    player.talk(asked_again(player.now))
    player.wait_until(player.now + 700 * SECOND)
    assert 1 == len(player.said)


class Far(Player):
    """The packets of another machine, whose clock is not this one's: here no more time passes than there truly does."""

    def __init__(self, tmp_path, **settings):
        super().__init__(tmp_path, **settings)
        self.true_ns, self.live._clock._monotonic_ns = 0, lambda: self.true_ns

    def hear(self, packets, true_ns):
        """These packets came, and then so much time passed without any."""
        self.file.write_bytes(pcap(packets))
        with CaptureReader([self.file]) as capture:
            for frames in capture.chunks():
                self.live.take(frames)
        for _ in range(0, true_ns, STEP):
            self.true_ns += STEP
            self.now = self.live.latest_ns + self.true_ns % SECOND
            self.look(self.live.latest_ns + min(true_ns, 3 * SECOND))


def agrees(player, packets, tmp_path):
    """Whether idle times are told of the connections of which the whole capture tells them, and silent drops."""
    (tmp_path / "whole.pcap").write_bytes(pcap(packets))
    whole = analyze(tmp_path / "whole.pcap", network="gcp-vpc")
    idle, dropped = ({one.client for one in player.said if what in one.sentence} for what in ("idle for", "silent drop so far"))
    ends = [connection.tcp.client for connection in whole.connections]
    judged = {ends[one.connection] for one in whole.findings if one.code in {"idle-gap", "missing-keepalive"}}
    return (idle, dropped) == (judged, {one.tcp.client for one in whole.connections if one.tcp.close == "silent-drop"})


def in_halves(hosts, then):
    """The packets before something happens to a clock, and those after it."""
    before = len(hosts.talk().packets)
    then(hosts)
    hosts.talk()
    return hosts.packets[:before], hosts.packets[before:]


def set_ahead(hosts):
    hosts.wrong = 700 * SECOND


def set_back(hosts):
    hosts.wrong = -700 * SECOND


def pause(hosts):
    hosts.now += 700 * SECOND


@pytest.mark.parametrize("then", [set_ahead, set_back, pause])
@pytest.mark.parametrize("pieces", [0, 1, 2, 40])
def test_a_clock_that_was_set_elsewhere_is_told_from_a_pause_as_the_whole_capture_tells_it(tmp_path, then, pieces):
    """However the packets behind it come in: all at once, or with looks between them."""
    before, after = in_halves(Hosts(), then)
    player = Far(tmp_path, network="gcp-vpc")
    if pieces:
        player.hear(before, 700 * SECOND if then is pause else SECOND)
    else:  # what came before was not read yet
        before, after, pieces = [], before + after, 1
    size = -(-len(after) // pieces)
    for begin in range(0, len(after), size):
        player.hear(after[begin : begin + size], 0 if begin + size < len(after) else 3 * SECOND)
        player.look(player.live.latest_ns)
    assert agrees(player, before + after, tmp_path)
    assert (then is pause) == any("idle for" in one.sentence for one in player.said)


def test_a_pause_that_is_read_late_is_judged_when_the_senders_have_told(tmp_path):
    """A backlog: no time passes here, although it did where it was recorded."""
    before, after = in_halves(Hosts(), pause)
    player = Far(tmp_path, network="gcp-vpc")
    player.hear(before, SECOND)
    player.hear(after[:1], 0)
    player.look(player.live.latest_ns)
    assert [] == player.said
    player.hear(after[1:], 3 * SECOND)
    assert agrees(player, before + after, tmp_path)
    assert 3 == len([one for one in player.said if "idle for" in one.sentence])


def test_what_was_in_flight_when_the_clock_was_set_is_no_silent_drop(tmp_path):
    hosts = Hosts().talk().say(0, 1, b"output")
    before = len(hosts.packets)
    hosts.numbers[hosts.ends[0], 1] -= 6
    hosts.wrong = 700 * SECOND
    hosts.say(0, 1, b"output").say(1, 0, b"ask").say(1, 1, b"answer").say(2, 0, b"ask").say(2, 1, b"answer")
    player = Far(tmp_path, network="gcp-vpc")
    player.hear(hosts.packets[:before], SECOND)
    player.hear(hosts.packets[before:], 3 * SECOND)
    assert [] == player.said
    assert agrees(player, hosts.packets, tmp_path)


@pytest.mark.slow
def test_connections_that_ended_are_let_go(tmp_path):
    player = Player(tmp_path)
    for number in range(300):
        ended = Talk(client_end=("10.0.0.1", 1000 + number), now=player.now or Talk().now).opened().client(b"x").server(flags=RST | ACK)
        player.talk(ended)
        player.now += 2 * SECOND
    player.look()
    assert player.live.open_connections < 80  # those for which late packets are awaited, for two minutes
    assert 300 == len(player.said)


def test_a_busy_connection_takes_one_place_in_the_list_of_those_to_look_at(tmp_path):
    player = Player(tmp_path).talk(asked())
    for _ in range(20):
        player.talk(asked_again(player.now))
        player.wait_until(player.now + 5 * SECOND)
    assert 1 == len(player.live._due)
    assert player.live._followed[0].look_ns < NEVER


def test_after_missing_packets_everything_begins_anew(tmp_path):
    player = Player(tmp_path, network="gcp-vpc").talk(asked())
    player.live.begin_anew()
    player.wait_until(player.now + 3600 * SECOND)
    assert [] == player.said


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_connection_as_of_now_is_the_one_of_a_capture_that_ends_now(path, tmp_path):
    header, packets = records(path)
    file = tmp_path / "piece.pcap"
    going_on = Tracker(DOCKER_PORTS, gap_ns=SECOND)
    decoder = Decoder()
    step = max(1, len(packets) // (2 * settings.default.max_examples // 5))  # 40 places, in the fast suite 10
    seen, now, so_far = 0, 0, header
    for end in range(step, len(packets) + step, step):
        now = max(now, *(time_ns for time_ns, _ in packets[end - step : end]))
        piece = b"".join(record for _, record in packets[end - step : end])
        so_far += piece
        write_anew(file, header + piece)
        with CaptureReader([file]) as capture:
            capture.packets = seen
            for frames in capture.chunks():
                going_on.add(frames, decoder.decode(frames))
            seen = capture.packets
        active = going_on.active_since(0)
        as_of_now = {number: going_on.as_of(number, now) for number in active}
        ended = Tracker(DOCKER_PORTS, gap_ns=SECOND)
        write_anew(file, so_far)
        with CaptureReader([file]) as capture:
            whole = Decoder()
            for frames in capture.chunks():
                ended.add(frames, whole.decode(frames))
        ended.finish()
        closed = {tcp.id: tcp for tcp in ended.take_closed()}
        assert {number: closed[number] for number in active} == as_of_now
        assert set(active) <= set(going_on.active_since(seen - step)) | {n for n in active if closed[n].last_packet.packet <= seen - step}


def test_a_probe_that_was_just_sent_may_be_answered_yet(tmp_path):
    talk = Talk().opened().client(b"GET /").server(b"200").client()
    for answer in (False, True, False, False, False):
        talk.wait(5).client(seq=talk.next[0] - 1).server(captured=answer)
    player = Player(tmp_path).talk(talk)
    player.look()
    told = [sentence for _, sentence in player.sentences() if "went unanswered so far" in sentence]
    assert ["the last 3 keepalive probes of the client, 10.00 s apart, went unanswered so far"] == [one.partition(":")[0] for one in told]


@pytest.mark.parametrize("captured", [True, False])
def test_a_reset_behind_a_fin_that_was_not_recorded_breaks_nothing_off(tmp_path, captured):
    talk = Talk().opened().client(b"GET /").server(b"200").client().wait(20).client(flags=FIN | ACK, captured=captured)
    talk.server(b"bye").client(flags=RST, seq=talk.next[0])
    player = Player(tmp_path).talk(talk)
    player.look()
    said = [sentence for severity, sentence in player.sentences() if severity in ("warning", "error") or "closed" in sentence]
    if captured:
        assert ["closed by the client (FIN)"] == said
    else:
        assert ["closed by the client (RST; what it had sent before, perhaps a FIN, was not recorded)"] == said
