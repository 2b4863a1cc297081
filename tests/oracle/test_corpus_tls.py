"""Public TLS captures with their known plaintext; runs where CAPTOOL_CORPUS names the directory.

Every stream that can be decrypted is, byte for byte, as `captool follow --raw` gives it; every other one has its reason.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from captool.analysis import analyze
from captool.connections import key_ring
from captool.direction import Direction
from captool.errors import NothingMatchedError
from captool.keys.material import KeyRing
from captool.transcript import Said, plaintext

CORPUS = os.environ.get("CAPTOOL_CORPUS")

# (file, suite) -> the reason for a stream that is not decrypted, or not all of it. cryptography offers no ARIA, so no secret helps; the
# key of one capture is not in the corpus; one key log lacks the secret of the early data.
EXCEPTIONS = {
    ("tls-keylog/c6d5fd-tls_ARIA256-GCM-SHA384.pcap", "TLS_RSA_WITH_ARIA_256_GCM_SHA384"): ("encrypted", "unsupported-suite"),
    ("tls-keylog/b9698a-tls_ECDHE-ARIA256-GCM-SHA384.pcap", "TLS_ECDHE_RSA_WITH_ARIA_256_GCM_SHA384"): ("encrypted", "unsupported-suite"),
    ("tls-keylog/8b4c64-TLS1_2_ECDHE-ARIA128-GCM-SHA256_auth.pcap", "TLS_ECDHE_RSA_WITH_ARIA_128_GCM_SHA256"): ("encrypted", "unsupported-suite"),
    ("tls-rsa/8a220a-dmgr.pcapng", "TLS_RSA_WITH_AES_128_CBC_SHA"): ("encrypted", "no-secret"),
}
PRIVATE_KEY_ONLY = {
    ("tls-keylog/8a89dd-capture.pcap", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
    ("tls-keylog/271de4-tls_nss_example.pcap", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    ("tls-keylog/271de4-tls_nss_example.pcap", "TLS_AES_256_GCM_SHA384"),
}
WITHOUT_EARLY_SECRET = "secrets/3751ab-tls13-rfc8446-noearly.keys"


def entries() -> list[Any]:
    if CORPUS is None:
        return []
    return [entry for entry in json.loads((Path(CORPUS) / "manifest.json").read_text()) if entry["kind"].startswith("tls-")]


def ring(entry: dict[str, Any]) -> KeyRing:
    return key_ring([Path(CORPUS or "") / name for name in entry["secrets"] if name != "embedded DSB"])


def spoken(capture: Path, number: int, direction: Direction, keys: KeyRing) -> bytes:
    try:
        return b"".join(one.data for one in plaintext(capture, direction, number, keys) if isinstance(one, Said))
    except NothingMatchedError:
        return b""


@pytest.mark.skipif(CORPUS is None, reason="CAPTOOL_CORPUS does not name the corpus")
@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry["file"])
def test_plaintext_is_what_is_known(entry: dict[str, Any]) -> None:
    file = entry["file"]
    capture, keys = Path(CORPUS or "") / file, ring(entry)
    connections = {}
    for one in analyze(capture, keys).connections:
        connections[f"{one.tcp.client.ip}:{one.tcp.client.port}", f"{one.tcp.server.ip}:{one.tcp.server.port}"] = one
    for stream in entry["streams"]:
        client, server = (name.replace("[", "").replace("]", "") for name in (stream["client"], stream["server"]))
        connection = connections[client, server]
        tls = connection.tls
        assert tls is not None
        assert (stream["version"], stream["cipher"]) == (tls.version, tls.cipher_suite)
        expected = EXCEPTIONS.get((file, stream["cipher"]), ("decrypted", None))
        if not stream["decryptable"]:
            assert (file, stream["cipher"]) in PRIVATE_KEY_ONLY
            expected = ("encrypted", "forward-secrecy")
        elif WITHOUT_EARLY_SECRET in entry["secrets"] and client == "10.9.0.1:38290":
            expected = ("partly", "no-matching-session-key")
        assert expected == (tls.status, tls.reason), tls.detail
        for direction, known in ((Direction.TO_SERVER, stream["client_plaintext"]), (Direction.TO_CLIENT, stream["server_plaintext"])):
            said = spoken(capture, connection.id, direction, keys)
            if expected[0] != "encrypted":
                assert (known["len"], known["sha256"]) == (len(said), hashlib.sha256(said).hexdigest())
            else:
                assert b"" == said


@pytest.mark.skipif(CORPUS is None, reason="CAPTOOL_CORPUS does not name the corpus")
def test_corpus_is_whole() -> None:
    assert len(entries()) >= 62
    assert sum(len(entry["streams"]) for entry in entries()) >= 82
