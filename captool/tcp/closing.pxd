from captool.tcp.layout cimport *
from captool.tcp.quiet cimport Probing

cdef object describe(
    long long[::1] state, long long conn, object gaps, tuple probing, tuple shut, object seen_reset, tuple holes, long long keepalive_window_ns
)
