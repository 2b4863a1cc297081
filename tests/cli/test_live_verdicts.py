"""Up to when all packets have come in, by the clock of the packets: of this machine or of another one, set or not."""

import time

import pytest

from captool.cli.live_verdicts import Clock

S = 1_000_000_000
LATE = 2 * S


class Machine:
    """The clocks of this machine."""

    def __init__(self, monkeypatch):
        self.real, self.monotonic = 1_000_000 * S, 5 * S
        monkeypatch.setattr(time, "time_ns", lambda: self.real)
        monkeypatch.setattr(time, "monotonic_ns", lambda: self.monotonic)

    def wait(self, ns):
        self.real += ns
        self.monotonic += ns


@pytest.fixture
def machine(monkeypatch):
    return Machine(monkeypatch)


def test_the_packet_with_the_least_delay_tells_the_difference(machine):
    clock = Clock(LATE, foreign=True)
    for delay in (3 * S, S, 2 * S):
        machine.wait(10 * S)
        clock.heard(machine.real - 3600 * S - delay)
    assert machine.real - 3600 * S - S - LATE == clock.known_until_ns()


@pytest.mark.parametrize("ahead", [600 * S, -600 * S])
def test_own_packets_go_with_the_clock_that_was_set(machine, ahead):
    clock = Clock(LATE, foreign=False)
    clock.heard(machine.real - 1000)
    machine.real += ahead
    machine.wait(S)
    assert ahead == clock.was_set()
    assert 0 == clock.was_set()
    assert machine.real - LATE == clock.known_until_ns()


@pytest.mark.parametrize("ahead", [600 * S, -600 * S])
def test_packets_of_another_machine_do_not(machine, ahead):
    clock = Clock(LATE, foreign=True)
    theirs = machine.real - 3600 * S
    clock.heard(theirs)
    machine.real += ahead
    machine.wait(10 * S)
    assert 0 == clock.was_set()
    assert theirs + 10 * S - LATE == clock.known_until_ns()
    clock = Clock(LATE, foreign=True)
    machine.real += ahead
    assert 0 == clock.was_set()


def test_a_clock_that_is_slewed_is_not_set(machine):
    clock = Clock(LATE, foreign=False)
    for _ in range(10_000):
        machine.wait(S)
        machine.real += 500_000  # 500 parts in a million, the most that the kernel does
        assert 0 == clock.was_set()


def test_the_other_machines_clock_that_was_set_back_makes_nothing_known_that_is_to_come(machine):
    clock = Clock(LATE, foreign=True)
    theirs = machine.real - 3600 * S
    clock.heard(theirs)
    machine.wait(S)
    clock.heard(theirs - 600 * S, set_back=True)
    assert theirs - 600 * S - LATE == clock.known_until_ns()
