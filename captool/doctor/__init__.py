"""What can be known of live connections without a capture: sockets, kernel, programs, cloud, one handshake."""
