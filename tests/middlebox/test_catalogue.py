"""The catalogue of idle timeouts: what it says, what a user's own file may change, and what is said about mistakes in one."""

import re
from pathlib import Path

import pytest

from captool.errors import UsageError
from captool.middlebox.catalogue import IdleTimeout, by_id, load_catalogue

S = 1_000_000_000
CATALOGUE = load_catalogue()


def own(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "seconds", "probe_resets", "on_expiry"),
    [
        ("gcp-vpc", 600, True, "silent-drop"),
        ("gcp-cloud-nat", 1200, True, "silent-drop"),
        ("aws-nat-gateway", 350, True, "reset"),
        ("aws-nlb", 350, True, "reset"),
        ("aws-alb", 60, False, "close"),
        ("aws-clb", 60, False, "close"),
        ("azure-lb", 240, True, "silent-drop"),
        ("azure-nat-gateway", 240, True, "reset"),
        ("swarm-ipvs", 900, True, "unknown"),
        ("docker-desktop-vpnkit", 300, None, "close"),
        ("linux-conntrack", 432_000, True, "silent-drop"),
        ("cisco-asa", 3600, True, "silent-drop"),
        ("palo-alto", 3600, True, "silent-drop"),
    ],
)
def test_the_ones_that_people_meet(name: str, seconds: int, probe_resets: bool | None, on_expiry: str) -> None:
    entry = by_id(CATALOGUE, name)
    assert (seconds, probe_resets, on_expiry) == (entry.seconds, entry.probe_resets, entry.on_expiry)
    assert entry.timeout_ns == seconds * S


def test_catalogue_is_sorted_and_every_entry_has_a_name_and_a_source() -> None:
    everything = load_catalogue(state=None)
    assert sorted(everything, key=lambda entry: (entry.seconds, entry.id)) == list(everything)
    for entry in everything:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", entry.id), entry
        assert entry.name != entry.id
        assert "idle_timeouts.toml" not in entry.source


def test_what_rests_on_reports_and_hearsay_is_not_called_primary() -> None:
    for entry in load_catalogue(state=None):
        if re.match(r"common (knowledge|configuration)|https://github.com/[^ ]+/issues/|https://cloudnetworking", entry.source):
            assert not entry.primary, entry


def test_timers_of_half_closed_connections_are_asked_for_by_name() -> None:
    assert {"established"} == {entry.state for entry in CATALOGUE}
    half_closed = load_catalogue(state="half-closed")
    assert ["linux-conntrack-half-closed", "cisco-asa-half-closed"] == [entry.id for entry in half_closed]
    assert len(load_catalogue(state=None)) == len(CATALOGUE) + len(half_closed)


@pytest.mark.parametrize(("wanted", "hint"), [("gpc-vpc", "gcp-vpc"), ("GCP-VPC", "gcp-vpc"), ("aws", "aws-"), ("azure", "azure-lb")])
def test_a_name_spelled_wrong_gets_the_close_ones(wanted: str, hint: str) -> None:
    with pytest.raises(UsageError, match=rf"no middlebox '{wanted}' .*did you mean .*{hint}.*docs/middleboxes\.md"):
        by_id(CATALOGUE, wanted)


@pytest.mark.parametrize("wanted", ["", "qqqqqq"])
def test_a_name_like_no_other_gets_them_all(wanted: str) -> None:
    with pytest.raises(UsageError, match=r"known are .*aws-nlb.*palo-alto"):
        by_id(CATALOGUE, wanted)


def test_own_entries_come_on_top(tmp_path: Path) -> None:
    mine = own(
        tmp_path,
        '[office]\nseconds = 90.5\nrange = [60, 120]\nprobe_resets = "unknown"\n\n[gcp-vpc]\nseconds = 300\n\n[aws-nlb]\nrange = [60, 9000]\n',
    )
    merged = load_catalogue(mine)
    assert IdleTimeout("office", "office", 90.5, 60, 120, None, "unknown", str(mine), primary=False) == by_id(merged, "office")
    assert (300, "Google Cloud VPC firewall") == (by_id(merged, "gcp-vpc").seconds, by_id(merged, "gcp-vpc").name)
    assert (350, 9000) == (by_id(merged, "aws-nlb").seconds, by_id(merged, "aws-nlb").maximum)
    assert len(merged) == len(CATALOGUE) + 1
    assert by_id(load_catalogue(), "gcp-vpc").seconds == 600


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[a\n", "not TOML"),
        ("seconds = 3\n", r"seconds: expected a table such as \[my-firewall\]"),
        ('[a]\nname = "A"\n', r"\[a\]: field `seconds` is missing"),
        ("[a]\nsecond = 3\n", r"\[a\]: unknown field `second`; did you mean `seconds`"),
        ("[a]\nzz = 3\n", r"\[a\]: unknown field `zz`; fields are name, seconds"),
        ('[a]\nseconds = "10m"\n', r"\[a\]: field `seconds`: expected seconds above 0 .*'10m'"),
        ("[a]\nseconds = 0\n", "field `seconds`: expected seconds above 0"),
        ("[a]\nseconds = true\n", "field `seconds`: expected seconds above 0"),
        ("[a]\nseconds = inf\n", "field `seconds`: expected seconds above 0"),
        ("[a]\nseconds = nan\n", "field `seconds`: expected seconds above 0"),
        ("[a]\nseconds = 9\nrange = [1]\n", r"field `range`: expected \[least, most\]"),
        ("[a]\nseconds = 9\nrange = [10, 20]\n", "field `range`: 9 seconds lie outside it"),
        ("[a]\nseconds = 9\nrange = [1, 5]\n", "field `range`: 9 seconds lie outside it"),
        ('[a]\nseconds = 9\nprobe_resets = "yes"\n', "field `probe_resets`: expected true, false or"),
        ('[a]\nseconds = 9\non_expiry = "drop"\n', "field `on_expiry`: expected one of silent-drop, reset, close, unknown"),
        ('[a]\nseconds = 9\non_expiry = ["drop"]\n', "field `on_expiry`: expected one of"),
        ('[a]\nseconds = 9\nstate = "open"\n', "field `state`: expected one of established, half-closed"),
        ("[a]\nseconds = 9\nname = 3\n", "field `name`: expected text"),
        ("[a]\nseconds = 9\nprimary = 1\n", "field `primary`: expected true or false"),
    ],
)
def test_a_mistake_in_an_own_file_is_named_with_file_entry_and_field(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=rf"mine\.toml: .*{reason}"):
        load_catalogue(own(tmp_path, text))


def test_an_own_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.toml: no such file or directory"):
        load_catalogue(tmp_path / "none.toml")
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"[\xfc]\n")
    with pytest.raises(UsageError, match=r"latin\.toml: not UTF-8"):
        load_catalogue(latin)
