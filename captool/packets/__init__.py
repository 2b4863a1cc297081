"""Packet bytes to one row a TCP segment (compiled)."""
