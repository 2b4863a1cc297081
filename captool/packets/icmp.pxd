from captool.capture.frames cimport Frames
from captool.capture.literals cimport ETHERTYPE_IPV4, ETHERTYPE_IPV6, MASK32
from captool.packets.link cimport after_link_header, u16, u32
from captool.packets.segments cimport Segments
