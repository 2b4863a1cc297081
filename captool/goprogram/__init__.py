"""Go programs as ELF files: which Go built them, and where a function begins; nothing of the program is run."""
