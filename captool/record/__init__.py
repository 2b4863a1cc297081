"""The recorder around tcpdump: a trace, the keys that it will need, and a manifest of how it was made."""
