"""How the cores are shared: a process reads ahead, and decrypts, beside its work."""

import pytest

from captool import cores


@pytest.mark.parametrize(("count", "jobs"), [(1, 1), (2, 1), (3, 1), (8, 4)])
def test_default_jobs(monkeypatch: pytest.MonkeyPatch, count: int, jobs: int) -> None:
    monkeypatch.setattr(cores, "processor_cores", lambda: count)
    assert jobs == cores.default_jobs()
    assert cores.may_read_ahead(jobs) == (count > 1)
    assert not cores.may_read_ahead(count)


def test_this_process_has_a_core() -> None:
    assert cores.processor_cores() >= 1
