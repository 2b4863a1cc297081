"""A diagnosis for a terminal: the verdict on each connection first, then what it rests on."""

import textwrap
from collections.abc import Iterator

from captool.doctor.diagnosis import Diagnosis
from captool.doctor.handshake import Attempt
from captool.doctor.keepalive import SocketKeepalive
from captool.doctor.keepalive_by_version import MEANING, AskedFor
from captool.doctor.path import OnPath
from captool.doctor.programs import ProgramReport
from captool.doctor.server import ServerReport
from captool.doctor.sockets import Owner, SocketReport
from captool.report.printable import printable, utc
from captool.session_keys.live_sockets import LISTEN, RETRANSMIT_TIMER, SOCKET_TIMER, WINDOW_PROBE_TIMER, LiveSocket
from captool.units import counted, seconds, size

WIDTH = 110
LABEL = 12
MAX_SHOWN = 50  # sockets; all of them are in the JSON report
NEEDS = {
    "kept-alive": "are kept alive by probes",
    "probes-too-slow": "send probes too rarely",
    "will-be-cut": "will be cut when they are idle",
    "may-be-cut": "may be cut when they are idle",
    "no-timeout-known": "without probes and without a known middlebox",
    "not-observable": "cannot be judged now",
}
Lines = Iterator[str]


def render_text(diagnosis: Diagnosis, width: int = WIDTH) -> str:
    """The report as text with a final newline, in lines of `width` columns; nothing in it acts on a terminal."""
    lines = [f"captool doctor, {utc(diagnosis.now_ns)[:19]} UTC"]
    for part in (_sockets, _path, _kernel, _programs, _session_keys, _server, _missing):
        found = [line for text in part(diagnosis) for line in _wrapped(text, width)]
        if found:
            lines += ["", *found]
    return "\n".join(lines) + "\n"


def end_of(end: tuple[str, int]) -> str:
    """Address and port as one word."""
    return f"[{end[0]}]:{end[1]}" if ":" in end[0] else f"{end[0]}:{end[1]}"


def _wrapped(text: str, width: int) -> list[str]:
    """Printable lines; what is too long goes on below its own beginning."""
    safe = printable(text)
    leading = len(safe) - len(safe.lstrip())
    indent = " " * (leading if leading > LABEL else LABEL + leading if leading else 0)
    return textwrap.wrap(safe, width, subsequent_indent=indent, break_on_hyphens=False, drop_whitespace=True) or [safe]


def _row(label: str, text: str, deeper: int = 2) -> str:
    return f"{' ' * deeper}{label:<{LABEL}}{text}"


def _sockets(diagnosis: Diagnosis) -> Lines:
    ports = ", ".join(map(str, diagnosis.questions.ports))
    connections = _one_end_each(diagnosis)
    listeners = [each for each in diagnosis.sockets if each.socket.state == LISTEN]
    if not diagnosis.sockets:
        yield f"No TCP socket with port {ports} (at either end) is to be seen."
        return
    verdicts = [each.outlook.verdict for each in connections if each.outlook is not None]
    counts = [f"{verdicts.count(verdict)} {words}" for verdict, words in NEEDS.items() if verdict in verdicts]
    yield f"Sockets with port {ports}: {counted(len(verdicts), 'open connection')}{': ' if counts else ''}{', '.join(counts)}"
    reports = {each.socket: each for each in diagnosis.sockets}
    for each in connections[:MAX_SHOWN]:
        yield from _socket(each, None if each.other is None else reports.get(each.other))
    if len(connections) > MAX_SHOWN:
        yield f"  and {len(connections) - MAX_SHOWN} more (--format json has them all)"
    for each in listeners[:MAX_SHOWN]:
        yield f"  {end_of(each.socket.local)}  listening  {owner_words(each.owner, elsewhere=each.elsewhere)}"


def _one_end_each(diagnosis: Diagnosis) -> list[SocketReport]:
    """The connections; of one whose both ends are sockets of this machine the client's end alone, or the first."""
    kept: dict[LiveSocket, SocketReport] = {}
    for each in diagnosis.sockets:
        if each.socket.state == LISTEN:
            continue
        if each.other not in kept:
            kept[each.socket] = each
        elif each.socket.remote[1] in diagnosis.questions.ports:
            del kept[each.other]
            kept[each.socket] = each
    return list(kept.values())


def _socket(each: SocketReport, other: SocketReport | None) -> Lines:
    head = f"  {end_of(each.socket.local)} ↔ {end_of(each.socket.remote)}  {each.state}"
    yield f"{head}  {owner_words(each.owner, elsewhere=each.elsewhere)}"
    if each.keepalive is None or each.outlook is None:
        return
    yield _row("verdict", each.outlook.sentence, 4)
    yield _row("keepalive", keepalive_words(each.keepalive), 4)
    if state := condition_words(each):
        yield _row("state", state, 4)
    if other is not None and other.keepalive is not None:
        words = f"{owner_words(other.owner, elsewhere=other.elsewhere)}: {keepalive_words(other.keepalive)}; {condition_words(other)}"
        yield _row("other end", words, 4)


def owner_words(owner: Owner | None, *, elsewhere: bool = False) -> str:
    """The program, process and container of a socket."""
    if owner is None:
        return "owner not seen" + (" (another network namespace)" if elsewhere else "")
    where = f", container {owner.container}" if owner.container else ", in a container" if owner.contained else ""
    namespace = ", another network namespace" if elsewhere else ""
    return f"{owner.program.rpartition('/')[2] or owner.program} (pid {owner.process}{where}{namespace})"


def keepalive_words(keepalive: SocketKeepalive) -> str:
    """What one end does, and what that is known from."""
    if keepalive.status == "not-observable":
        return f"not observable: {keepalive.why}"
    if keepalive.status == "missing":
        read = "SO_KEEPALIVE is off" if keepalive.evidence == "socket options" else "it has no keepalive timer"
        return f"none: {read}"
    fires = "" if keepalive.timer_ns is None else f"; the timer fires in {seconds(keepalive.timer_ns)}"
    options = keepalive.options
    if options is None:
        return f"on: it has a keepalive timer{fires}"
    ends = options.idle_ns + options.interval_ns * options.probes
    gives_up = f"gives up {seconds(ends)} after the last answer"
    if options.user_timeout_ns:
        gives_up = f"TCP_USER_TIMEOUT {seconds(options.user_timeout_ns)}"
    return f"on: after {seconds(options.idle_ns)} of silence, then every {seconds(options.interval_ns)}; {gives_up}{fires}"


def condition_words(each: SocketReport) -> str:
    """How long it has been silent, and what is stuck."""
    told = []
    condition = each.socket.condition
    if each.silent_ns is not None:
        told.append(f"no data and no acknowledgement for {seconds(each.silent_ns)}" if each.silent_ns else "data just now")
    if condition is None:
        return "; ".join(told)
    if condition.unacknowledged:
        told.append(f"{counted(condition.unacknowledged, 'segment')} not acknowledged")
    if condition.timer == SOCKET_TIMER and condition.attempts:
        told.append(f"{counted(condition.attempts, 'keepalive probe')} without an answer: the path or the other end may be gone already")
    if condition.timer == RETRANSMIT_TIMER and condition.attempts:
        told.append(f"retransmitted {counted(condition.attempts, 'time')} without an answer: the path or the other end may be gone already")
    elif condition.retransmissions:
        told.append(f"{counted(condition.retransmissions, 'retransmission')} so far")
    if condition.timer == WINDOW_PROBE_TIMER or condition.peer_window == 0:
        told.append("the other end's window is 0: it does not read")
    if condition.send_queue:
        told.append(f"{size(condition.send_queue)} not delivered")
    if condition.receive_queue:
        told.append(f"{size(condition.receive_queue)} not read by its program")
    return "; ".join(told)


def _path(diagnosis: Diagnosis) -> Lines:
    cloud = diagnosis.cloud
    if cloud.rule is not None:
        yield f"Cloud: {cloud.rule.name} ({cloud.evidence})"
    yield f"Middleboxes judged by ({diagnosis.path.why})"
    for one in diagnosis.path.middleboxes:
        yield f"  {seconds(one.entry.timeout_ns):<24}{_middlebox(one)}"


def _middlebox(one: OnPath) -> str:
    counts = {True: "probes count", False: "ignores probes", None: "whether probes count is not known"}[one.entry.probe_resets]
    return f"{one.entry.name} [{one.entry.id}]; {'always on the path' if one.certain else 'if it is on the path'}; {counts}"


def _kernel(diagnosis: Diagnosis) -> Lines:
    keepalive, conntrack = diagnosis.kernel.keepalive, diagnosis.kernel.conntrack
    yield "Kernel"
    if keepalive is None:
        yield _row("keepalive", "net.ipv4.tcp_keepalive_* cannot be read here")
    else:
        yield _row(
            "keepalive",
            f"tcp_keepalive_time {seconds(keepalive.time_ns)}, intvl {seconds(keepalive.interval_ns)}, probes {keepalive.probes}: they "
            "act on sockets whose program sets SO_KEEPALIVE and no times of its own, and on no other; a program that does not ask for "
            "probes sends none, whatever they are",
        )
    if conntrack is None:
        yield _row("conntrack", "not loaded")
        return
    timeouts = ", ".join(f"{name} {seconds(value)}" for name, value in conntrack.timeouts_ns.items())
    tracked = "" if conntrack.tracked is None else f"; {counted(conntrack.tracked, 'connection')} tracked now"
    loose = {
        True: "; it takes up unknown connections in the middle (loose)",
        False: "; it does not take up unknown connections (not loose)",
    }
    yield _row("conntrack", f"{timeouts}{tracked}{'' if conntrack.loose is None else loose[conntrack.loose]}")


def _programs(diagnosis: Diagnosis) -> Lines:
    if diagnosis.programs:
        yield "Programs"
    for each in diagnosis.programs:
        yield f"  {program_words(each)}"
        for asked in each.keepalive:
            yield _row("", asked_words(asked), 4)


def program_words(each: ProgramReport) -> str:
    """Name, version, Go, processes."""
    version = (
        f"{each.name} {each.version}"
        if each.version
        else f"{each.name}, version not known ({each.not_known})"
        if each.not_known
        else each.name
    )
    said = " (by --version)" if each.version_from == "--version" else ""
    built = f"built with {each.go}" if each.go else "built with Go 1.12 or older" if each.before_build_info else "no Go program"
    runs = f"; runs as {', '.join(map(str, each.processes))}" if each.processes else ""
    return f"{version}{said}, {built}; {each.program.shown}{runs}"


def asked_words(asked: AskedFor) -> str:
    """What its version asks for on one kind of connection."""
    probes = f"a probe every {asked.seconds} s" if asked.seconds else "NO PROBES"
    assumed = f", if it was built with Go {asked.assumed_go} as the official one" if asked.assumed_go else ""
    return f"{MEANING[asked.kind]}: {probes}{assumed}  [{asked.source}]"


def _session_keys(diagnosis: Diagnosis) -> Lines:
    tracing = diagnosis.tracing
    yield "Session keys (captool record --session-keys)"
    lockdown = f"; kernel lockdown: {tracing.lockdown}" if tracing.lockdown not in {None, "none"} else ""
    yield _row("machine", f"{'uprobe events can be set' if tracing.ready else tracing.obstacle}{lockdown}")
    for each in diagnosis.programs:
        yield _row("yes" if each.keys else "no", each.program.shown if each.keys else f"{each.program.shown}: {each.keys_why}")


def _server(diagnosis: Diagnosis) -> Lines:
    server = diagnosis.server
    if server is None:
        return
    yield f"Server {end_of((server.host, server.port))}"
    yield _row("verdict", server.sentence)
    yield _row("handshake", f"with {server.stock.offer}: {attempt_words(server.stock)}")
    yield _row("", f"with {server.rsa.offer}: {attempt_words(server.rsa)}")
    yield from _certificate(server, diagnosis.now_ns)
    shown = f"shown: {server.identity.certificate}" if server.identity else "none shown (--keys has none)"
    asked = {True: "; the server asks for one", False: "; the server asks for none", None: ""}[
        server.stock.asks_for_certificate if server.stock.asks_for_certificate is not None else server.rsa.asks_for_certificate
    ]
    yield _row("client", f"certificate {shown}{asked}")
    if server.stock.program is not None:
        yield _row("program", f"{server.stock.program} (its answer to GET /_ping)")
    elif server.stock.rejected is not None:
        yield _row("program", f"no answer to GET /_ping: {server.stock.rejected}")


def attempt_words(attempt: Attempt) -> str:
    """How a handshake went and what was chosen."""
    chosen = " ".join(filter(None, (attempt.version, attempt.cipher_suite)))
    if chosen:
        group = f" ({attempt.group})" if attempt.group else ""
        secrecy = {True: ", forward secret", False: ", not forward secret", None: ""}[attempt.forward_secrecy]
        chosen = f"{chosen}, key exchange {attempt.key_exchange}{group}{secrecy}"
    if attempt.outcome == "completed":
        return chosen
    went = {"refused": "refused", "closed": "ended by the server", "timed-out": "no end in time", "not-tried": "not tried"}.get(
        attempt.outcome, attempt.outcome
    )
    return "; ".join(filter(None, (chosen, f"{went}: {attempt.detail}" if attempt.detail else went)))


def _certificate(server: ServerReport, now_ns: int) -> Lines:
    facts = server.certificate
    if facts is None:
        return
    valid = f"valid {utc(facts.not_before_ns)[:10]} to {utc(facts.not_after_ns)[:10]}"
    if not facts.not_before_ns <= now_ns <= facts.not_after_ns:
        valid += " (NOT NOW)"
    names = ", ".join(facts.names[:10]) or "no alternative names"
    other = "" if server.host in facts.names else f"; {server.host} is not among its names"
    yield _row("certificate", f"{facts.subject}; {valid}; for {names}{other}")
    yield _row("", f"sha256 {facts.spki_sha256} (of the public key); private key: {server.matching_key or 'none of those given'}")


def _missing(diagnosis: Diagnosis) -> Lines:
    for sentence in diagnosis.missing:
        yield f"not seen: {sentence}"
