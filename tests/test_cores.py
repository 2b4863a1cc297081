"""How the cores are shared: a process reads ahead beside its work, and decryption keeps each core busy."""

import pytest

from captool import cores


@pytest.mark.parametrize(("count", "jobs", "decrypting"), [(1, 1, 1), (2, 1, 2), (3, 1, 3), (8, 4, 8)])
def test_default_jobs(monkeypatch: pytest.MonkeyPatch, count: int, jobs: int, decrypting: int) -> None:
    monkeypatch.setattr(cores, "processor_cores", lambda: count)
    assert (jobs, decrypting) == (cores.default_jobs(decrypting=False), cores.default_jobs(decrypting=True))
    assert cores.may_read_ahead(jobs) == (count > 1)
    assert cores.may_read_ahead(decrypting) == (decrypting * 2 <= count)


def test_this_process_has_a_core() -> None:
    assert cores.processor_cores() >= 1
