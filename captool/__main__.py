"""The program `captool`, also as `python -m captool`: Ctrl-C ends it without a traceback at any moment, while it is being imported too."""

import os
import sys

TYPE_CHECKING = False  # as in captool/__init__.py
if TYPE_CHECKING:
    from sys import UnraisableHookArgs

INTERRUPTED = 130
AGAIN_S = 0.01


def main() -> None:
    """Run the command line."""
    try:
        import signal

        sys.unraisablehook = interrupt_again
        try:
            from captool.cli.main import main as run

            run()
        finally:
            # What is left to do is the interpreter's, which would print a traceback.
            if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
                signal.signal(signal.SIGINT, signal.SIG_DFL)
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            leave(ended.code or 0)
        raise
    except KeyboardInterrupt:
        os.write(2, b"captool: interrupted\n")
        os._exit(INTERRUPTED)


def leave(code: int) -> None:
    """End the process as the interpreter does, but without freeing each object, which takes a tenth of a short run's time.

    Returns where something is left to do that only the interpreter can: wait for threads, or tell of an output that cannot be written.
    """
    import atexit
    import threading

    if threading.active_count() > 1:
        return
    atexit._run_exitfuncs()  # noqa: SLF001 - what the interpreter would call now
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        return
    os._exit(code)


def interrupt_again(unraisable: "UnraisableHookArgs") -> None:
    """A Ctrl-C that came where no exception can be raised, as in some callbacks of the import system, comes again a moment later."""
    import signal

    if unraisable.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(unraisable)
        return
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, AGAIN_S)


if __name__ == "__main__":
    main()
