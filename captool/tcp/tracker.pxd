from captool.capture.frames cimport Frames
from captool.capture.literals cimport SELECTIVE
from captool.packets.segments cimport Segments
from captool.tcp.closing cimport describe
from captool.tcp.idle cimport stop_idling
from captool.tcp.layout cimport *
from captool.tcp.prediction cimport predicted
from captool.tcp.rows cimport Rows
from captool.tcp.segment cimport segment
from captool.tcp.table cimport ConnectionTable
from captool.tcp.teardown cimport ended_lingering, starts_anew
