"""`captool doctor`: live sockets, kernel, programs and a server, without a capture."""

import time
from pathlib import Path
from typing import Any

import click

from captool.cli.command import command, option
from captool.cli.options import KEYS_HELP, PATH, Duration, key_password, key_password_option
from captool.cli.output import width_of_output
from captool.errors import MissingToolError

DOCKER_PORTS = (2375, 2376)
MAX_PORT = 65535
SILENT = frozenset({"unreachable", "timed-out"})  # how the handshake with a server ended that cannot be asked


class HostPort(click.ParamType):  # type: ignore[type-arg, unused-ignore]  # generic in newer releases of click
    """A click type: HOST:PORT, HOST (then Docker's TLS port) or [ADDRESS]:PORT."""

    name = "host:port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:  # noqa: ANN401
        """Host and port."""
        if isinstance(value, tuple):
            return value
        text = str(value).removeprefix("tcp://").rstrip("/")
        host, colon, port = text.rpartition(":")
        if not colon or text.endswith("]") or (":" in host and not host.startswith("[")):
            host, port = text, "2376"
        if not host.strip("[]") or not (port.isascii() and port.isdecimal() and 0 < int(port) <= MAX_PORT):
            self.fail(f"{value!r} is no HOST:PORT; write for example 10.0.0.5:2376 or [fd00::5]:2376", param, ctx)
        return host.strip("[]"), int(port)


@command(short_help="Say which live connections will be cut, without a capture.")
@option(
    "--port",
    "ports",
    multiple=True,
    type=click.IntRange(1, MAX_PORT),
    metavar="N",
    help="Look at sockets with this TCP port at either end (repeatable). Default: 2375 and 2376.",
)
@option("--network", metavar="ID", help="Judge by this middlebox of the catalogue, e.g. gcp-vpc, aws-nlb (see docs/middleboxes.md).")
@option("--idle-timeout", "idle_timeout_ns", type=Duration(), metavar="D", help="Judge by this timeout, e.g. 600s, 10m.")
@option(
    "--server",
    type=HostPort(),
    metavar="HOST:PORT",
    help="Try TLS with this server: what it negotiates, and whether a private key could open what would be recorded.",
)
@option("-k", "--keys", multiple=True, type=PATH, metavar="PATH", help=KEYS_HELP)
@key_password_option
@option(
    "--format", "output_format", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Form of the report."
)
def doctor(
    ports: tuple[int, ...],
    network: str | None,
    idle_timeout_ns: int | None,
    server: tuple[str, int] | None,
    keys: tuple[Path, ...],
    key_password_file: Path | None,
    output_format: str,
) -> None:
    """Say which live connections a middlebox will cut, and what can be recorded here; no capture is needed.

    Lists the TCP sockets to and from the ports with their keepalive probes or the lack of them, the kernel's settings, the Docker programs
    with the keepalive that their version asks for, and whether session keys can be taken. Nothing is changed. As root it sees the sockets
    and programs of containers and of other users as well.

    \b
    sudo captool doctor
    sudo captool doctor --network gcp-vpc
    captool doctor --server 10.77.2.2:2376 --keys ~/.docker/machine
    """  # noqa: D301
    from captool.doctor.diagnosis import Questions, examine
    from captool.report.doctor_json import render_json
    from captool.report.doctor_text import WIDTH, end_of, render_text

    questions = Questions(ports or DOCKER_PORTS, network, idle_timeout_ns, server, keys, key_password(key_password_file))
    diagnosis = examine(questions, time.time_ns())
    click.echo(render_json(diagnosis) if output_format == "json" else render_text(diagnosis, width_of_output(WIDTH)), nl=False)
    if diagnosis.server is not None and diagnosis.server.stock.outcome in SILENT:
        asked = diagnosis.server
        raise MissingToolError(
            f"{end_of((asked.host, asked.port))}: {asked.stock.detail or 'no answer'}; check host and port, and that dockerd listens there"
        )
