from captool.tcp.layout cimport *
