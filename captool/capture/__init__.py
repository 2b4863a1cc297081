"""Capture files to chunks of packet bytes with timestamps."""
