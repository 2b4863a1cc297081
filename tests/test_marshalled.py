"""Named tuples that go from one process to another are the same there, of the same classes."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

import captool
from captool import marshalled
from captool.direction import Direction, Moment, PerDirection
from tests.fixture_cases import FIXTURES

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary() | st.sampled_from(Direction) | st.fractions()
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.builds(PerDirection, inner, inner) | st.builds(Moment, inner, inner)
)


def classes(value: object) -> object:
    """The types of everything in it: tuples of different classes are equal to Python."""
    return (type(value), [classes(inner) for inner in value]) if isinstance(value, list | tuple) else type(value)


@given(VALUES)
def test_what_comes_back_is_what_was_sent(value):
    again = marshalled.loads(marshalled.dumps(value))
    assert (value, classes(value)) == (again, classes(again))


@pytest.mark.parametrize("case", ["silent-drop", "rotated"])
def test_whole_connections_come_back(case):
    trace = min((FIXTURES / case).glob("*.pcap*"))
    connections = captool.analyze(trace, keys=[FIXTURES / case / "machines"]).connections
    assert any(connection.exchanges for connection in connections)
    again = marshalled.loads(marshalled.dumps(connections))
    assert (connections, classes(connections)) == (again, classes(again))


def test_what_has_no_plain_form_is_pickled():
    assert (Fraction(1, 3), {"a": Moment(1, 2)}) == marshalled.loads(marshalled.dumps((Fraction(1, 3), {"a": Moment(1, 2)})))
