from captool.tcp.layout cimport *
from captool.tcp.named cimport new
from captool.tcp.side cimport (
    Side, awaited_data, keepalive, moment, payload_bytes, repeated_data, side_of, stream_holes, syn_again, unacknowledged_bytes,
    unanswered_data
)

cdef object describe(
    long long[::1] state, long long conn, object gaps, tuple probing, tuple shut, object seen_reset, tuple holes,
    long long keepalive_window_ns, tuple outages, tuple repeats, tuple syns, tuple overtaken
)
