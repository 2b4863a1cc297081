"""Versions of programs and the keepalive that they ask for."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import go_programs
from captool.doctor.keepalive_by_version import asked_for, products, version_numbers
from captool.doctor.programs import answer_of, look_at_programs, recorded_version
from captool.goprogram.build_info import GoBuild

DOCKER = products()["docker"]


@pytest.fixture
def nothing_installed(monkeypatch):
    monkeypatch.setattr("captool.session_keys.targets.SYSTEM_DIRECTORIES", ())


def asked(product, version, go=None):
    numbers = None if version is None else version_numbers(version)
    return {one.kind: one.seconds for one in asked_for(products().get(product), numbers, go)}


@pytest.mark.parametrize(
    ("product", "version", "go", "expected"),
    [
        ("docker", "18.05.0-ce", None, {"hijacked": 30}),
        ("docker", "18.06.0-ce", None, {"hijacked": 0, "pooled": 30}),  # the window without keepalive
        ("docker", "18.09.9", (1, 11), {"hijacked": 0, "pooled": 30}),
        ("docker", "18.09.1", (1, 13), {"hijacked": 15, "pooled": 30}),  # as some distributions built it
        ("docker", "19.03.0", None, {"hijacked": 15, "pooled": 30}),
        ("docker", "28.2.2", (1, 24), {"hijacked": 15, "pooled": 15}),
        ("dockerd", "18.09.9", None, {"accepted": 0}),
        ("dockerd", "19.03.8", None, {"accepted": 0}),
        ("dockerd", "19.03.9", None, {"accepted": 15}),
        ("dockerd", "20.10.24+dfsg1", (1, 19), {"accepted": 15}),
        ("gitlab-runner", "11.7.0", None, {"hijacked": 30, "pooled": 10}),
        ("gitlab-runner", "11.8.0", None, {"hijacked": 0, "pooled": 10}),
        ("gitlab-runner", "12.5.0", None, {"hijacked": 0, "pooled": 10}),
        ("gitlab-runner", "12.6.0", (1, 13), {"hijacked": 15, "pooled": 10}),
        ("gitlab-runner", "9.0.0", None, {}),
        ("docker", None, None, {}),
        ("docker", None, (1, 24), {"dialed": 15, "accepted": 15}),
        (None, None, (1, 12), {"dialed": 15, "accepted": 0}),
        (None, None, (1, 11), {"dialed": 0, "accepted": 0}),
    ],
)
def test_keepalive_of_a_version(product, version, go, expected):
    assert expected == asked(product, version, go)


def test_go_that_was_taken_from_the_official_builds_is_named():
    (hijacked,) = [one for one in asked_for(DOCKER, (18, 9, 1), None) if one.kind == "hijacked"]
    assert "1.10" == hijacked.assumed_go
    assert all(one.assumed_go is None for one in asked_for(DOCKER, (18, 9, 1), (1, 11)))


def test_table_has_a_source_for_everything_and_no_holes_between_versions():
    for product in products().values():
        for span, following in zip(product.spans, product.spans[1:], strict=False):
            assert span.before == following.since
        assert all(rule.source and (rule.seconds is not None or span.go) for span in product.spans for rule in span.rules.values())


@pytest.mark.parametrize(
    ("flags", "module", "version"),
    [
        ('" -X \\"github.com/docker/cli/cli/version.GitCommit=e6\\" -X \\"github.com/docker/cli/cli/version.Version=28.2.2\\" -extldflags -static"', None, "28.2.2"),
        ("-w -X github.com/docker/cli/cli/version.Version=20.10.24+dfsg1", None, "20.10.24+dfsg1"),
        ("-X other/version.Version=1.2", None, None),
        ("", "v27.0.1", "v27.0.1"),
        ("", "(devel)", None),
        ('-X github.com/docker/cli/cli/version.Version=\x1b[31m1.2', None, None),
    ],
)
def test_version_in_the_build_information(flags, module, version):
    assert version == recorded_version(GoBuild("go1.24.3", None, {"-ldflags": flags}, module), DOCKER)


def test_program_that_never_answers_or_does_not_exist_is_given_up(monkeypatch):
    assert "7\n" == answer_of(["/bin/sh", "-c", "echo 7"])
    monkeypatch.setattr("captool.doctor.programs.ASK_S", 0.2)
    started = time.monotonic()
    assert "" == answer_of(["/bin/sh", "-c", "exec sleep 30"])
    assert time.monotonic() - started < 5
    assert "" == answer_of(["/no/such/program"])


@pytest.mark.slow
@pytest.mark.needs("docker", "dockerd")
def test_installed_programs_say_their_version():
    found = look_at_programs((), {"PATH": os.environ["PATH"], "HOME": "/nonexistent"})
    for each in found:
        if each.name in {"docker", "dockerd"}:
            said = subprocess.run([each.program.path, "--version"], capture_output=True, text=True, check=True).stdout
            assert f"ersion {each.version}," in said
            assert each.go.startswith("go1.")
            assert each.keepalive
            assert each.keys
    assert {"docker", "dockerd"} <= {each.name for each in found}


@pytest.mark.slow
@pytest.mark.needs("go")
def test_program_that_others_may_write_is_read_and_never_run(tmp_path, go_directory, nothing_installed):
    program = tmp_path / "docker"
    program.write_bytes(go_programs.build(go_directory, go_programs.HELLO).read_bytes())
    program.chmod(0o777)
    (found,) = [each for each in look_at_programs((), {"PATH": str(tmp_path), "HOME": str(tmp_path)}) if each.program.path == str(program)]
    assert found.version is None
    assert found.go.startswith("go1.")
    assert "has no function crypto/tls" in found.keys_why


def test_what_is_no_go_program_says_so(tmp_path, nothing_installed):
    script = tmp_path / "dockerd"
    script.write_text("#!/bin/sh\necho version 1.2.3 > $0.ran\n")
    script.chmod(0o755)
    (found,) = [each for each in look_at_programs((), {"PATH": str(tmp_path), "HOME": str(tmp_path)}) if each.program.path == str(script)]
    assert (found.go, found.version, found.keys, found.keepalive) == (None, None, False, ())
    assert not (tmp_path / "dockerd.ran").exists()


@pytest.mark.slow
def test_owners_of_sockets_are_looked_at_and_we_are_not(nothing_installed):
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as other:
        found = look_at_programs((other.pid, os.getpid()), {"PATH": "", "HOME": ""})
        assert [(other.pid,)] == [each.processes for each in found if os.getpid() in each.processes or other.pid in each.processes]
        other.stdin.close()


def test_page_has_every_source_of_the_table():
    page = (Path(__file__).parents[2] / "docs/doctor.md").read_text()
    sources = {rule.source for product in products().values() for span in product.spans for rule in span.rules.values()}
    assert set() == {source for source in sources if source not in page}
