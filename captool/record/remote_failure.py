"""What ssh says when it fails, and what to do about it. The sentences are those of OpenSSH 7 to 10."""

import re
from typing import Final

from captool.errors import CaptoolError, MissingToolError, UsageError

_KILLED_OR_LOST: Final = 255  # ssh(1): 255 if an error occurred; else the exit status of the remote program
_LOST: Final = re.compile(
    r"Timeout, server|closed by remote host|client_loop|packet_write_wait|Connection reset|Broken pipe|Killed by signal|Write failed"
)

# What to look for, of which kind the failure is, and what to say. A changed host key is told before the refusal that follows from it.
_REASONS: Final[tuple[tuple[str, type[CaptoolError], str], ...]] = (
    (
        "HOST IDENTIFICATION HAS CHANGED",
        MissingToolError,
        "its host key is not the one that is known here; compare the fingerprint with the host's own, then remove the old one: "
        "ssh-keygen -R HOST",
    ),
    (
        "Host key verification failed|host key is known for",
        MissingToolError,
        "its host key is not known here; run {by_hand} once on a terminal, and compare the fingerprint with the host's own",
    ),
    (
        r"Permission denied[^\n]*|Too many authentication failures",
        MissingToolError,
        "ssh is not let in without a question ({found}); load a key into the agent, or install one there: ssh-copy-id; "
        "on a terminal ssh may ask",
    ),
    ("Could not resolve hostname", UsageError, "{last}; name a host, or a Host of your ssh configuration"),
    (
        "Connection refused|timed out|No route to host|is unreachable|Connection closed|Connection reset",
        MissingToolError,
        "cannot be reached by ssh: {last}; try: {by_hand} true",
    ),
    ("Bad configuration option|terminating,", UsageError, "ssh does not understand its configuration: {last}"),
)


class ConnectionLostError(MissingToolError):
    """The ssh connection ended before the recording did (exit code 5)."""


def has_lost_connection(code: int | None) -> bool:
    """Whether this exit code of ssh is its own (or it was killed, or still hangs), not that of tcpdump."""
    return code is None or code == _KILLED_OR_LOST or code < 0


def connection_failure(said: str, shown: str, by_hand: str, code: int | None) -> CaptoolError:
    """Why there is no connection to `shown`, or none to a shell.

    `by_hand` is the command that the user may try, `code` ssh's exit code, None if it was not waited for any longer.
    """
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    last = lines[-1].removeprefix("ssh: ").rstrip(".") if lines else "it said nothing"
    for pattern, kind, meaning in _REASONS:
        if (found := re.search(pattern, said)) is not None:
            return kind(f"{shown}: " + meaning.format(last=last, found=found[0].strip().rstrip("."), by_hand=by_hand))
    if code is None:
        return MissingToolError(f"{shown}: no answer by ssh in time ({last}); try: {by_hand} true")
    if has_lost_connection(code):
        return MissingToolError(f"{shown}: ssh ended: {last}; try: {by_hand} true")
    return MissingToolError(f"{shown}: ssh gave no shell there ({last}); captool needs an account that may run sh")


def lost_connection(said: str, shown: str) -> ConnectionLostError:
    """The connection ended in the middle of a recording."""
    why = [f" ({line.strip().rstrip('.')})" for line in said.splitlines() if _LOST.search(line)]
    return ConnectionLostError(
        f"the ssh connection to {shown} was lost{why[-1] if why else ''}; what came until then is whole, and tcpdump there ends by itself"
    )
