"""What a cipher suite's registered name says: key exchange, record protection, hash functions.

Suites stay numbers on the wire: an unknown or GREASE number has no `CipherSuite`, and that is no error.
"""

from functools import cache
from typing import Final, Literal, NamedTuple

from captool.tls.cipher_suite_names import CIPHER_SUITE_NAMES

Mode = Literal["null", "stream", "cbc", "gcm", "ccm", "ccm_8", "chacha20"]
Algorithm = Literal["null", "RC4", "AES", "Camellia", "SEED", "IDEA", "3DES", "DES", "ChaCha20"]


class BulkCipher(NamedTuple):
    """A record cipher: `key_length` and `block_length` in bytes (`block_length` 0 where there are no blocks to pad)."""

    algorithm: Algorithm
    mode: Mode
    key_length: int
    block_length: int = 0


# The part of a suite's name between WITH and the hash. Absent: ciphers that cryptography does not offer (ARIA, Camellia-GCM,
# RC2, Salsa20, GOST, SM4) and the export ciphers of 40 and 56 bits.
BULK_CIPHERS: Final[dict[str, BulkCipher]] = {
    "NULL": BulkCipher("null", "null", 0),
    "RC4_128": BulkCipher("RC4", "stream", 16),
    "AES_128_CBC": BulkCipher("AES", "cbc", 16, 16),
    "AES_256_CBC": BulkCipher("AES", "cbc", 32, 16),
    "CAMELLIA_128_CBC": BulkCipher("Camellia", "cbc", 16, 16),
    "CAMELLIA_256_CBC": BulkCipher("Camellia", "cbc", 32, 16),
    "SEED_CBC": BulkCipher("SEED", "cbc", 16, 16),
    "IDEA_CBC": BulkCipher("IDEA", "cbc", 16, 8),
    "3DES_EDE_CBC": BulkCipher("3DES", "cbc", 24, 8),
    "DES_CBC": BulkCipher("DES", "cbc", 8, 8),
    "AES_128_GCM": BulkCipher("AES", "gcm", 16),
    "AES_256_GCM": BulkCipher("AES", "gcm", 32),
    "AES_128_CCM": BulkCipher("AES", "ccm", 16),
    "AES_256_CCM": BulkCipher("AES", "ccm", 32),
    "AES_128_CCM_8": BulkCipher("AES", "ccm_8", 16),
    "AES_256_CCM_8": BulkCipher("AES", "ccm_8", 32),
    "CHACHA20_POLY1305": BulkCipher("ChaCha20", "chacha20", 32),
}
HASHES: Final = {"MD5": "md5", "SHA": "sha1", "SHA256": "sha256", "SHA384": "sha384"}
AEAD_MODES: Final = frozenset({"gcm", "ccm", "ccm_8", "chacha20"})


class CipherSuite(NamedTuple):
    """A registered suite.

    `key_exchange` is the first word of the name (`RSA`, `ECDHE`, `DH`, `PSK`, ...), with `_PSK` where a shared key is mixed in;
    None for TLS 1.3 suites, which do not name one. `mac` is the hash of the record MAC (None for AEAD), `prf_hash` that of the
    key schedule of TLS 1.2 and 1.3 (RFC 5246 section 5, RFC 8446 section 7.1). `bulk` is None where captool cannot decrypt it.
    """

    number: int
    name: str
    key_exchange: str | None
    bulk: BulkCipher | None
    mac: str | None
    prf_hash: str

    @property
    def forward_secret(self) -> bool:
        """Whether the suite's key exchange is ephemeral, so that no long-term key opens a session."""
        return self.key_exchange is None or self.key_exchange.startswith(("ECDHE", "DHE", "DH_anon", "ECDH_anon", "ECCPWD", "SRP"))


@cache
def cipher_suite(number: int) -> CipherSuite | None:
    """The registered suite of this number; None for unknown ones, GREASE and signalling values."""
    name = CIPHER_SUITE_NAMES.get(number)
    if name is None or name.endswith("_SCSV"):
        return None
    exchange, separator, protection = name.removeprefix("TLS_").rpartition("_WITH_")
    cipher, _, hash_name = protection.rpartition("_")
    if hash_name not in HASHES:  # CCM suites of TLS 1.2 name no hash
        cipher, hash_name = protection, "SHA256"
    exportable = "EXPORT" in exchange
    bulk = None if exportable else BULK_CIPHERS.get(cipher)
    authenticated = bulk is not None and bulk.mode in AEAD_MODES
    return CipherSuite(
        number=number,
        name=name,
        key_exchange=_key_exchange(exchange) if separator else None,
        bulk=bulk,
        mac=None if authenticated else HASHES[hash_name],
        prf_hash="sha384" if hash_name == "SHA384" else "sha256",
    )


def _key_exchange(words: str) -> str:
    if words == "PSK_DHE":  # RFC 6655 names two suites the other way round
        return "DHE_PSK"
    first, *others = words.split("_")
    mixed = [word for word in others if word in {"PSK", "anon"}]
    return "_".join([first, *mixed])
