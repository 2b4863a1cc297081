from captool.capture.columns cimport octets
from captool.capture.frames cimport Frames
from captool.packets.extension_headers cimport after_extension_headers
from captool.packets.link cimport after_link_header, capture_place
from captool.packets.options cimport timestamp_mark
from captool.packets.segments cimport Segments
from captool.packets.tunnel cimport inside

cdef int read_headers(
    Frames frames, Segments segments, unsigned long long seed, long long shard, long long shards
) noexcept nogil
