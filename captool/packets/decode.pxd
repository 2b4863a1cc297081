from captool.packets.link cimport after_link_header
