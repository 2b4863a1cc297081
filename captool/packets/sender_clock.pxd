from captool.capture.frames cimport Frames
from captool.packets.segments cimport Segments
