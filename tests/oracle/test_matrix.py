"""The decryption matrix: real sessions of OpenSSL, Go and GnuTLS, each read by captool and by tshark, and known from both ends.

`matrix/record.py` makes them. Every difference has its reason here by name.
"""

import base64
import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from captool.analysis import analyze
from captool.connections import key_ring
from captool.tls.conversation import TlsConversation

pytestmark = [pytest.mark.slow, pytest.mark.needs("tshark", "tcpdump", "unshare", "ip", "openssl", "go", "gnutls-serv", "gnutls-cli", root=True)]
PAGE = Path(__file__).parents[2] / "docs/decryption.md"
RECORD = Path(__file__).parent / "matrix/record.py"

# Suites that captool does not decrypt whatever the secret: cryptography offers neither ARIA nor Camellia-GCM.
UNSUPPORTED = re.compile("ARIA|CAMELLIA-256-GCM")

# libgcrypt, which tshark decrypts with, has Camellia-GCM; ARIA it has not either.
TSHARK_ALONE = ["gnutls/1.2/CAMELLIA-256-GCM"]


class Matrix:
    """The recorded sessions, what captool and tshark read of them, by port and in order of their beginning."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        known = json.loads((folder / "cases.json").read_text())
        self.faults = known["faults"]
        failed = {fault.partition(": ")[0] for fault in self.faults}
        self.cases = [case for case in known["cases"] if case["name"] not in failed]
        self.key_logs = sorted(folder.glob("*.log"))
        self.trace = folder / "trace.pcap"

    def read(self, keys: list[Path]) -> tuple[dict, dict]:
        """(port -> TLS summaries, port -> plaintext of both directions of each connection), with these keys."""
        said: dict[int, tuple[bytearray, bytearray]] = {}
        read = TlsConversation.read

        def recording_read(self, piece):
            found = read(self, piece)
            sides = said.setdefault(piece.connection, (bytearray(), bytearray()))
            for plain in found:
                sides[plain.direction].extend(plain.data)
            return found

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(TlsConversation, "read", recording_read)
            connections = analyze(self.trace, key_ring(keys)).connections
        summaries, texts = defaultdict(list), defaultdict(list)
        for one in connections:
            summaries[one.tcp.server.port].append(one.tls)
            texts[one.tcp.server.port].append(tuple(map(bytes, said.get(one.id, (b"", b"")))))
        return summaries, texts


@pytest.fixture(scope="module")
def matrix(tmp_path_factory):
    folder = tmp_path_factory.mktemp("matrix")
    folder.chmod(0o755)
    subprocess.run(["unshare", "-n", sys.executable, RECORD, folder], check=True, timeout=120, env={**os.environ, "PYTHONPATH": ""})
    return Matrix(folder)


@pytest.fixture(scope="module")
def read_with_key_logs(matrix):
    return matrix.read(matrix.key_logs)


def known(case):
    """What both ends said, once for each of the case's connections."""
    text = (base64.b64decode(case["to_server"]), base64.b64decode(case["to_client"]))
    return [text] * case["sessions"]


def test_matrix_is_large_enough(matrix):
    assert [] == matrix.faults
    assert len(matrix.cases) >= 160
    assert {"openssl", "s_client", "go", "gnutls"} == {case["stack"] for case in matrix.cases}
    assert {"1.0", "1.1", "1.2", "1.3"} == {case["version"] for case in matrix.cases}


def test_captool_reads_what_both_ends_said(matrix, read_with_key_logs):
    summaries, texts = read_with_key_logs
    wrong = []
    for case in matrix.cases:
        if UNSUPPORTED.search(case["suite"]):
            expected, fate = [(b"", b"")] * case["sessions"], ("encrypted", "unsupported-suite")
        else:
            expected, fate = known(case), ("decrypted", None)
        if expected != texts[case["port"]] or any(fate != (tls.status, tls.reason) for tls in summaries[case["port"]]):
            wrong.append((case["name"], [(tls.status, tls.reason, tls.detail) for tls in summaries[case["port"]]]))
    assert [] == wrong


def test_versions_and_options_are_those_that_were_asked_for(matrix, read_with_key_logs):
    summaries, _ = read_with_key_logs
    for case in matrix.cases:
        first, *later = summaries[case["port"]]
        assert f"TLS {case['version']}" == first.version, case["name"]
        assert not first.resumed
        assert all(tls.resumed for tls in later), case["name"]
        if case["version"] != "1.3" and case["stack"] != "go":
            assert ("no-ems" not in case["options"]) == first.extended_master_secret, case["name"]
            if "no-etm" in case["options"]:
                assert not first.encrypt_then_mac


def test_private_key_opens_exactly_what_is_not_forward_secret(matrix):
    summaries, texts = matrix.read([matrix.folder / "rsa.key"])
    opened = 0
    for case in matrix.cases:
        for tls, text, truth in zip(summaries[case["port"]], texts[case["port"]], known(case), strict=True):
            assert not any(text) or text == truth, case["name"]
            if UNSUPPORTED.search(case["suite"]):
                assert "unsupported-suite" == tls.reason
            elif tls.key_exchange == "RSA":
                assert ("decrypted", truth) == (tls.status, text), (case["name"], tls.detail)
                opened += 1
            elif tls.forward_secrecy:
                assert ("encrypted", "forward-secrecy") == (tls.status, tls.reason), (case["name"], tls.detail)
            else:
                assert "psk" in case["options"]
                assert "encrypted" == tls.status
    assert opened >= 40


def test_decryption_page_claims_nothing_else(matrix, read_with_key_logs):
    summaries, _ = read_with_key_logs
    stacks = {"openssl": "OpenSSL", "s_client": "OpenSSL", "go": "Go", "gnutls": "GnuTLS"}
    shown = {(tls.cipher_suite, f"{stacks[case['stack']]} {case['version']}") for case in matrix.cases for tls in summaries[case["port"]]}
    rows = re.findall(r"^\| `(TLS_\w+)` \| \w+ \| yes \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    claimed = {(suite, place) for suite, places in rows for place in places.split(", ") if place not in {"vectors", "public captures"}}
    assert len(claimed) > 100
    assert set() == claimed - shown


def tshark_texts(matrix):
    """Port -> plaintext of both directions of each stream, from one run of tshark."""
    log = matrix.folder / "all-secrets"
    log.write_bytes(b"".join(path.read_bytes() for path in matrix.key_logs))
    ports = [one.tcp.server.port for one in analyze(matrix.trace).connections]
    follows = [word for number in range(len(ports)) for word in ("-z", f"follow,tls,raw,{number}")]
    as_tls = f"tcp.port=={min(ports)}-{max(ports)},tls"
    command = ["tshark", "-r", matrix.trace, "-d", as_tls, f"-otls.keylog_file:{log}", "-q", *follows]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    texts = defaultdict(dict)
    for section in output.split("Follow: tls,raw")[1:]:
        number, node_0 = map(int, re.search(r"tcp\.stream eq (\d+)\nNode 0: .*:(\d+)\n", section).groups())
        body = [line for line in section.splitlines() if re.fullmatch(r"\t?[0-9a-f]+", line)]
        first, second = (b"".join(bytes.fromhex(line) for line in body if line.startswith("\t") == tab) for tab in (False, True))
        port = ports[number]
        # Node 0 is whoever tshark saw first with data that it could read.
        texts[port][number] = (second, first) if node_0 == port else (first, second)
    return {port: [text for _, text in sorted(by_number.items())] for port, by_number in texts.items()}


def test_tshark_reads_the_same(matrix, read_with_key_logs):
    _, ours = read_with_key_logs
    theirs = tshark_texts(matrix)
    different = [case["name"] for case in matrix.cases if theirs.get(case["port"], []) != ours[case["port"]]]
    assert TSHARK_ALONE == different


def test_what_tshark_alone_reads_is_right(matrix):
    theirs = tshark_texts(matrix)
    assert [known(case) for case in matrix.cases if case["name"] in TSHARK_ALONE] == [
        theirs[case["port"]] for case in matrix.cases if case["name"] in TSHARK_ALONE
    ]
