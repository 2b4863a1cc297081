"""The program `captool`, also as `python -m captool`: Ctrl-C ends it without a traceback at any moment, while it is being imported too."""

import os
import signal
import sys

INTERRUPTED = 130


def main() -> None:
    """Run the command line."""
    try:
        try:
            from captool.cli.main import main as run

            run()
        finally:
            # What is left to do is the interpreter's, which would print a traceback.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
    except KeyboardInterrupt:
        sys.stderr.write("captool: interrupted\n")
        sys.stderr.flush()
        os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
