from captool.capture.literals cimport BEYOND_IPV4, ETHERTYPE_IPV4, ETHERTYPE_IPV6, HALF32, LONGEST_PLAIN, MAPPED_IPV4, MASK32, MASK64, MIX_A, MIX_B, PLAIN, SELECTIVE, TWO32
from captool.capture.columns cimport octets
from captool.capture.frames cimport Frames
from captool.packets.extension_headers cimport after_extension_headers
from captool.packets.link cimport after_link_header, capture_place
from captool.packets.options cimport arrived_above, timestamp_mark
from captool.packets.segments cimport Segments
from captool.packets.tunnel cimport inside

cdef int read_headers(
    Frames frames, Segments segments, unsigned long long seed, long long shard, long long shards
) noexcept nogil
