"""The command line: click handlers of a few lines each."""

import gc

# Results grow and stay, and so do imported modules: going through them again and again finds nothing.
gc.set_threshold(500_000, 50, 100)
