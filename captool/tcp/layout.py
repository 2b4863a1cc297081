"""Where the tracker keeps what: for each open connection a hot row and a full row of 64-bit numbers.

With thousands of connections, fetching their rows from memory is what tracking costs. So the hot row is one cache line of 64
bytes that suffices for a segment that does as predicted; the full row serves all others and holds all that is known.
While `STEADY` is set in the hot row, the fields that it repeats are newer there; the tracker brings them over (`unpack`)
before it uses the full row and back (`pack`) afterwards.

A field of the connection is `state[row + FIELD]`, a field of a side `state[side + FIELD]` with `side = row + SIDES + SIDE * direction`
(the direction in which it sends). Offsets are stream offsets of what the side sends.
"""

# The hot row, numbers of 64 bits. ADDRESSES: both IPv4 addresses, or bits of IPv6 addresses, which are then compared in the full row.
# HOT_NS: time of the last packet, of the client, then of the server.
HOT_ROW = 8
ADDRESSES, HOT_NS = 0, 1
# Numbers of 32 bits in the same row, from HOT_NEXT on of the client, then of the server. HOT_PORTS: first port, second port. HOT_NEXT: the
# sequence number of its next byte, HOT_ACKED: of the next that the peer asks for. HOT_PACKET: its last packet. HOT_COUNT: packets since the
# row was unpacked (16 bits), above them the distance of its last packet from the one before it, 0 where that does not fit.
HALVES = 2 * HOT_ROW
HOT_PORTS, HOT_FLAGS, HOT_NEXT, _, HOT_ACKED, _, HOT_PACKET, _, HOT_COUNT = range(6, 15)
# An unpacked row differs from its full row by less than half of all sequence numbers: so many packets, none longer.
MOST_COUNTED = 1 << 15
FURTHEST = 0xFFFF

# Flags of the hot row; those of a side are shifted by its direction.
STEADY = 1  # a segment can do as predicted
HOT_IPV6 = 2
SWAPPED_SHIFT = 2
SWAPPED = 1 << SWAPPED_SHIFT  # the second address is the client's
IDLE_SHIFT = 3
IDLE = 1 << IDLE_SHIFT  # since the last packet
DATA_SHIFT = 4
DATA_EXPECTED = 1 << DATA_SHIFT  # further data of this side tells nothing new but its bytes
ACK_SHIFT = 6
ACK_EXPECTED = 1 << ACK_SHIFT
NEWEST_IS_LAST = 256  # the side's last packet was new data
FIRST_KNOWN = 1024  # FIRST_* holds the first transmission of what is unacknowledged
# LIMIT_CODE: the idle time that changes no maximum, as 13 bits of mantissa and 6 bits of exponent, rounded down. Fewer would let each idle
# time of a steady beat be looked at.
LIMIT_SHIFT = 12
LIMIT_BITS = 13
LIMIT_ONE = 1 << LIMIT_BITS
CONTENT_SHIFT = 31  # its bytes are wanted

# The full row: the connection. Words and ports of the two addresses in the order of their hashes; start of the idle time (-1 while not
# idle) and the packet before it; an idle time up to IDLE_LIMIT changes no maximum. ID is -1 for a connection that is not wanted.
ROW = 88
FIRST_LOW, SECOND_LOW, PORTS, STATE, IDLE_SINCE, IDLE_PACKET, IDLE_LIMIT, HISTORY = range(8)
ID, HASH, FIRST_HIGH, SECOND_HIGH, START_NS, SNAPPED, GAP_COUNT, LONGEST_GAP, SILENCE, HISTORY_MORE, LIMIT_CODE = range(40, 51)
# START_*: its first packet. CLOSING_*: the first FIN or RST. IDLE_BY: whose packet this idle time began with, 1 client, 2 server, 0 where
# the other had said nothing; known once STIRRED.
CLOSING_PACKET, CLOSING_NS, IDLE_BY, START_PACKET = range(51, 55)

# The full row: a side. BASE: sequence number of offset 0. NEXT: one above the highest offset sent (a FIN takes one).
# ACKED: what the peer acknowledged, -1 while a SYN is not. RECENT: identities and times of its last four segments.
SIDES = 8
SIDE = 16
BASE, NEXT, ACKED, LAST_NS, LAST_PACKET, PACKETS, BITS, WINDOW, RECENT = range(9)
# The last segment of new data (NEWEST_*); and the earliest known transmission since the last acknowledgement of what is unacknowledged
# (FIRST_*), if FIRST_PACKET is not 0: else the last one is it. Of the full row, these are what prediction writes.
FIRST_NS, NEWEST_NS, NEWEST_PACKET, FIRST_PACKET = range(12, 16)
# SYN_SEQ: sequence number of its SYN, FIN_OFFSET: offset of its FIN, -1 for none. NEWEST_OFFSET is right only where the peer never spoke.
# RESENT*: segments sent again since the last acknowledgement, the first and last of them. GAP_PROBES, QUIET_SINCE: of this idle time.
# FORGOTTEN: bytes of holes that are no longer listed. USUAL: (mark + 1) << 8 | hops of its first segment, or of the first that is no SYN;
# 0 before it. STUCK: 31 bits of ACKED as it was noted; what was sent again from there: its smallest segment (16 bits), how often (8); and
# how often that was acknowledged again (8).
SYN_SEQ, FIN_OFFSET, NEWEST_OFFSET, RESENT_FIRST, RETRANSMISSIONS, RESENT, RESENT_NS, RESENT_PACKET = range(48, 56)
PROBES, ANSWERED, GAP_PROBES, QUIET_SINCE, LONGEST_IDLE, FORGOTTEN, USUAL, STUCK = range(56, 64)

# What identifies the last so many packets, by their numbers: more than come within 5 ms.
SEEN = 1 << 15
# The memory of the packets of all connections that were not predicted: sets of so many.
SETS = 1 << 12
WAYS = 4

# Bits of STATE; the lowest 18 are the history letters that were noted (9 of the client, 9 of the server).
OPENED = 1 << 18  # a segment after the SYNs was seen
WANTED = 1 << 19  # its stream pieces are wanted
LINGERING = 1 << 20
GUESSED = 1 << 21  # which side is the client was guessed
STIRRED = 1 << 22  # packets crossed in this idle time
CLOSED_BY_CLIENT = 1 << 23  # both: not known
CLOSED_BY_SERVER = 1 << 24
SERVER_FIRST = 1 << 25  # guessed, and the first packet came from the server
CLIENT_SECOND = 1 << 26  # the second address is the client's
COPIED = 1 << 27  # a packet of it that is named (its identification, or a SYN) was captured twice at the same place

# Bits of BITS.
BASED = 1  # BASE is known
ACK_KNOWN = 2  # ACKED is known
DATA_SEEN = 4
FROM_START = 8  # offset 0 is the byte after the SYN
AWAITING = 16  # a probe has no answer yet
RESET = 32  # sent a RST
FINISHED = 64  # sent a FIN
RESENDING = 128  # RESENT is not 0
HOLED = 256  # parts of what it sent were not captured
SPOKEN = 512  # sent a segment that is neither SYN nor RST

# Zeek's history letters: bits 0 to 8 of each side's.
LETTERS = "SHADFRTWG"
LETTER_SYN, LETTER_SYN_ACK, LETTER_ACK, LETTER_DATA, LETTER_FIN, LETTER_RST, LETTER_AGAIN, LETTER_WINDOW, LETTER_GAP = (
    1 << bit for bit in range(9)
)

# Control bits of a segment (RFC 9293 3.1).
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
