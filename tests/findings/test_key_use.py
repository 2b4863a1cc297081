"""Which key concerns which connection, and which machine a connection went to."""

from captool.findings.key_use import key_uses, machine_of
from captool.keys.material import KeyRing, Machine, PrivateKey, SessionSecret
from tables import tcp, tls

KEY = PrivateKey("rsa-private-key", "runner-1/server-key.pem", "runner-1", "ab" * 32, None)


def test_private_key_concerns_the_connections_with_its_certificate():
    (use,) = key_uses(KeyRing(private_keys=(KEY,)), [(0, tls()), (1, tls(certificate_spki_sha256="cd" * 32, secret_origin=None))])
    assert (0,) == use.connections


def test_key_log_is_one_entry_for_the_file():
    secrets = {bytes([n]) * 32: {"CLIENT_RANDOM": SessionSecret("CLIENT_RANDOM", bytes([n]) * 32, b"", f"keys.log:{n}")} for n in (1, 2)}
    (use,) = key_uses(KeyRing(session_secrets=secrets), [(3, tls(secret_origin="keys.log:2"))])
    assert ("key-log", "keys.log", (3,)) == (use.kind, use.origin, use.connections)


def test_machine_is_found_by_public_key_then_by_subject_then_by_address():
    by_key = KeyRing(machines=(Machine("a", None, None, "ab" * 32), Machine("b", "10.0.0.2", None, None)))
    assert "a" == machine_of(tcp(), tls(), by_key)
    assert "runner-1" == machine_of(tcp(), tls(), KeyRing())
    assert "b" == machine_of(tcp(), None, by_key)


def test_address_does_not_override_a_certificate():
    reused = KeyRing(machines=(Machine("b", "10.0.0.2", None, "ee" * 32),))
    assert machine_of(tcp(), tls(certificate_organization="Company"), reused) is None


def test_of_machines_with_one_key_the_address_tells_which():
    shared = [Machine(name, ip, "google", "ab" * 32) for name, ip in (("a", "10.9.9.9"), ("b", tcp().server.ip), ("c", None))]
    assert "b" == machine_of(tcp(), tls(), KeyRing(machines=tuple(shared)))
    assert "a or c" == machine_of(tcp(), tls(), KeyRing(machines=(shared[0], shared[2])))
    many = tuple(Machine(str(number), None, None, "ab" * 32) for number in range(9))
    assert "0 or 1 or 2 or 6 others" == machine_of(tcp(), tls(), KeyRing(machines=many))
    assert "a" == machine_of(tcp(), tls(), KeyRing(machines=(shared[0], shared[0])))  # two generations
