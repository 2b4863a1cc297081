from captool.capture.frames cimport Frames, Stage
from captool.packets.headers cimport read_headers
from captool.packets.segments cimport Segments
