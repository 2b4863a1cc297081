"""Key material from strangers: key logs, PEM, DER, PKCS#12, docker-machine's config.json."""

import base64
import tempfile
from pathlib import Path

from captool.errors import CaptoolError
from captool.keys.keylog import add_secrets, looks_like_key_log, parse_key_log
from captool.keys.load import load_keys
from captool.keys.machine_store import MACHINE_FILES
from captool.keys.material import KeyRing
from captool.keys.pem_facts import PemError, read_certificate, read_private_key
from captool.keys.stored_machine import read_machine
from fuzz.capture_files import one_line, written
from fuzz.script import Script


def key_log(data: bytes) -> object:
    """Secrets and the numbers of broken lines: never more than there are lines, and no sentence quotes a secret."""
    secrets, problems = parse_key_log(data, "keys.log")
    lines = data.count(b"\n") + 1
    assert len(secrets) <= lines
    assert len(problems) <= 1
    assert not secrets or looks_like_key_log(data)
    for problem in problems:
        assert problem.isascii()
        assert problem.isprintable()
    ring = KeyRing()
    add_secrets(ring, secrets)
    assert all(secret.secret.hex() not in repr(secret) for secret in secrets if secret.secret)
    return [(one.label, one.identifier, one.secret, one.origin) for one in secrets], problems


def key_file(data: bytes) -> object:
    """A named file of any kind: keys and secrets, or one line that says why not."""
    try:
        ring = load_keys([written(data)], password=b"secret")
    except CaptoolError as error:
        return one_line(error)
    for problem in ring.problems:
        assert problem.isprintable(), problem
    return ring


def pem_file(data: bytes) -> object:
    """DER that is put into armour, so that the fuzzer changes what is inside; the same as a file of a machine."""
    script = Script(data)
    label = (b"CERTIFICATE", b"RSA PRIVATE KEY", b"PRIVATE KEY", b"EC PRIVATE KEY", b"ENCRYPTED PRIVATE KEY")[script.byte() % 5]
    text = b"-----BEGIN %s-----\n%s-----END %s-----\n" % (label, base64.encodebytes(script.rest()), label)
    answers = [key_file(text)]
    for read in (read_certificate, read_private_key):
        try:
            answers.append(repr(read(text)).partition("certificate=")[0])
        except PemError as error:
            answers.append(str(error))
    assert not any("\n" in answer for answer in answers[1:])
    return answers


def machine(data: bytes) -> object:
    """A machine's directory: config.json, and certificates and keys behind their lengths. Never raises, never quotes what is secret."""
    with tempfile.TemporaryDirectory(prefix="captool-fuzz-") as place:
        directory = Path(place) / "machines" / "runner-1"
        directory.mkdir(parents=True)
        script = Script(data)
        (directory / "config.json").write_bytes(script.vector(2))
        for name in MACHINE_FILES:
            if content := script.vector(2):
                (directory / name).write_bytes(content)
        stored = read_machine(directory)
        for problem in stored.problems:
            assert "\n" not in problem, problem
        return repr((stored.machine, stored.config, sorted(stored.private_keys), sorted(stored.certificates), stored.problems)).replace(place, "")
