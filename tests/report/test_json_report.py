"""The JSON report is the interface that `docs/analysis.schema.json` describes."""

import json
from pathlib import Path
from typing import get_args

import jsonschema
import pytest

from captool.analysis import analyze
from captool.findings.finding import CODES
from captool.report.json_report import render, report
from captool.tls.summary import Reason
from json_schema import closed_to_new_fields
from tables import analysis, attach, connection, dropped_tcp, lost_output, tcp, tls

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/analysis.schema.json").read_text())
DROPPED = connection(dropped_tcp(), tls=tls(), exchanges=(attach(lost=lost_output()),))


@pytest.mark.parametrize(
    "connections", [(DROPPED,), (connection(), connection(tcp(id=1), tls=tls(status="encrypted", reason="no-secret")))]
)
def test_report_is_what_the_schema_says(connections):
    jsonschema.validate(report(analysis(*connections)), closed_to_new_fields(SCHEMA))


@pytest.mark.parametrize("case", ["silent-drop", "keepalive-saves"])
def test_report_of_two_sides_is_what_the_schema_says(fixtures, case):
    values = report(analyze(fixtures / case / "server.pcap", other_side=fixtures / case / "client.pcap"))
    jsonschema.validate(values, closed_to_new_fields(SCHEMA))
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
