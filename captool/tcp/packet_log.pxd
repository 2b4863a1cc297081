from captool.capture.literals cimport HALF32, MASK32, MASK64, MIX_A, MIX_B, TWO32
from captool.capture.frames cimport Frames
from captool.packets.segments cimport Segments
from captool.tcp.copies cimport plain_mark
from captool.tcp.packet_blocks cimport PacketBlocks
