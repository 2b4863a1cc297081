#!/usr/bin/env python3
"""Write docs/decryption.md from results: the matrix of real sessions is recorded (as root) and read, and so are the public captures.

    python scripts/decryption_page.py [CORPUS]      CORPUS is the directory that CAPTOOL_CORPUS names in the tests
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from captool.analysis import analyze
from captool.findings.decryption import REMEDIES
from captool.tls.cipher_suite_names import CIPHER_SUITE_NAMES
from captool.tls.cipher_suites import BULK_CIPHERS, CipherSuite, cipher_suite
from captool.tls.summary import TlsSummary

ROOT = Path(__file__).parent.parent
STACKS = {"openssl": "OpenSSL", "s_client": "OpenSSL", "go": "Go", "gnutls": "GnuTLS"}
PUBLIC = "public captures"

HEAD = """\
# What captool decrypts, what not, and why

Written by `scripts/decryption_page.py` from the results of the tests; change the script and run it as root.

## What opens a session

| key exchange | the server's private key | a key log |
|---|---|---|
| RSA (`TLS_RSA_...`, TLS 1.2 and before) | yes | yes |
| ECDHE, DHE, anonymous (TLS 1.2 and before) | no: forward secret, the key only signs | yes |
| PSK, DHE-PSK, ECDHE-PSK | no: there is none in it | yes |
| RSA-PSK, static DH and ECDH, SRP, Kerberos | no: not implemented (nobody offers them) | yes |
| TLS 1.3, whatever the suite | no: forward secret, the certificate's key only signs | yes |
| a resumed session (TLS 1.2 and before) | yes, where the session that it resumes is opened from the same captures, in whatever order | yes |

A key log is what `SSLKEYLOGFILE` gives, or a Decryption Secrets Block inside a pcapng file, wherever it stands (on standard input: in front of the packets
that it opens). A private key is found by the public key in the
server's certificate, in directories of any shape, PEM, DER, PKCS#8 and PKCS#12, with `--key-password-file` where they are encrypted. An
elliptic-curve key decrypts nothing. Plaintext is released only after its tag or MAC verified, and before TLS 1.3 only after Finished did.

Read as well: SSL 3.0 and hellos in the form of SSL 2.0, extended master secret, encrypt-then-MAC, renegotiation, HelloRetryRequest, KeyUpdate,
early data that the server accepted (what it refused no program has got), client certificates, also those asked for after the handshake,
certificates compressed by zlib or Zstandard, and what follows a hole in the capture where the cipher needs nothing from before it (AEAD, NULL, block
ciphers since TLS 1.1), also where keys were changed or a session was renegotiated in it, as far as both hellos are there. HTTP goes on behind it with the next message that can be found, and what cannot be known there is called so
([http-incomplete](findings.md#http-incomplete)). How much was said in the hole the numbers of the records before and behind it tell: to the byte with AEAD
ciphers, within the padding with block ciphers (`lost_records` and `missing_bytes` of the JSON report; a stream's bytes include its frame headers). That is
application data as far as the same side mixed nothing else in (tickets, padding) before; if it did, or said nothing before in TLS 1.3, it is an upper bound.
Where the keys changed in the hole, and where nothing behind it can be read, nobody knows. Not read: TLS compression (the reason says so), DTLS, QUIC.

## Reasons

Every connection that is not decrypted carries one of these. `captool analyze`, `captool follow` and `captool keys --trace` show it
with a sentence that makes it concrete.

| reason | what helps |
|---|---|
"""

PROTECTIONS = """
## Record protection

| protection | status |
|---|---|
"""

SUITES = """
## Cipher suites

By the registry's names. *Seen decrypted* names the stacks and versions whose real sessions were decrypted byte for byte as both ends knew
them ({matrix} sessions of {versions})
and compared with tshark, and `public captures`; `vectors` stands for suites that were not seen in a real session and whose record protection
is tested against a sender written for the tests.

| suite | the server's private key | a key log | seen decrypted |
|---|---|---|---|
"""

NOT = """
## Suites that captool does not decrypt

The cipher is not offered by cryptography (ARIA, Camellia-GCM, RC2, GOST, SM4) or is an export cipher. The reason is `unsupported-suite`.

"""


def page(seen: dict[str, set[str]], sessions: int, versions: str) -> str:
    """The page; `seen` maps a suite's name to where it was decrypted."""
    suites = sorted(filter(None, map(cipher_suite, CIPHER_SUITE_NAMES)), key=lambda suite: suite.name)
    rows = [f"| `{reason}` | {remedy} |\n" for reason, remedy in REMEDIES.items()]
    protections = [f"| {name.replace('_', '-')} | {protection_status(name, seen)} |\n" for name in BULK_CIPHERS]
    supported = [suite_row(suite, seen.get(suite.name, set())) for suite in suites if suite.bulk is not None]
    others = "".join(f"- `{suite.name}`\n" for suite in suites if suite.bulk is None)
    head = SUITES.format(matrix=sessions, versions=versions)
    return "".join([HEAD, *rows, PROTECTIONS, *protections, head, *supported, NOT, others])


def protection_status(name: str, seen: dict[str, set[str]]) -> str:
    places = {place for suite, found in seen.items() for place in found if (known := by_name(suite)) and known.bulk == BULK_CIPHERS[name]}
    return f"decrypted; seen in {', '.join(sorted(places))}" if places else "decrypted; test vectors"


def by_name(name: str) -> CipherSuite | None:
    return next((cipher_suite(number) for number, known in CIPHER_SUITE_NAMES.items() if known == name), None)


def suite_row(suite: CipherSuite, places: set[str]) -> str:
    private_key = "yes" if suite.key_exchange == "RSA" else "no"
    return f"| `{suite.name}` | {private_key} | yes | {', '.join(sorted(places)) or 'vectors'} |\n"


def note(seen: dict[str, set[str]], tls: TlsSummary | None, place: str) -> None:
    if tls is not None and tls.status == "decrypted" and tls.cipher_suite and any(tls.plaintext_bytes):
        seen[tls.cipher_suite].add(place if place == PUBLIC else f"{place} {(tls.version or '').removeprefix('TLS ')}")


def from_matrix(seen: dict[str, set[str]]) -> int:
    with tempfile.TemporaryDirectory(prefix="captool-matrix-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        subprocess.run(["unshare", "-n", sys.executable, "-W", "ignore", ROOT / "tests/oracle/matrix/record.py", folder], check=True)
        stacks = {case["port"]: STACKS[case["stack"]] for case in json.loads((folder / "cases.json").read_text())["cases"]}
        connections = analyze(folder / "trace.pcap", sorted(folder.glob("*.log"))).connections
    for connection in connections:
        note(seen, connection.tls, stacks[connection.tcp.server.port])
    return len(connections)


def from_corpus(seen: dict[str, set[str]], corpus: Path) -> None:
    for entry in json.loads((corpus / "manifest.json").read_text()):
        if entry["kind"].startswith("tls-"):
            secrets = [corpus / secret for secret in entry["secrets"] if (corpus / secret).exists()]
            for connection in analyze(corpus / entry["file"], secrets).connections:
                note(seen, connection.tls, PUBLIC)


def versions() -> str:
    def said(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    return f"OpenSSL {said('openssl', 'version').split()[1]}, Go {said('go', 'version').split()[2][2:]}, GnuTLS {said('gnutls-cli', '--version').split()[1]}"


def main() -> None:
    corpus = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("CAPTOOL_CORPUS")
    if corpus is None:
        sys.exit("name the directory of the public captures")
    seen: dict[str, set[str]] = defaultdict(set)
    sessions = from_matrix(seen)
    from_corpus(seen, Path(corpus))
    (ROOT / "docs/decryption.md").write_text(page(seen, sessions, versions()), encoding="utf-8")


if __name__ == "__main__":
    main()
