"""What a capture was: format, size, time span, and how much of it could not be used."""

from typing import NamedTuple, Protocol


class ClockStep(NamedTuple):
    """Timestamps that ran backwards by more than a second: how often, by how many nanoseconds at most, and at which packet."""

    steps: int
    largest_ns: int
    packet: int


class ClockJump(NamedTuple):
    """The capture's time jumped ahead at this packet, by `ahead_ns` more than the clocks of `senders` went on meanwhile.

    Without senders that tell (0), all busy connections went on as before: `ahead_ns` is the whole jump, and it may be time that passed.
    """

    packet: int
    ahead_ns: int
    senders: int


class IcmpError(NamedTuple):
    """An ICMP error that `reporter` sent about TCP segments from `source` to `destination` (address, port): how often, first and last.

    `version` is that of IP, `type` and `code` are its (RFC 792, RFC 4443), `mtu` is what a packet that is too big may have at most.
    `other_side` is the name of the other side's capture, where that has it and numbers the packets; "" where it is the trace.
    """

    source: tuple[str, int]
    destination: tuple[str, int]
    reporter: str
    version: int
    type: int
    code: int
    mtu: int | None
    times: int
    first_packet: int
    first_ns: int
    last_packet: int
    last_ns: int
    other_side: str = ""


class CaptureSummary(NamedTuple):
    """Counters over all files of one capture. Times are nanoseconds since 1970 (UTC), sizes bytes.

    `packets` counts captured frames; it equals `tcp_packets + other_packets + undecodable_packets`, where the
    duplicates that were removed before counting are reported apart in `duplicate_packets` and are part of
    `tcp_packets`. `dropped_packets` is what the capture file says the kernel dropped, None where it says nothing.
    `unlisted_connections` counts those of a flood, on which nothing happened, that are not listed one by one.
    `recorded_until_ns` is until when the recorder listened, where it says so and that is later than the last packet.
    `notes` are sentences about the files themselves (where a truncated file ends, for example).
    """

    files: tuple[str, ...]
    format: str
    link_types: tuple[str, ...]
    packets: int
    bytes: int
    start_ns: int | None
    end_ns: int | None
    truncated_file: bool
    snapped_packets: int
    duplicate_packets: int
    dropped_packets: int | None
    tcp_packets: int
    other_packets: int
    undecodable_packets: int
    notes: tuple[str, ...] = ()
    clock_step: ClockStep | None = None
    unlisted_connections: int = 0
    recorded_until_ns: int | None = None
    clock_jumps: tuple[ClockJump, ...] = ()
    icmp_errors: tuple[IcmpError, ...] = ()

    @property
    def watched_until_ns(self) -> int | None:
        """The latest time of which it is known what came: the last packet's, or later where the recorder went on listening."""
        return self.recorded_until_ns or self.end_ns


class DecoderCounts(Protocol):
    """What the summary needs to know of the decoder."""

    tcp_packets: int
    other_packets: int
    undecodable_packets: int
    snapped_packets: int
    bytes: int
    start_ns: int
    end_ns: int
    clock_steps: int
    clock_step_ns: int
    clock_step_packet: int

    def notes(self) -> list[str]:
        """Sentences about packets that could not be used."""
        ...


class TrackerCounts(Protocol):
    """What the summary needs to know of the tracker."""

    duplicate_packets: int

    def notes(self) -> list[str]:
        """Sentences about limits that were reached."""
        ...
