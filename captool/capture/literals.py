"""Numbers that the compiled modules share. Compiled, they are literals of C, for nothing: scripts/compile_hot_path.py declares them."""

MASK31 = 0x7FFFFFFF
MASK32 = 0xFFFFFFFF
MASK33 = 0x1FFFFFFFF
MASK64 = 0xFFFFFFFFFFFFFFFF
HALF32 = 0x80000000
TWO32 = 0x100000000

# Odd numbers with bits all over, to mix by multiplication: the golden ratio (Knuth 6.4), and one of splitmix64.
SPREAD = 0x9E3779B1
MIX_A = 0x9E3779B97F4A7C15
MIX_B = 0xBF58476D1CE4E5B9

ETHERTYPE_IPV4 = 0x0800
ETHERTYPE_IPV6 = 0x86DD
TRANSPARENT_ETHERNET = 0x6558
SNAP = 0xAAAA0300
MAPPED_IPV4 = 0xFFFF00000000  # ::ffff:a.b.c.d, its lower half

# Of `Segments.shape`.
PLAIN = 1
BEYOND_IPV4 = 2
SELECTIVE = 4
LONGEST_PLAIN = 0xFFFF

# What a frame carries (packets/datagram.py).
TCP_SEGMENT = 0
NO_TCP = 1
UNDECODABLE = 2
FRAGMENT = 3
