from captool.capture.literals cimport MASK32
from captool.capture.frames cimport Frames
from captool.packets.link cimport u32
from captool.packets.options cimport timestamp_mark
from captool.packets.segments cimport Segments
