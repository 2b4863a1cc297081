"""Key material loaded for an analysis: from directories of any shape, PEM and DER files, key logs. The type is found out."""

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from captool.errors import DecodeError, KeyMaterialError
from captool.keys.key_file import is_directory
from captool.keys.keylog import LABELS, add_secrets, looks_like_key_log, parse_key_log
from captool.keys.machine_store import find_machines, machine_of
from captool.keys.material import KeyRing, Machine, PrivateKey, SessionSecret
from captool.keys.pem import (
    CERTIFICATE_LABELS,
    PRIVATE_KEY_LABELS,
    PemBlock,
    der_private_key,
    is_pkcs12,
    pem_blocks,
    private_key,
)

MAX_PEM_BYTES: Final = 1 << 20
MAX_KEY_LOG_BYTES: Final = 1 << 28
MAX_FILES: Final = 20_000
MAX_DEPTH: Final = 12
MAX_PRIVATE_KEYS: Final = 10_000
MAX_PROBLEMS: Final = 100
HEAD_BYTES: Final = 1 << 14
DER_SEQUENCE: Final = b"\x30\x82"
# pcapng, and pcap in either byte order with micro- and nanoseconds: their packets may hold text that looks like keys.
CAPTURES: Final = (b"\x0a\x0d\x0d\x0a", *(bytes.fromhex(magic) for magic in ("a1b2c3d4", "d4c3b2a1", "a1b23c4d", "4d3cb2a1")))
SSH_KEY_PREFIX: Final = "id_"  # docker-machine's id_rsa opens SSH, never TLS
CONTROLS: Final = bytes({*range(32)} - set(b"\t\n\r\f\x1b"))
EXPECTED: Final = "name a private key (PEM, DER or PKCS#12), a key log (lines as SSLKEYLOGFILE gives them), or a directory with them"


class Found:
    """What a file holds: keys and secrets, what could not be used, whether there was a certificate at least, or else what it looks like.

    `unwritten`: it may be a key log that nothing was written to yet.
    """

    __slots__ = ("capture", "certificates", "keys", "looks", "problems", "secrets", "unwritten")

    def __init__(self) -> None:
        self.keys: list[PrivateKey] = []
        self.secrets: list[SessionSecret] = []
        self.problems: list[str] = []
        self.certificates = 0
        self.looks = ""
        self.capture = self.unwritten = False


def load_keys(paths: Iterable[Path], *, password: bytes | None = None, growing: bool = False) -> KeyRing:
    """Load all key material at `paths`; duplicates are merged. `password` opens encrypted PEM and PKCS#12 files.

    With `growing`, key logs are still being written: one without any secret is a problem and no error.

    A path is a directory (docker-machine's storage, a machines directory, one machine, a harvested bundle, a docker context store, any
    tree of such files), a PEM, DER or PKCS#12 file with a private key, or a key log. Raises KeyMaterialError, one line with file, reason
    and remedy, for a named file that cannot be used and for a directory without any key material; what cannot be used inside a
    directory is a sentence in the ring's `problems`.
    """
    total = Found()
    machines: dict[tuple[str, str | None], Machine] = {}
    for path in paths:
        found = _load_directory(path, machines, password) if is_directory(path) else _load_named_file(path, password, growing=growing)
        total.keys += found.keys
        total.secrets += found.secrets
        total.problems += found.problems
    ring = KeyRing(tuple(_distinct(total.keys)), machines=tuple(machines.values()), problems=tuple(total.problems[:MAX_PROBLEMS]))
    add_secrets(ring, total.secrets)
    return ring


def _load_named_file(path: Path, password: bytes | None, *, growing: bool) -> Found:
    try:
        found = _read_file(path, str(path), None, password)
    except OSError as fault:
        raise KeyMaterialError(f"{path}: {(fault.strerror or str(fault)).lower()}; name a key file, a key log or a directory") from None
    if found.keys or found.secrets:
        return found
    if found.problems:
        raise KeyMaterialError(found.problems[0])
    if found.certificates:
        raise KeyMaterialError(f"{path}: holds a certificate and no private key; name the key that belongs to it (server-key.pem)")
    if found.capture:
        raise KeyMaterialError(f"{path}: is a capture; the secrets in it open it without --keys (to a file: captool export --to keylog)")
    if growing and found.unwritten:
        found.problems.append(f"{path}: {found.looks}")
        return found
    raise KeyMaterialError(f"{path}: {found.looks or f'holds no private key; {EXPECTED}'}")


def _load_directory(directory: Path, machines: dict[tuple[str, str | None], Machine], password: bytes | None) -> Found:
    total = Found()
    missing: list[str] = []
    try:
        os.scandir(directory).close()
    except OSError as fault:
        raise KeyMaterialError(f"{directory}: {(fault.strerror or str(fault)).lower()}; let this user read it, or run as root") from None
    names = _machine_names(directory, machines)
    for path in _files(directory, total.problems):
        origin = path.relative_to(directory).as_posix()
        try:
            found = _read_file(path, origin, names.get(path.parent), password)
        except OSError as fault:
            total.problems.append(f"{origin}: {(fault.strerror or str(fault)).lower()}")
            if isinstance(fault, FileNotFoundError):
                missing.append(total.problems[-1])
            continue
        total.keys += found.keys
        total.secrets += found.secrets
        total.problems += found.problems
        if len(total.keys) > MAX_PRIVATE_KEYS:
            total.problems.append(f"{directory}: more than {MAX_PRIVATE_KEYS} private keys; the rest was not read")
            break
    if not total.keys and not total.secrets:
        told = next((problem for problem in total.problems if problem not in missing), None)  # a link to nowhere explains nothing
        because = f" ({told})" if told else ""
        raise KeyMaterialError(f"{directory}: holds no usable private key and no key log{because}; name the directory that has them")
    return total


def _machine_names(directory: Path, machines: dict[tuple[str, str | None], Machine]) -> dict[Path, str]:
    """The machine of each docker-machine directory at or below `directory`; they are added to `machines` as well."""
    names: dict[Path, str] = {}
    try:
        found = find_machines(directory)
    except KeyMaterialError:
        return names
    for place in found[:MAX_FILES]:
        machine = machine_of(place)
        if machine.ip is None and machine.driver is None and machine.server_spki_sha256 is None:
            continue  # a directory that only stands where a machine would
        names[place] = machine.name
        machines.setdefault((machine.name, machine.server_spki_sha256), machine)
    return names


def _files(directory: Path, problems: list[str]) -> Iterator[Path]:
    """Files below a directory, sorted; links to directories are not followed, so that there is no loop."""
    count = 0
    for folder, folders, files in os.walk(directory, onerror=lambda fault: problems.append(_walk_fault(fault, directory))):
        here = Path(folder)
        folders.sort()
        if len(here.relative_to(directory).parts) >= MAX_DEPTH:
            problems.append(f"{here.relative_to(directory).as_posix()}: deeper than {MAX_DEPTH} directories; not read")
            folders.clear()
        for file in sorted(files):
            count += 1
            if count > MAX_FILES:
                problems.append(f"{directory}: more than {MAX_FILES} files; the rest was not read")
                return
            if not file.startswith(SSH_KEY_PREFIX):
                yield here / file


def _walk_fault(fault: OSError, directory: Path) -> str:
    name = Path(fault.filename).relative_to(directory).as_posix() if fault.filename else str(directory)
    return f"{name}: {(fault.strerror or str(fault)).lower()}"


def _read_file(path: Path, origin: str, machine: str | None, password: bytes | None) -> Found:
    """What a file holds, found out by its content. Only ordinary files are opened; raises OSError."""
    found = Found()
    # Not blocking, so that a pipe of this name cannot hold the analysis up.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            found.problems.append(f"{origin}: is not an ordinary file; copy its content into one")
            return found
        head = file.read(HEAD_BYTES)
        if head.startswith(CAPTURES):
            found.capture = True
        elif b"-----BEGIN " in head:
            _read_pem(head + file.read(MAX_PEM_BYTES), origin, machine, password, found)
        elif head.startswith(DER_SEQUENCE) and status.st_size <= MAX_PEM_BYTES:
            _read_der(head + file.read(MAX_PEM_BYTES), origin, machine, password, found)
        elif looks_like_key_log(head):
            if status.st_size > MAX_KEY_LOG_BYTES:
                found.problems.append(f"{origin}: a key log of more than {MAX_KEY_LOG_BYTES >> 20} MiB; only its beginning was read")
            found.secrets, problems = parse_key_log(head + file.read(MAX_KEY_LOG_BYTES), origin)
            found.problems += problems
        else:
            found.unwritten = all(line.startswith(b"#") for line in _lines(head))
            found.looks = _looks(head, unwritten=found.unwritten)
    return found


def _lines(head: bytes) -> list[bytes]:
    return list(filter(None, map(bytes.strip, head.split(b"\n"))))


def _looks(head: bytes, *, unwritten: bool) -> str:
    """What a file with this beginning, which holds no key and no secret, looks like, and what helps."""
    if unwritten:
        what = "is a key log without any secret" if head else "is empty"
        return f"{what}; check that the program wrote to it (SSLKEYLOGFILE) while it ran"
    if any(line.partition(b" ")[0] in LABELS for line in _lines(head)):
        return "is a key log none of whose lines is whole; copy it again, or record the secrets again"
    text = head.translate(None, CONTROLS) == head
    return f"is {'text' if text else 'a binary file'} with neither a private key nor a line of a key log in it; {EXPECTED}"


def _read_der(data: bytes, origin: str, machine: str | None, password: bytes | None, found: Found) -> None:
    if not is_pkcs12(data):
        key = der_private_key(data, origin, machine)
        found.keys += [] if key is None else [key]
        return
    from captool.keys.openssl_key import pkcs12_private_keys

    try:
        found.keys += pkcs12_private_keys(data, origin, machine, password)
    except DecodeError:
        found.problems.append(f"{origin}: {_locked('the PKCS#12 file', password, f'openssl pkcs12 -in {Path(origin).name} -nodes')}")


def _read_pem(data: bytes, origin: str, machine: str | None, password: bytes | None, found: Found) -> None:
    for block in pem_blocks(data):
        if block.label in PRIVATE_KEY_LABELS:
            _read_pem_key(block, origin, machine, password, found)
        elif block.label in CERTIFICATE_LABELS:
            found.certificates += 1
        else:
            article = "an" if block.label[0] in "AEIOU" else "a"
            found.looks = f"holds {article} {block.label.lower()} and no private key of TLS; {EXPECTED}"
    if not found.keys and not found.problems and b"PRIVATE KEY-----" in data and not (found.certificates or found.looks):
        found.problems.append(f"{origin}: the private key in it is cut off or damaged; copy the file again")


def _read_pem_key(block: PemBlock, origin: str, machine: str | None, password: bytes | None, found: Found) -> None:
    if block.is_encrypted and password is None:
        found.problems.append(f"{origin}: {_locked('the private key', password, f'openssl pkey -in {Path(origin).name}')}")
        return
    try:
        key = private_key(block, origin, machine, password)
    except DecodeError as fault:
        locked = _locked("the private key", password, f"openssl pkey -in {Path(origin).name}")
        found.problems.append(f"{origin}: {locked if block.is_encrypted else f'{fault}; check that the file is whole'}")
        return
    if key is None:
        found.problems.append(f"{origin}: a private key of a kind that no TLS session is decrypted with")
    else:
        found.keys.append(key)


def _locked(what: str, password: bytes | None, command: str) -> str:
    """Why an encrypted file stays closed, and the command that opens it for good."""
    if password is None:
        return f"{what} is encrypted; give its password with --key-password-file, or decrypt it first ({command} -out plain.pem)"
    return f"{what} is encrypted, and not with the password that was given; check the password (the first line of its file)"


def _distinct(keys: list[PrivateKey]) -> Iterator[PrivateKey]:
    """Each key once, with its machine where one of its copies has it."""
    chosen: dict[str, PrivateKey] = {}
    for key in keys:
        known = chosen.get(key.spki_sha256)
        if known is None or (known.machine is None and key.machine is not None):
            chosen[key.spki_sha256] = key
    yield from chosen.values()
