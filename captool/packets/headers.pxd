from captool.capture.literals cimport BEYOND_IPV4, ETHERTYPE_IPV4, FRAGMENT, HALF32, LONGEST_PLAIN, MAPPED_IPV4, MASK32, MASK64, MIX_A, MIX_B, NO_TCP, PLAIN, SELECTIVE, TWO32, UNDECODABLE
from captool.capture.columns cimport octets, u16, u32
from captool.capture.frames cimport Frames
from captool.packets.link cimport capture_place
from captool.packets.options cimport arrived_above, timestamp_mark
from captool.packets.segments cimport Segments

cdef extern from *:
    """
    #if defined(__GNUC__) || defined(__clang__)
    #define captool_fetch_header(place) (__builtin_prefetch(place), __builtin_prefetch((place) + 64))
    #else
    #define captool_fetch_header(place) ((void)(place))
    #endif
    """
    void fetch "captool_fetch_header"(unsigned char *place) nogil  # the lines of the cache that most headers are in


cdef int read_headers(
    Frames frames, Segments segments, unsigned long long seed, long long shard, long long shards
) noexcept nogil
