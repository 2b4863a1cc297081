"""What can go wrong that the user can put right: one line, the reason and the remedy, one exit code.

Wire bytes that do not parse are not errors of this kind: each layer keeps its own `DecodeError` inside and
turns it into a value of the analysis (a reason, a count, a finding). Anything else that escapes is a bug and
keeps its traceback.
"""


class CaptoolError(Exception):
    """An expected failure; the command line prints its one line on stderr and leaves with `exit_code`."""

    exit_code = 2


class UsageError(CaptoolError):
    """The call cannot be carried out as it was written (exit code 2)."""


class CaptureError(CaptoolError):
    """A capture that cannot be read at all: missing, unreadable, empty or of an unknown format (exit code 3)."""

    exit_code = 3


class KeyMaterialError(CaptoolError):
    """Key material that was named by the user and cannot be used (exit code 3)."""

    exit_code = 3


class NothingMatchedError(CaptoolError):
    """The capture was read, and nothing in it is what was asked for (exit code 4)."""

    exit_code = 4


class MissingToolError(CaptoolError):
    """A program or a privilege that the work needs is not there, or a host that was named does not answer (exit code 5)."""

    exit_code = 5


class DecodeError(Exception):
    """Bytes from the wire do not parse. Internal: caught where a layer meets its input, never shown as such."""
