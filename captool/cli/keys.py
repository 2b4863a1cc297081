"""`captool keys`: what key material is, and which connections of a capture it fits."""

from pathlib import Path

import click

from captool.cli.command import command, option
from captool.cli.options import PATH, key_password, key_password_option
from captool.cli.output import width_of_output
from captool.errors import NothingMatchedError


@command(short_help="Show which key opens which connection.")
@click.argument("keys", nargs=-1, required=True, type=PATH)
@key_password_option
@option(
    "--trace",
    multiple=True,
    type=PATH,
    metavar="TRACE",
    help="Match with the connections of this capture (repeatable: a rotated set; a directory; - for standard input).",
)
@option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json", "wireshark", "mitmproxy"]),
    default="text",
    show_default=True,
    help="A table, or what that tool needs to use the keys.",
)
def keys(keys: tuple[Path, ...], key_password_file: Path | None, trace: tuple[Path, ...], output_format: str) -> None:
    """Show the machines, fingerprints and validity of KEYS, and what each can decrypt; secrets are never shown.

    KEYS are directories, PEM files and key logs, as for `captool analyze --keys`. With --trace the table says which connections each
    one opens, and why not; only the handshakes of the capture are decrypted.

    \b
    captool keys ~/.docker/machine
    captool keys keys --trace trace.pcap
    captool keys keys --format wireshark        # the rsa_keys table and a tshark command that decrypts
    captool keys keys --format mitmproxy        # mitmproxy in front of the daemon, with the client's certificate
    """  # noqa: D301
    from captool.key_table import key_table
    from captool.report.key_report import WIDTH, render_json, render_text
    from captool.report.tool_settings import render_mitmproxy, render_wireshark

    if output_format in {"wireshark", "mitmproxy"}:
        table = key_table(keys, key_password=key_password(key_password_file))
        shown = render_wireshark(table, keys, trace) if output_format == "wireshark" else render_mitmproxy(table, keys)
        click.echo(shown, nl=False)
        return
    table = key_table(keys, trace, key_password=key_password(key_password_file))
    click.echo(render_json(table) if output_format == "json" else render_text(table, width_of_output(WIDTH)), nl=False)
    if table.matches is not None and not any(match.useful for match in table.matches):
        raise NothingMatchedError(f"none of the keys opens any of the {len(table.matches)} TLS connections")
