"""What `--session-keys` accepts, and which programs it means."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from captool.errors import UsageError
from captool.session_keys.targets import ProgramFile, Target, concerns, parse_targets, program_files, program_of, running


def test_words_are_programs_paths_processes_or_auto():
    python = sys.executable
    name = Path("/proc/self/exe").readlink().name
    expected = (Target("auto", "auto"), Target("process", str(os.getpid())), Target("path", python), Target("program", name))
    assert expected == parse_targets(["auto", str(os.getpid()), python, name, "auto"])


@pytest.mark.parametrize(
    ("word", "said"),
    [("no-such-program", "no such program"), ("/no/such/file", "no such file"), ("/tmp", "no such file"), ("4194305", "no process"), ("", "no such program")],
)
def test_what_is_nowhere_is_said_in_one_line(word, said):
    with pytest.raises(UsageError, match=said) as raised:
        parse_targets([word])
    assert "\n" not in str(raised.value)


def test_every_program_of_a_name_is_meant_not_only_the_first_of_the_path(tmp_path):
    for directory in ("a", "b"):
        program = tmp_path / directory / "captool-test-program"
        program.parent.mkdir()
        program.write_text("")
        program.chmod(0o755)
    path = f"{tmp_path}/a:{tmp_path}/missing:{tmp_path}/b"
    found = list(program_files([Target("program", "captool-test-program")], {"PATH": path}))
    assert [f"{tmp_path}/{each}/captool-test-program" for each in "ab"] == [each.path for each in found]


def test_auto_means_what_of_docker_is_installed(tmp_path):
    for name in ("docker", "gitlab-runner"):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o755)
    found = {each.name for each in program_files([Target("auto", "auto")], {"PATH": str(tmp_path), "HOME": str(tmp_path)})}
    assert {f"{tmp_path}/docker", f"{tmp_path}/gitlab-runner"} <= found


def test_plugins_of_the_docker_client_are_meant_too(tmp_path):
    plugin = tmp_path / ".docker/cli-plugins/docker-compose"
    plugin.parent.mkdir(parents=True)
    plugin.write_text("")
    assert str(plugin) in {each.name for each in program_files([Target("auto", "auto")], {"PATH": "", "HOME": str(tmp_path)})}


def test_a_running_program_is_known_by_its_file_also_when_that_was_removed(tmp_path):
    program = tmp_path / "captool-test-sleep"
    shutil.copy(shutil.which("sleep"), program)
    process = subprocess.Popen([program, "60"])
    try:
        assert [ProgramFile(f"/proc/{process.pid}/exe", str(program), process.pid)] == list(running(program.name))
        program.unlink()
        assert program_of(process.pid).name == str(program)
        assert concerns(parse_targets([program.name]), program_of(process.pid))
        assert concerns([Target("auto", "auto")], program_of(process.pid))
        assert not concerns([Target("program", "sleep"), Target("process", "1")], program_of(process.pid))
    finally:
        process.kill()
        process.wait()
    assert program_of(process.pid).name == f"process {process.pid}"
