"""The cases that the lab can play, one for each folder of fixtures/."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scenario:
    """What a run consists of. `suite` is an OpenSSL name for the TLS front and the lab's own client; None means the docker client.

    The docker client talks to dockerd's own TLS, or with `plain` to its port without TLS; with `many_requests` a client does that asks
    many things on one connection. `key_log` is written by the lab's own client;
    `session_keys` is what the recorder takes of the unmodified one. `keepalive_s` (idle, interval) is the client's, `front_keepalive_s`
    the TLS front's. `half_closed_timeout_s`, `resets`, `lossy` and `mtu_to_client` are the firewall's, beside
    `established_timeout_s`. `client_buffer` is how many bytes the client's sockets hold, `read_timeout_s` how long the client waits for
    output. `incidents` come so many seconds after the container's start. `settle_s` is how long recording goes on after the container
    has exited, so that retransmissions are seen; with `no_job` the client gets nowhere, and it is how long recording goes on after the
    client's start. `rotate_s` is for a second recording on the server's side, into files that change.
    """

    job: str
    suite: str | None
    established_timeout_s: int = 600
    keepalive_s: tuple[int, int] | None = None
    poll_s: float = 0
    key_log: bool = False
    session_keys: str | None = None
    settle_s: float = 1.5
    sides: tuple[str, ...] = ("server",)
    plain: bool = False
    front_keepalive_s: tuple[int, int] | None = None
    half_closed_timeout_s: int | None = None
    resets: bool = False
    lossy: bool = False
    client_buffer: int | None = None
    read_timeout_s: float | None = None
    incidents: tuple[tuple[float, str], ...] = ()
    rotate_s: int | None = None
    many_requests: bool = False
    mtu_to_client: int | None = None
    no_job: bool = False


# All output after the silence comes at once: what is written later than the first retransmission waits in the server's kernel,
# never seen on the wire.
LONG_SILENCE = """\
echo 'Cloning repository...'; echo '$ make test'; sleep 601
echo 'ok 1 - parser'; echo 'ok 2 - network'; echo 'ok 3 - storage'; echo 'warning: 2 tests skipped' >&2
echo 'Uploading artifacts...'; echo 'Job succeeded'"""

QUIET_FOR = "echo start; sleep {}; echo result; echo oops >&2"
FEW_LINES = "for line in 1 2 3 4 5 6 7 8; do echo line $line; sleep 0.2; done; echo oops >&2"
BOTH = ("server", "client")

SCENARIOS = {
    # the story itself, at its real time scale
    "silent-drop": Scenario(LONG_SILENCE, "AES256-SHA", poll_s=30, settle_s=75, sides=BOTH),
    "idle-but-healthy": Scenario(QUIET_FOR.format(12), "AES256-SHA"),
    "ecdhe-no-secrets": Scenario(QUIET_FOR.format(2), "ECDHE-RSA-AES128-GCM-SHA256"),
    "ecdhe-key-log": Scenario(QUIET_FOR.format(2), "ECDHE-RSA-AES128-GCM-SHA256", key_log=True),
    "stock-docker-tls13": Scenario(QUIET_FOR.format(2), None, session_keys="auto"),
    # just below and just above what the firewall remembers
    "just-below": Scenario(QUIET_FOR.format(8), "AES256-SHA", established_timeout_s=10, sides=BOTH),
    "just-above": Scenario(QUIET_FOR.format(12), "AES256-SHA", established_timeout_s=10, poll_s=3, settle_s=8, sides=BOTH),
    # probes: of the client, of the server, of both, of the client but too late
    "keepalive-saves": Scenario(QUIET_FOR.format(25), "AES128-GCM-SHA256", established_timeout_s=10, keepalive_s=(4, 4), sides=BOTH),
    "keepalive-server": Scenario(QUIET_FOR.format(25), "AES128-GCM-SHA256", established_timeout_s=10, front_keepalive_s=(4, 4)),
    "keepalive-both": Scenario(QUIET_FOR.format(50), None, established_timeout_s=20, session_keys="auto"),
    "keepalive-too-slow": Scenario(
        QUIET_FOR.format(25), "AES128-GCM-SHA256", established_timeout_s=10, keepalive_s=(20, 20), poll_s=3, settle_s=8, sides=BOTH
    ),
    # other ways to end
    "reset-on-reuse": Scenario(QUIET_FOR.format(8), "AES256-SHA", established_timeout_s=6, resets=True, poll_s=2, settle_s=3, sides=BOTH),
    "half-close": Scenario(QUIET_FOR.format(10), None, plain=True, half_closed_timeout_s=5, settle_s=8, sides=BOTH),
    "client-timeout": Scenario(QUIET_FOR.format(8), "AES256-SHA", read_timeout_s=5, sides=BOTH),
    "dead-peer": Scenario(
        QUIET_FOR.format(27), "AES256-SHA", keepalive_s=(2, 2), front_keepalive_s=(2, 2), incidents=((5, "path-dies"),), sides=BOTH
    ),
    "stopped-reader": Scenario(
        "echo start; sleep 2; seq 1 12000; sleep 9; echo result; echo oops >&2",
        "AES256-SHA",
        client_buffer=16384,
        incidents=((1, "client-stops"), (8, "client-continues")),
        sides=BOTH,
    ),
    "daemon-closed": Scenario(
        "echo start; for line in 1 2 3 4 5 6 7 8; do echo $line; sleep 0.5; done", "AES256-SHA", incidents=((2.2, "front-dies"),), sides=BOTH
    ),
    "capture-ended-first": Scenario(QUIET_FOR.format(8), "AES256-SHA", incidents=((4, "recording-stops"),)),
    # large packets vanish on their way to the client: output, and already the server's certificate
    "mtu-black-hole": Scenario("echo start; sleep 1; seq 1 1500; sleep 6", None, plain=True, mtu_to_client=1300, settle_s=12, sides=BOTH),
    "mtu-black-hole-handshake": Scenario(
        "echo start", "ECDHE-RSA-AES128-GCM-SHA256", mtu_to_client=1300, no_job=True, settle_s=14, sides=BOTH
    ),
    # the same things recorded in other ways, or on a bad path
    "rotated": Scenario(QUIET_FOR.format(25), "AES256-SHA", keepalive_s=(4, 4), rotate_s=7),
    "any-interface": Scenario(QUIET_FOR.format(7), "AES256-SHA", keepalive_s=(3, 3), sides=("any", "towards-client", "towards-server")),
    # many exchanges on one connection, from which tests take packets out
    "many-requests": Scenario(FEW_LINES, None, plain=True, many_requests=True, settle_s=3),
    "many-requests-tls13": Scenario(FEW_LINES, None, key_log=True, many_requests=True, settle_s=3),
    "lossy-path": Scenario("echo start; seq 1 9000; sleep 2; seq 9001 14000; echo oops >&2", "AES128-GCM-SHA256", lossy=True, sides=BOTH),
}
