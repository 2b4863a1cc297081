"""The command line: click handlers of a few lines each."""
