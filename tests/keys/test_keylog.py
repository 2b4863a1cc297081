"""Key logs: the lines that OpenSSL, NSS, Go and Wireshark write, and those that nobody should have written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captool.keys.keylog import add_secrets, looks_like_key_log, parse_key_log
from captool.keys.material import KeyRing

RANDOM, OTHER_RANDOM = "ab" * 32, "cd" * 32
MASTER = "11" * 48
GOOD_LINES = [
    f"CLIENT_RANDOM {RANDOM} {MASTER}",
    f"CLIENT_HANDSHAKE_TRAFFIC_SECRET {RANDOM} {'22' * 32}",
    f"SERVER_TRAFFIC_SECRET_0 {RANDOM} {'33' * 48}",
    f"EXPORTER_SECRET {RANDOM} {'44' * 32}",
    f"PMS_CLIENT_RANDOM {RANDOM} {'55' * 48}",
    f"RSA {'66' * 8} {'0303' + '77' * 46}",
    f"RSA Session-ID:{'88' * 32} Master-Key:{MASTER}",
    f"CLIENT_RANDOM {OTHER_RANDOM.upper()} {MASTER}",
]
BROKEN_LINES = [
    "CLIENT_RANDOM",
    f"CLIENT_RANDOM {RANDOM}",
    f"CLIENT_RANDOM {RANDOM} {MASTER[:-1]}",
    f"CLIENT_RANDOM {RANDOM} {MASTER[:-2]}",
    f"CLIENT_RANDOM {RANDOM[:-2]} {MASTER}",
    f"CLIENT_RANDOM {RANDOM} {'zz' * 48}",
    f"CLIENT_HANDSHAKE_TRAFFIC_SECRET {RANDOM} {'22' * 20}",  # cut off between two digits
    f"EXPORTER_SECRET {RANDOM} {'22' * 64}",
    f"RSA {'66' * 7} {MASTER}",
    f"client_random {RANDOM} {MASTER}",
    f"CLIENT_RANDOM {RANDOM} {MASTER} {MASTER}",
    "\x00\x01\x02",
]


@pytest.mark.parametrize("line", GOOD_LINES)
@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_good_lines(line, end):
    (secret,), problems = parse_key_log(f"# comment\n\n{line}{end}".encode(), "keys.log")
    assert not problems
    assert "keys.log:3" == secret.origin
    assert line.split(" ")[0].split(":")[0] in {secret.label, "RSA"}


@pytest.mark.parametrize("line", BROKEN_LINES)
def test_broken_lines_are_counted_and_the_good_ones_used(line):
    secrets, (problem,) = parse_key_log(f"{GOOD_LINES[0]}\n{line}\n{GOOD_LINES[1]}\n".encode(), "keys.log")
    assert ["keys.log:1", "keys.log:3"] == [secret.origin for secret in secrets]
    assert problem.startswith("keys.log: 1 line of the key log cannot be read (line 2)")
    assert MASTER not in problem


def test_many_broken_lines_are_one_problem():
    _, (problem,) = parse_key_log(b"nonsense\n" * 9, "keys.log")
    assert "9 lines of the key log cannot be read (lines 1, 2, 3, 4, 5, ...)" in problem


def test_ring_is_filled_and_the_first_of_equal_secrets_kept():
    ring = KeyRing()
    add_secrets(ring, parse_key_log("\n".join(GOOD_LINES).encode(), "first.log")[0])
    add_secrets(ring, parse_key_log("\n".join(GOOD_LINES).encode(), "second.log")[0])
    assert {bytes.fromhex(RANDOM), bytes.fromhex(OTHER_RANDOM), bytes.fromhex("88" * 32)} == set(ring.session_secrets)
    assert "first.log:1" == ring.session_secrets[bytes.fromhex(RANDOM)]["CLIENT_RANDOM"].origin
    assert [bytes.fromhex("66" * 8)] == list(ring.premaster_secrets)


def test_secrets_are_not_shown():
    ring = KeyRing()
    secrets = parse_key_log("\n".join(GOOD_LINES).encode(), "keys.log")[0]
    add_secrets(ring, secrets)
    assert bytes.fromhex(MASTER).hex() not in repr(ring)
    assert repr(bytes.fromhex(MASTER))[2:-1] not in repr(ring)


@given(st.binary(max_size=300))
def test_garbage_is_counted(data):
    secrets, problems = parse_key_log(data, "keys.log")
    assert not secrets
    assert len(problems) <= 1
    assert not looks_like_key_log(data)


def test_key_log_is_known_by_a_line():
    assert looks_like_key_log(f"# written by something\n{GOOD_LINES[2]}\n".encode())
    assert not looks_like_key_log(b"# a comment only\n")
