"""RSA private keys (RFC 8017): read from DER, and what ties them to a certificate.

Those of docker-machine and of openssl are plain numbers. cryptography, which takes a tenth of a short run to import, is needed only
where one of them decrypts something.
"""

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from captool.errors import DecodeError
from captool.keys.der import BIT_STRING, INTEGER, NULL, OCTET_STRING, SEQUENCE, encoded, encoded_number, number, sequence

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

RSA_ENCRYPTION: Final = bytes.fromhex("06092a864886f70d010101")  # 1.2.840.113549.1.1.1, the algorithm of such a key (RFC 8017 A.1)
ALGORITHM: Final = encoded(SEQUENCE, RSA_ENCRYPTION + encoded(NULL, b""))
NUMBERS: Final = 8
MAX_BITS: Final = 1 << 14  # OpenSSL decrypts with no longer ones (OPENSSL_RSA_MAX_MODULUS_BITS), and to test them would take long
REMEMBERED: Final = 256


class RsaKey(NamedTuple):
    """The numbers of an RSA private key with two primes, in the order of RFC 8017 A.1.2: n, e, d, p, q, d mod p-1, d mod q-1, 1/q mod p."""

    modulus: int
    public_exponent: int
    private_exponent: int
    prime1: int
    prime2: int
    exponent1: int
    exponent2: int
    coefficient: int

    def __repr__(self) -> str:
        return f"RsaKey({self.modulus.bit_length()} bits)"

    @property
    def agrees(self) -> bool:
        """Whether the numbers fit together (RFC 8017 section 3.2).

        That finds a damaged file. The primes are not tested, which takes 70 ms for each key and says nothing here: what a key opens is
        believed only when the TLS Finished verifies.
        """
        p, q, d, e = self.prime1, self.prime2, self.private_exponent, self.public_exponent
        if max(map(int.bit_length, self)) > MAX_BITS or p < 3 or q < 3 or p * q != self.modulus:
            return False
        exponents = d * e % (p - 1) == 1 == d * e % (q - 1) and self.exponent1 == d % (p - 1) and self.exponent2 == d % (q - 1)
        return exponents and self.coefficient * q % p == 1

    @property
    def der(self) -> bytes:
        """The key as an RSAPrivateKey (RFC 8017 appendix A.1.2)."""
        return encoded(SEQUENCE, b"".join(map(encoded_number, (0, *self))))

    @property
    def spki_sha256(self) -> str:
        """Lower-case hex SHA-256 of the public key as a certificate holds it (SubjectPublicKeyInfo, RFC 5280 section 4.1)."""
        public = encoded(SEQUENCE, encoded_number(self.modulus) + encoded_number(self.public_exponent))
        return hashlib.sha256(encoded(SEQUENCE, ALGORITHM + encoded(BIT_STRING, b"\0" + public))).hexdigest()


def parse_rsa_key(der: bytes) -> RsaKey:
    """The key in an RSAPrivateKey of PKCS#1, or in such a one inside PKCS#8 (RFC 5958). Raises DecodeError for whatever else it is."""
    fields = sequence(der, INTEGER)
    if fields[1:2] and fields[1].encoded == ALGORITHM:
        if len(fields) < 3 or fields[2].tag != OCTET_STRING or number(fields[0]) > 1:
            raise DecodeError("not a key of PKCS#8")
        fields = sequence(fields[2].content, INTEGER)
    version, *numbers = map(number, fields[: NUMBERS + 2])
    if version or len(numbers) != NUMBERS or min(numbers) < 1:
        raise DecodeError("not an RSA key with two primes")
    return RsaKey(*numbers)


def decrypt(key: RsaKey, encrypted: bytes) -> bytes:
    """What was encrypted to the key (PKCS#1 v1.5, RFC 8017 section 7.2.2). Raises ValueError where it was not, or not for this key."""
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

    return _usable(key).decrypt(encrypted, PKCS1v15())


@lru_cache(maxsize=REMEMBERED)
def _usable(key: RsaKey) -> "RSAPrivateKey":
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateNumbers, RSAPublicNumbers

    public = RSAPublicNumbers(key.public_exponent, key.modulus)
    numbers = RSAPrivateNumbers(
        key.prime1, key.prime2, key.private_exponent, key.exponent1, key.exponent2, key.coefficient, public
    )  # fmt: skip
    return numbers.private_key(unsafe_skip_rsa_key_validation=True)
