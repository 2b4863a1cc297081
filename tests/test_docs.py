"""Documentation agrees with the program."""

import json
import re
import runpy
import shlex
from pathlib import Path

import pytest
from jsonschema.validators import Draft202012Validator, validator_for

from captool.cli.main import COMMANDS, cli
from captool.findings.finding import CODES

ROOT = Path(__file__).parent.parent
DOCS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def test_every_finding_has_a_section():
    sections = re.findall(r"^## (\S+)$", (ROOT / "docs/findings.md").read_text(), re.MULTILINE)
    assert list(CODES) == sections


def test_middlebox_page_is_what_the_catalogue_says():
    script = runpy.run_path(str(ROOT / "scripts/middlebox_page.py"))
    assert script["page"]() == (ROOT / "docs/middleboxes.md").read_text()
    assert script["module"]() == (ROOT / "captool/middlebox/shipped.py").read_text()


def test_decryption_page_is_what_the_suite_table_and_the_results_say():
    """The page is written again from what it says was seen: only the results of the matrix and the corpus are not made anew."""
    text = (ROOT / "docs/decryption.md").read_text()
    rows = re.findall(r"^\| `(TLS_\w+)` \| \w+ \| yes \| (.+) \|$", text, re.MULTILINE)
    seen = {name: set(places.split(", ")) for name, places in rows if places != "vectors"}
    sessions, versions = re.search(r"\((\d+) sessions of (.+)\)", text).groups()
    assert runpy.run_path(str(ROOT / "scripts/decryption_page.py"))["page"](seen, int(sessions), versions) == text
    assert len(rows) > 240
    assert len(seen) > 70


@pytest.mark.parametrize("path", sorted(ROOT.glob("docs/*.schema.json")), ids=lambda path: path.name)
def test_schemas_are_schemas(path):
    schema = json.loads(path.read_text())
    assert validator_for(schema) is Draft202012Validator  # what json_schema.py takes
    Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("page", DOCS, ids=lambda path: path.name)
def test_links_within_the_repository_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", DOCS, ids=lambda path: path.name)
def test_commands_in_examples_exist_with_their_options(page):
    for line in re.findall(r"^(?:    |\$ )(?:sudo )?(captool [^#\n]*)", page.read_text(), re.MULTILINE):
        words = shlex.split(line.split("|")[0].split(">")[0])[1:]
        if words[0].startswith("-"):
            continue
        assert words[0] in COMMANDS, line
        command = cli.get_command(None, words[0])
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        for word in words[1:]:
            if re.match(r"--?[a-zA-Z]", word):
                assert word.partition("=")[0] in known, line


def test_readme_shows_the_report_of_the_demo(monkeypatch):
    monkeypatch.chdir(ROOT)
    script = runpy.run_path(str(ROOT / "scripts/readme_report.py"))
    assert script["block"]() == script["MARKED"].search((ROOT / "README.md").read_text())[0]


def test_page_on_two_sides_shows_the_report_of_both_captures(monkeypatch):
    monkeypatch.chdir(ROOT)
    script = runpy.run_path(str(ROOT / "scripts/readme_report.py"))
    assert script["two_sides_block"]() == script["MARKED"].search((ROOT / "docs/two-sides.md").read_text())[0]


def test_python_example_of_the_readme_runs(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    (example,) = [code for code in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL) if code.startswith("import")]
    exec(compile(example, "README.md", "exec"), {})
    assert capsys.readouterr().out.startswith("error silent-drop From packet")
