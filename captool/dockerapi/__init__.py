"""Docker Engine API: endpoint names, hijacked streams, stdcopy frames."""
