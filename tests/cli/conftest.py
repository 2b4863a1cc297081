"""Runs the command line in this process."""

from dataclasses import dataclass

import pytest

from captool.cli.main import main


@dataclass(frozen=True)
class Run:
    code: int
    out: str
    err: str


@pytest.fixture
def captool(capsys):
    def run(*arguments: object) -> Run:
        with pytest.raises(SystemExit) as leaving:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Run(leaving.value.code or 0, captured.out, captured.err)

    return run
