"""The JSON report is the interface that `docs/analysis.schema.json` describes."""

import json
from pathlib import Path
from typing import get_args

import pytest

from captool.analysis import analyze
from captool.findings.finding import CODES
from captool.report.json_report import render, report
from captool.tls.summary import Reason
from json_schema import conforms
from tables import analysis, attach, connection, dropped_tcp, lost_output, tcp, tls
from tests.builders import ACK, FIN, RST, Talk, pcap

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/analysis.schema.json").read_text())
DROPPED = connection(dropped_tcp(), tls=tls(), exchanges=(attach(lost=lost_output()),))


@pytest.mark.parametrize(
    "connections", [(DROPPED,), (connection(), connection(tcp(id=1), tls=tls(status="encrypted", reason="no-secret")))]
)
def test_report_is_what_the_schema_says(connections):
    conforms(report(analysis(*connections)), SCHEMA)


@pytest.mark.parametrize("case", ["silent-drop", "keepalive-saves"])
def test_report_of_two_sides_is_what_the_schema_says(fixtures, case):
    values = report(analyze(fixtures / case / "server.pcap", other_side=fixtures / case / "client.pcap"))
    conforms(values, SCHEMA)
    assert {"connection": 1, "other": 1} in values["other_side"]["matched"]
    assert values["connections"][1]["passage"]["to_server"]["last_arrived"]["received"]["packet"] > 0


def test_schema_lists_every_finding_code_and_reason():
    assert list(CODES) == SCHEMA["$defs"]["finding"]["properties"]["code"]["enum"]
    assert [*get_args(Reason), None] == SCHEMA["$defs"]["tls"]["properties"]["reason"]["enum"]


def test_json_is_ascii_whatever_the_container_wrote():
    text = render(analysis(connection(dropped_tcp(), exchanges=(attach(lost=lost_output("\x1b[31mü\u202e".encode())),))))
    assert text.isascii()
    assert "\x1b" not in text


def test_one_connection_can_be_picked_out():
    values = json.loads(render(analysis(DROPPED, connection(tcp(id=1))), connection=1))
    assert [1] == [one["id"] for one in values["connections"]]
    assert [] == values["findings"]


def test_what_closed_reset_and_stalled_a_connection_are_fields(tmp_path):
    talk = Talk().opened().client(b"x" * 9).server(b"y" * 100).client(window=0).wait(5).server(seq=5100).client().wait(9)
    talk.client(b"z").server(flags=RST, window=0)
    path = tmp_path / "trace.pcap"
    path.write_bytes(pcap(talk.packets))
    values = report(analyze(path))
    conforms(values, SCHEMA)
    told = values["connections"][0]["tcp"]
    assert {"by": "server", "with": "rst", "packet": 10} == {name: told["closing"][name] for name in ("by", "with", "packet")}
    reset = {"sender": "server", "packet": 10, "ttl": 64, "usual_ttl": 64, "window": 0, "acknowledges": False, "peer_last_packet": 9}
    assert reset == {name: told["reset"][name] for name in reset}
    shut = {"since_packet": 6, "until_packet": 8, "window_probes": 1, "times": 1}
    assert shut == {name: told["zero_window"]["to_client"][name] for name in shut}
    assert told["zero_window"]["to_server"] is None
    assert ["server"] == [gap["spoke_last"] for gap in told["gaps"]]


def test_a_close_in_order_has_no_reset(tmp_path):
    path = tmp_path / "trace.pcap"
    path.write_bytes(pcap(Talk().opened().client(b"x").server(b"y").client(flags=ACK | FIN).server(flags=ACK | FIN).client().packets))
    told = report(analyze(path))["connections"][0]["tcp"]
    assert ("client", "fin", 6, None) == (told["closing"]["by"], told["closing"]["with"], told["closing"]["packet"], told["reset"])
