import pytest

from captool.errors import MissingToolError, UsageError
from captool.record import tcpdump


def test_the_trace_goes_to_a_pipe_packet_by_packet_and_the_filter_is_no_option():
    words = tcpdump.arguments("/usr/bin/tcpdump", "eth0", "-w /etc/passwd", 5, None)
    assert words[-2:] == ["--", "-w /etc/passwd"]
    assert {"-U", "-n"} <= set(words)
    assert words[words.index("-w") + 1] == "-"
    assert words[words.index("-c") + 1] == "5"
    assert words[words.index("-s") + 1] == "262144"


# Messages of tcpdump 4.9 and 4.99 with libpcap 1.9 and 1.10, word for word.
@pytest.mark.parametrize(
    ("messages", "error", "text"),
    [
        ("tcpdump: eth9: No such device exists\n(No such device exists)\n", UsageError, "existing ones: lo"),
        ("tcpdump: eth9: SIOCETHTOOL(ETHTOOL_GLINK) ioctl failed: No such device\n", UsageError, "existing ones: lo"),
        (
            "tcpdump: lo: You don't have permission to perform this capture on that device\n(socket: Operation not permitted)\n",
            MissingToolError,
            "run captool as root",
        ),
        ("tcpdump: can't parse filter expression: syntax error\n", UsageError, "man 7 pcap-filter"),
        ("tcpdump: unknown host 'nowhere.invalid'\n", UsageError, "nowhere.invalid"),
        ("tcpdump: eth0: That device is not up\n", UsageError, "ip link set eth0 up"),
        ("tcpdump: pcap_loop: The interface disappeared\n", MissingToolError, "The interface disappeared"),
        ("", MissingToolError, "it said nothing"),
    ],
)
def test_messages_become_one_line_that_says_what_to_do(messages, error, text):
    failure = tcpdump.failure(messages, "eth0", "tcp port 2376", {"lo": 1})
    assert type(failure) is error
    assert text in str(failure)
    assert "\n" not in str(failure)


def test_counters_are_read_and_those_that_are_missing_stay_unknown():
    said = "10 packets captured\n12 packets received by filter\n1 packet dropped by kernel\n"
    assert tcpdump.Counters(10, 12, 1, None) == tcpdump.counters(said)
    assert tcpdump.Counters() == tcpdump.counters("Killed\n")


def test_counters_asked_for_meanwhile_are_told_apart_from_the_last_ones_and_from_reasons():
    said = "".join(f"tcpdump: 5 packets captured, 9 packets received by filter, {n} packets dropped by kernel\n" for n in (0, 7))
    assert tcpdump.dropped_so_far(said) == 7
    assert tcpdump.dropped_so_far("tcpdump: listening on lo\n") is None
    assert tcpdump.Counters() == tcpdump.counters(said)
    assert str(tcpdump.failure(said, "lo", "", {})).endswith("it said nothing")


def test_several_interfaces_are_one_filter_over_any():
    def existing():
        return {"lo": 1, "eth0": 2, "eth1": 3}

    assert ("eth0", "tcp") == tcpdump.one_interface(("eth0",), "tcp", existing)
    assert ("any", "tcp") == tcpdump.one_interface(("eth0", "any"), "tcp", existing)
    assert ("any", "(ifindex 2 or ifindex 3) and (tcp)") == tcpdump.one_interface(("eth0", "eth1", "eth0"), "tcp", existing)
    assert ("any", "(ifindex 2 or ifindex 3)") == tcpdump.one_interface(("eth0", "eth1"), "", existing)
    with pytest.raises(UsageError, match="no interface eth9; existing ones: lo, eth0, eth1, any"):
        tcpdump.one_interface(("eth0", "eth9"), "", existing)


def test_a_machine_without_tcpdump_is_told_what_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(tcpdump, "SYSTEM_DIRECTORIES", ())
    with pytest.raises(MissingToolError, match="apt-get install tcpdump"):
        tcpdump.find_tcpdump()
