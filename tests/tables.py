"""Tables for tests of findings and reports: a quiet, healthy connection, in which a test states only what matters."""

from typing import Any

from captool.capture.summary import CaptureSummary
from captool.direction import Moment, PerDirection
from captool.dockerapi.exchange import ContainerStream, DockerExchange, LostOutput
from captool.findings.tables import Connection, Settings, Tables, eventful
from captool.http.exchange import HttpExchange
from captool.middlebox.catalogue import load_catalogue
from captool.tcp.connection import Endpoint, Gap, Keepalive, TcpConnection, Unanswered
from captool.tls.summary import TlsSummary

S = 1_000_000_000
START = 1_700_000_000 * S
NONE = PerDirection(0, 0)


def capture(**changes: Any) -> CaptureSummary:
    return CaptureSummary(
        files=("trace.pcap",), format="pcap", link_types=("EN10MB",), packets=10, bytes=1000, start_ns=START, end_ns=START + 700 * S,
        truncated_file=False, snapped_packets=0, duplicate_packets=0, dropped_packets=None, tcp_packets=10, other_packets=0,
        undecodable_packets=0,
    )._replace(**changes)  # fmt: skip


def keepalive(status: str = "not-observable", **changes: Any) -> Keepalive:
    return Keepalive(status, probes=0, answered=0, interval_ns=None, longest_idle_ns=0)._replace(**changes)  # type: ignore[arg-type]


def gap(duration_s: float, *, silence_s: float | None = None, ended_by: str = "data", packet: int | None = 5, **changes: Any) -> Gap:
    duration = round(duration_s * S)
    return Gap(
        start_ns=START, duration_ns=duration, probes=NONE, longest_silence_ns=duration if silence_s is None else round(silence_s * S),
        after_packet=4, ended_by=ended_by, ended_by_packet=packet,  # type: ignore[arg-type]
    )._replace(**changes)  # fmt: skip


def tcp(**changes: Any) -> TcpConnection:
    gaps = changes.get("gaps", ())
    quiet = TcpConnection(
        id=0, client=Endpoint("10.0.0.1", 40000), server=Endpoint("10.0.0.2", 2376), client_guessed=False, start_ns=START,
        end_ns=START + 700 * S, packets=PerDirection(5, 5), payload_bytes=PerDirection(500, 500), handshake_seen=True, close="fin",
        closed_by="client", conn_state="SF", history="ShADadFf", keepalive=PerDirection(keepalive(), keepalive()), gaps=(), gap_count=len(gaps),
        longest_gap_ns=max((one.duration_ns for one in gaps), default=0), retransmissions=NONE, unacknowledged_bytes=NONE,
        acknowledged_offset=PerDirection(500, 500), unanswered=PerDirection(None, None), stream_holes=NONE, snapped_segments=0,
        last_packet=Moment(10, START + 700 * S), last_sent=PerDirection(Moment(10, START + 700 * S), Moment(9, START + 700 * S)),
    )  # fmt: skip
    return quiet._replace(**changes)


def dropped_tcp(**changes: Any) -> TcpConnection:
    """Idle for 601 s without a probe, then data sent into nothing for 60 s."""
    missing = keepalive("missing", longest_idle_ns=601 * S)
    sent = Unanswered(Moment(5, START + 602 * S), Moment(12, START + 662 * S), 162, 7, Moment(4, START))
    silent = tcp(
        close="silent-drop", closed_by=None, conn_state="S1", gaps=(gap(601),), keepalive=PerDirection(missing, missing),
        unanswered=PerDirection(None, sent), unacknowledged_bytes=PerDirection(0, 162), retransmissions=PerDirection(0, 7),
        last_sent=PerDirection(sent.peer_last_heard, sent.last),
    )  # fmt: skip
    return silent._replace(**changes)


def tls(**changes: Any) -> TlsSummary:
    return TlsSummary(
        version="TLS 1.2", cipher_suite="TLS_RSA_WITH_AES_256_CBC_SHA", cipher_suite_id=0x35, key_exchange="RSA", forward_secrecy=False,
        resumed=False, extended_master_secret=True, encrypt_then_mac=True, server_name=None, certificate_spki_sha256="ab" * 32,
        certificate_organization="root.runner-1", status="decrypted", reason=None, detail=None, secret_origin="runner-1/server-key.pem",
        finished_verified=True, plaintext_bytes=PerDirection(250, 300), alerts=(),
    )._replace(**changes)  # fmt: skip


def attach(*, lost: LostOutput | None = None, **changes: Any) -> DockerExchange:
    request, response = Moment(1, START), Moment(2, START + S)
    http = HttpExchange(
        method="POST", target="/v1.41/containers/ab12/attach?stream=1&stdout=1", request=request, request_headers=(), request_body_bytes=0,
        status=101, response=response, response_headers=(), response_body_bytes=0, end=None, complete=False, hijack="upgrade",
    )  # fmt: skip
    stream = ContainerStream("multiplexed", 0, 29, 0, Moment(3, START + 2 * S), lost)
    return DockerExchange(http=http._replace(**changes), endpoint="ContainerAttach", container="ab12", stream=stream)


def lost_output(text: bytes = b"result\n", stderr: int = 0) -> LostOutput:
    return LostOutput(stdout_bytes=len(text) - stderr, stderr_bytes=stderr, first=Moment(5, START + 602 * S), text=text)


def connection(tcp_connection: TcpConnection | None = None, **changes: Any) -> Connection:
    return Connection(tcp_connection or tcp(), "runner-1", None, ())._replace(**changes)


def tables(*connections: Connection, capture_summary: CaptureSummary | None = None, keys_given: bool = True, **settings: Any) -> Tables:
    return Tables(capture_summary or capture(), Settings(**settings), connections, eventful(connections), load_catalogue(), keys_given=keys_given)


def analysis(*connections: Connection, **settings: Any) -> Any:
    """The Analysis that these connections would give."""
    from captool.analysis import Analysis
    from captool.findings import find
    from captool.findings.verdict import verdict

    judged = tables(*connections, **settings)
    found = find(judged)
    return Analysis(judged.capture, judged.settings, (), (), connections, found, verdict(judged, found))
