"""Files that other programs read: the key log of a capture, and a pcapng with its secrets inside."""
