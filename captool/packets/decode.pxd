from captool.capture.frames cimport Frames
from captool.packets.link cimport after_link_header, capture_place
from captool.packets.segments cimport Segments
from captool.packets.tunnel cimport inside
