"""The cases that the lab can play, one for each folder of fixtures/."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Scenario:
    """What a run consists of. `suite` is an OpenSSL name for the TLS front; None means dockerd's own TLS and the docker client.

    `key_log` is written by the lab's own client; `session_keys` is what the recorder takes of the unmodified one. `settle_s` is how long recording goes on after the container has exited, so that retransmissions are seen.
    """

    job: str
    suite: str | None
    established_timeout_s: int = 600
    keepalive_s: tuple[int, int] | None = None
    poll_s: float = 0
    key_log: bool = False
    session_keys: str | None = None
    settle_s: float = 1.5
    sides: tuple[Literal["client", "server"], ...] = ("server",)


# All output after the silence comes at once: what is written later than the first retransmission waits in the server's kernel,
# never seen on the wire.
LONG_SILENCE = """\
echo 'Cloning repository...'; echo '$ make test'; sleep 601
echo 'ok 1 - parser'; echo 'ok 2 - network'; echo 'ok 3 - storage'; echo 'warning: 2 tests skipped' >&2
echo 'Uploading artifacts...'; echo 'Job succeeded'"""

SCENARIOS = {
    # the story itself, at its real time scale
    "silent-drop": Scenario(LONG_SILENCE, "AES256-SHA", poll_s=30, settle_s=75, sides=("server", "client")),
    "keepalive-saves": Scenario(
        "echo start; sleep 25; echo result; echo oops >&2",
        "AES128-GCM-SHA256",
        established_timeout_s=10,
        keepalive_s=(4, 4),
        sides=("server", "client"),
    ),
    "idle-but-healthy": Scenario("echo start; sleep 12; echo result; echo oops >&2", "AES256-SHA"),
    "ecdhe-no-secrets": Scenario("echo start; sleep 2; echo result; echo oops >&2", "ECDHE-RSA-AES128-GCM-SHA256"),
    "ecdhe-key-log": Scenario("echo start; sleep 2; echo result; echo oops >&2", "ECDHE-RSA-AES128-GCM-SHA256", key_log=True),
    "stock-docker-tls13": Scenario("echo start; sleep 2; echo result; echo oops >&2", None, session_keys="auto"),
}
