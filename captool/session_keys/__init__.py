"""Session keys of unmodified Go programs, taken by the kernel while they run, written as a key log."""
