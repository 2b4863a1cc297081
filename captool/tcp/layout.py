"""Where the tracker keeps what: one row of 64-bit numbers for each open connection.

A row is `ROW` numbers: the connection's own, then two blocks for the client and the server as senders. What every packet needs
stands together in single cache lines of 64 bytes (8 numbers), because with thousands of connections fetching the lines is
what tracking costs. A field of the connection is `state[row + FIELD]`, a field of a side `state[side + FIELD]` with
`side = row + SIDES + SIDE * direction` (the direction in which it sends). Offsets are stream offsets of what the side sends.
"""

ROW = 88
SIDES = 8
SIDE = 16

# The connection, hot: lower words of the two addresses, first port << 16 | second port, state bits; start of the idle time, -1
# while not idle; the packet after which it was idle; an idle time up to this changes no maximum; the first history letters.
FIRST_LOW, SECOND_LOW, PORTS, STATE, IDLE_SINCE, IDLE_PACKET, IDLE_LIMIT, HISTORY = range(8)
# The connection, cold. ID is -1 for a connection that is not wanted.
ID, HASH, FIRST_HIGH, SECOND_HIGH, START_NS, SNAPPED, GAP_COUNT, LONGEST_GAP, SILENCE, HISTORY_MORE = range(40, 50)

# A side, hot. BASE: sequence number of offset 0. NEXT: one above the highest offset sent (a FIN takes one). ACKED: what the
# peer acknowledged, -1 while a SYN is not.
BASE, NEXT, ACKED, LAST_NS, LAST_PACKET, PACKETS, BITS, WINDOW = range(8)
# The identities and times of the last four segments (32 bits each), to know a duplicate.
RECENT = 8
# The last segment of new data; and the first offset of the earliest transmission of unacknowledged data that is known,
# -1 where that is the last segment of new data itself.
NEWEST_OFFSET, NEWEST_NS, NEWEST_PACKET, FIRST_OFFSET = range(12, 16)
# A side, cold. SYN: its sequence number, FIN: its offset, -1 for none. RESENT_*: segments sent again since the last
# acknowledgement. GAP_PROBES, QUIET_SINCE: of this idle time. FORGOTTEN: bytes of holes that are no longer listed.
SYN_SEQ, FIN_OFFSET, FIRST_NS, FIRST_PACKET, RETRANSMISSIONS, RESENT, RESENT_NS, RESENT_PACKET = range(48, 56)
PROBES, ANSWERED, GAP_PROBES, QUIET_SINCE, LONGEST_IDLE, FORGOTTEN = range(56, 62)

# Bits of STATE; the lowest 18 are the history letters that were noted (9 of the client, 9 of the server).
OPENED = 1 << 18  # a segment after the SYNs was seen
WANTED = 1 << 19  # its stream pieces are wanted
LINGERING = 1 << 20
GUESSED = 1 << 21  # which side is the client was guessed
STIRRED = 1 << 22  # packets crossed in this idle time
IPV6 = 1 << 23
CLOSED_BY_CLIENT = 1 << 24
CLOSED_BY_SERVER = 1 << 25
SERVER_FIRST = 1 << 26  # guessed, and the first packet came from the server
SWAPPED_BIT = 27  # number of the bit that says that the second address is the client's

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

# Zeek's history letters: bits 0 to 8 of each side's.
LETTERS = "SHADFRTWG"
LETTER_SYN, LETTER_SYN_ACK, LETTER_ACK, LETTER_DATA, LETTER_FIN, LETTER_RST, LETTER_AGAIN, LETTER_WINDOW, LETTER_GAP = (
    1 << bit for bit in range(9)
)
