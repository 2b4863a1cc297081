"""TLS records to handshake, keys and authenticated plaintext; takes bytes and offsets, knows nothing of TCP."""
