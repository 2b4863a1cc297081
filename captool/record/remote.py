"""A remote host to record on: tcpdump runs there, the trace is written here. The way is the system's ssh with the user's configuration.

One connection carries everything. Its standard output is first the dialogue with remote.sh, then tcpdump's stream; its standard input are
captool's words, and the end of it, which comes also when captool is killed, ends tcpdump.
"""

import os
import re
import selectors
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from captool.errors import CaptoolError, MissingToolError, UsageError
from captool.record import tcpdump
from captool.record.circumstances import Circumstances
from captool.record.process import PATIENCE_S, PIPE_BYTES, die_with_captool, end, output_of
from captool.record.remote_facts import Clock, Facts, clock_offset, read_facts
from captool.record.remote_failure import connection_failure, has_lost_connection, lost_connection

CONNECT_S: Final = 20
ANSWER_S: Final = 60.0  # from the start of ssh to the last fact, where nobody is asked anything
ALIVE_S: Final = 15  # ssh asks the other side that often, and gives up when three questions have no answer
SILENCE_S: Final = 300  # after so long without a word the other side takes us for dead
CLOCK_ROUNDS: Final = 5
MAX_ANSWER: Final = 1 << 20
_BEGIN: Final = "captool: tcpdump begins\n"
_MARK: Final = "captool-remote 1"
_WORD: Final = re.compile(r"(?:ssh://)?(?:(?P<user>\S+)@)?(?P<host>\[[^\]\s]+\]|[^\s@\[\]:]+)(?::(?P<port>\d{1,5}))?/?")
# ssh's own option first: what stands on the command line wins over the user's configuration, everything else stays his
_OPTIONS: Final = (
    "ClearAllForwardings=yes", "ForwardAgent=no", "ForwardX11=no", "RequestTTY=no", "RemoteCommand=none", "ControlMaster=no",
    "LogLevel=INFO", f"ConnectTimeout={CONNECT_S}", f"ServerAliveInterval={ALIVE_S}", "ServerAliveCountMax=3",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Address:
    """Where to: `host` may be a Host of the user's ssh configuration, as whom and on which port may be left to it."""

    host: str
    user: str | None = None
    port: int | None = None

    @property
    def shown(self) -> str:
        """For people, as it was given."""
        host = f"[{self.host}]" if self.port and ":" in self.host else self.host
        return f"{f'{self.user}@' if self.user else ''}{host}{f':{self.port}' if self.port else ''}"

    @property
    def by_hand(self) -> str:
        """The same way for the user to try."""
        return shlex.join(["ssh", *(["-p", str(self.port)] if self.port else []), f"{self.user}@{self.host}" if self.user else self.host])


def parse_address(word: str) -> Address:
    """`[USER@]HOST[:PORT]`, with or without `ssh://`, an IPv6 address in brackets if a port follows. Raises UsageError."""
    bare = word.rpartition("@")[2].removeprefix("ssh://")
    if bare.count(":") > 1 and not bare.startswith(("[", "-")):  # an IPv6 address as it is
        word = f"{word.removesuffix(bare)}[{bare}]"
    match = None if word.startswith("-") else _WORD.fullmatch(word)
    port = int(match["port"]) if match and match["port"] else None
    if match is None or match["host"].startswith("-") or (match["user"] or "").startswith("-") or port == 0 or (port or 0) > 65535:
        raise UsageError(f"--ssh {word}: is no [USER@]HOST[:PORT]; name one, such as root@10.77.2.2 or a Host of your ssh configuration")
    return Address(match["host"].strip("[]"), match["user"], port)


class RemoteTcpdump:
    """A tcpdump that runs on a remote host; the trace comes from `stdout`, its messages (and ssh's) from `stderr`."""

    def __init__(self, host: "RemoteHost", interface: str, expression: str) -> None:
        self.stdout, self.stderr = output_of(host.process)
        self._host, self._interface, self._expression = host, interface, expression

    def ask_for_counters(self) -> None:
        """It prints them, and goes on."""
        self._host.say("counters")

    def ask_to_end(self) -> None:
        """It ends after the packets that it has, and prints its counters."""
        self._host.say("end")

    def still_wanted(self) -> None:
        """To be called every few seconds, at least once in SILENCE_S."""
        self._host.say("alive")

    def failure(self, messages: str) -> CaptoolError:
        """Why it has ended, from what it and ssh said."""
        code = None
        with suppress(subprocess.TimeoutExpired):
            code = self._host.process.wait(PATIENCE_S)
        said = messages.rpartition(_BEGIN)[2]
        if has_lost_connection(code):
            return lost_connection(said, self._host.shown)
        return tcpdump.failure(said, self._interface, self._expression, self._host.facts.interfaces, self._host.shown)


@dataclass(frozen=True, slots=True)
class RemoteHost:
    """A host that is connected and waits for the recording to begin. `shown` is what the user called it."""

    shown: str
    process: "subprocess.Popen[bytes]"
    facts: Facts
    clock: Clock | None
    found: Circumstances

    def document(self) -> dict[str, object]:
        """As it stands in the manifest; `clock` is its clock minus ours at the start."""
        facts, clock = self.facts, self.clock
        return {
            "host": self.shown,
            "name": facts.name,
            "system": facts.system,
            "user": facts.user,
            "left_out": facts.without_ssh("") or None,
            "clock": {"offset_ns": clock.offset_ns, "uncertainty_ns": clock.uncertainty_ns} if clock else None,
        }

    def command(self, interface: str, expression: str, count: int | None) -> list[str]:
        """How tcpdump is called there; the ssh connection is left out of what it records."""
        root = self.facts.user if self.facts.uid == "0" else None
        return tcpdump.arguments(self.facts.tcpdump, interface, self.facts.without_ssh(expression), count, root)

    @contextmanager
    def tcpdump(self, command: list[str], interface: str, expression: str) -> Iterator[RemoteTcpdump]:
        """Run it; the connection is closed at the end. `interface` and `expression` are what the user asked for."""
        # a line is what is read there: line ends within a filter are as good as spaces
        self.say("record " + " ".join(shlex.quote(re.sub(r"[\r\n]", " ", word)) for word in command))
        try:
            yield RemoteTcpdump(self, interface, expression)
        finally:
            end(self.process)

    def say(self, line: str) -> None:
        """One line to remote.sh. Where it cannot be delivered the connection is gone, which is noticed by its output."""
        if self.process.stdin is not None:
            with suppress(BrokenPipeError, BlockingIOError):
                self.process.stdin.write(f"{line}\n".encode("utf-8", "surrogateescape"))


@contextmanager
def connected(
    address: Address, ports: Collection[int], interfaces: Collection[str], clock_ns: Callable[[], int], *, interactive: bool
) -> Iterator[RemoteHost]:
    """A host that is ready to record. `interactive`: ssh may ask the user on the terminal; otherwise it fails instead.

    Raises UsageError and MissingToolError: not reached, not let in, no tcpdump there, not allowed to record there.
    """
    program = shutil.which("ssh")
    if program is None:
        raise MissingToolError("ssh is not installed; install it, for example: apt-get install openssh-client")
    names = [name for name in interfaces if re.fullmatch(r"[^-/\s][^/\s]*", name)]  # the kernel has no others (dev_valid_name), but for -x
    script = "".join(
        (
            f"ports={shlex.quote(' '.join(map(str, ports)))}\n",
            f"interfaces={shlex.quote(' '.join(names))}\n",
            f"patience={SILENCE_S}\n",
            files(__package__).joinpath("remote.sh").read_text("utf-8"),
        )
    ).encode("utf-8", "surrogateescape")
    # The same in every login shell, csh and fish too: one pair of quotes, nothing of the user's in it. dd takes exactly the script.
    bootstrap = f"sh -c 'text=$(dd bs=1 count={len(script)} 2>/dev/null); eval \"$text\"'"
    options = [*_OPTIONS, f"BatchMode={'no' if interactive else 'yes'}"]
    command = [program, *(word for option in options for word in ("-o", option))]
    command += ["-p", str(address.port)] if address.port else []
    command += ["-l", address.user] if address.user else []

    def prepare() -> None:
        die_with_captool()
        # Ctrl-C is for captool, which then has tcpdump hand over what it has. A session of its own would do, but then ssh could not ask.
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)

    process = subprocess.Popen(
        [*command, "--", address.host, bootstrap],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=not interactive,
        preexec_fn=prepare,  # noqa: PLW1509 (no thread has been started yet)
        bufsize=0,
        pipesize=PIPE_BYTES,
    )
    try:
        if process.stdin is not None:
            with suppress(BrokenPipeError):
                process.stdin.write(script)
            os.set_blocking(process.stdin.fileno(), False)
        dialogue = _Dialogue(process, address, None if interactive else ANSWER_S)
        while dialogue.line() != _MARK:
            pass  # what the login shell's start-up files print
        facts = read_facts(dialogue.until("ready"))
        host = RemoteHost(address.shown, process, facts, None, facts.circumstances(ports, address.shown))
        _refuse(host)
        rounds = []
        for _ in range(CLOCK_ROUNDS):
            before = clock_ns()
            host.say("clock")
            rounds.append((before, dialogue.line(), clock_ns()))
        yield RemoteHost(host.shown, process, facts, clock_offset(rounds), host.found)
    finally:
        end(process)


def _refuse(host: RemoteHost) -> None:
    facts = host.facts
    if not facts.tcpdump:
        raise MissingToolError(f"tcpdump is not installed on {host.shown}; install it there, for example: apt-get install tcpdump")
    if not facts.may_record and facts.uid != "0":
        raise MissingToolError(
            f"{facts.user} may not record on {host.shown}; log in as root there, or let sudo run sh without a password (NOPASSWD), or: "
            f"setcap cap_net_raw,cap_net_admin=eip {facts.tcpdump}"
        )


class _Dialogue:
    """Lines of the remote shell's standard output, as long as it answers; bounded, whatever is at the other end."""

    def __init__(self, process: "subprocess.Popen[bytes]", address: Address, patience_s: float | None) -> None:
        self._process, self._address = process, address
        self._stdout, self._stderr = output_of(process)
        self._deadline = None if patience_s is None else time.monotonic() + patience_s
        self._waiting, self._said, self._taken = b"", b"", 0

    def until(self, last: str) -> Iterator[str]:
        """The lines before that one."""
        while (line := self.line()) != last:
            yield line

    def line(self) -> str:
        """The next one; raises why there is none."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdout, selectors.EVENT_READ)
            selector.register(self._stderr, selectors.EVENT_READ)
            while b"\n" not in self._waiting:
                left = None if self._deadline is None else self._deadline - time.monotonic()
                ready = selector.select(left) if left is None or left > 0 else []
                if not ready:
                    raise self._failure(None)
                for key, _ in ready:
                    data = os.read(key.fd, 1 << 16)
                    self._taken += len(data)
                    if key.fileobj is self._stderr:
                        self._said = (self._said + data)[-MAX_ANSWER:]
                        if not data:
                            selector.unregister(key.fileobj)
                    elif data and self._taken <= MAX_ANSWER:
                        self._waiting += data
                    else:
                        raise self._no_more()
        line, _, self._waiting = self._waiting.partition(b"\n")
        return line.decode("utf-8", "backslashreplace").rstrip("\r")

    def _no_more(self) -> CaptoolError:
        """The output has ended, or there is no end of it."""
        code = None
        with suppress(subprocess.TimeoutExpired):
            code = self._process.wait(PATIENCE_S if self._taken <= MAX_ANSWER else 0)
        with selectors.DefaultSelector() as selector:  # what a ProxyCommand that lives on holds open does not end
            selector.register(self._stderr, selectors.EVENT_READ)
            if selector.select(0):
                self._said += os.read(self._stderr.fileno(), MAX_ANSWER)
        return self._failure(code)

    def _failure(self, code: int | None) -> CaptoolError:
        return connection_failure(self._said.decode("utf-8", "backslashreplace"), self._address.shown, self._address.by_hand, code)
