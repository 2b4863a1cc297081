from captool.capture.literals cimport MASK31, MASK32, SPREAD
from captool.tcp.copies cimport place_of, plain_mark
from captool.tcp.idle cimport is_late_probe, is_probe, probe, stir, stop_idling
from captool.tcp.layout cimport *
from captool.tcp.quiet cimport Probing
from captool.tcp.rows cimport Rows
from captool.tcp.sequence cimport (
    acknowledge, irregular_data, missing_before, new_data, note_answer, note_stuck, note_syn, seq_delta, synchronise
)
from captool.tcp.teardown cimport finish_side, note_closing, note_reset, outlive, speaks_for_its_side, start_linger

cdef int segment(
    Rows rows, long long place, long long ts, long long packet, long long seq, long long ack, long long flags, long long window,
    long long mark, long long identity, long long hops, long long length, long long captured, long long start,
    bint selective
)
