"""Published vectors of the key schedules, and one record of RFC 8448."""

import pytest

from captool.tls.cipher_suites import cipher_suite
from captool.tls.hello import TLS_1_0, TLS_1_2, TLS_1_3
from captool.tls.key_schedule import prf
from captool.tls.protection import opener13
from captool.tls.traffic_secrets import hkdf_expand, hkdf_expand_label, traffic_keys

AES_128_GCM_SHA256 = cipher_suite(0x1301)


def test_prf_of_tls_12_with_sha256():
    # The vectors for RFC 5246 section 5 that were posted to the TLS working group's mailing list and that TLS libraries share
    output = prf(
        TLS_1_2,
        "sha256",
        bytes.fromhex("9bbe436ba940f017b17652849a71db35"),
        b"test label",
        bytes.fromhex("a0ba9f936cda311827a6f796ffd5198c"),
        100,
    )
    assert output == bytes.fromhex(
        "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791e90d35c9c9a46b4e14baf9af"
        "0fa022f7077def17abfd3797c0564bab4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff701"
        "87347b66"
    )


def test_prf_of_tls_12_with_sha384():
    # The vectors for RFC 5246 section 5 that were posted to the TLS working group's mailing list and that TLS libraries share
    output = prf(
        TLS_1_2,
        "sha384",
        bytes.fromhex("b80b733d6ceefcdc71566ea48e5567df"),
        b"test label",
        bytes.fromhex("cd665cf6a8447dd6ff8b27555edb7465"),
        148,
    )
    assert output == bytes.fromhex(
        "7b0c18e9ced410ed1804f2cfa34a336a1c14dffb4900bb5fd7942107e81c83cde9ca0faa60be9fe34f82b1233c9146a0"
        "e534cb400fed2700884f9dc236f80edd8bfa961144c9e8d792eca722a7b32fc3d416d473ebc2c5fd4abfdad05d918425"
        "9b5bf8cd4d90fa0d31e2dec479e4f1a26066f2eea9a69236a3e52655c9e9aee691c8f3a26854308d5eaa3be85e099070"
        "3d73e56f"
    )


def test_prf_of_tls_10():
    # The "PRF Testvector" for RFC 2246 section 5 that TLS libraries share
    assert prf(TLS_1_0, "sha256", b"\xab" * 48, b"PRF Testvector", b"\xcd" * 64, 104) == bytes.fromhex(
        "d3d4d1e349b5d515044666d51de32bab258cb521b6b053463e354832fd976754443bcf9a296519bc289abcbc1187e4eb"
        "d31e602353776c408aafb74cbc85eff69255f9788faa184cbb957a9819d84a5d7eb006eb459d3ae8de9810454b8b2d8f"
        "1afbc655a8c9a013"
    )


def test_hkdf_expand():
    # RFC 5869 appendix A.1
    output = hkdf_expand(
        "sha256",
        bytes.fromhex("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"),
        bytes.fromhex("f0f1f2f3f4f5f6f7f8f9"),
        42,
    )
    assert output == bytes.fromhex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865")


# RFC 8448 section 3
@pytest.mark.parametrize(
    ("secret", "key", "iv"),
    [
        (  # server handshake
            "b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38",
            "3fce516009c21727d0f2e4e86ee403bc",
            "5d313eb2671276ee13000b30",
        ),
        (  # client handshake
            "b3eddb126e067f35a780b3abf45e2d8f3b1a950738f52e9600746a0e27a55a21",
            "dbfaa693d1762c5b666af5d950258d01",
            "5bd3c71b836e0b76bb73265f",
        ),
        (  # server application
            "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643",
            "9f02283b6c9c07efc26bb9f2ac92e356",
            "cf782b88dd83549aadf1e984",
        ),
    ],
)
def test_traffic_keys(secret, key, iv):
    assert traffic_keys(AES_128_GCM_SHA256, bytes.fromhex(secret)) == (bytes.fromhex(key), bytes.fromhex(iv))


def test_finished_key():
    # RFC 8448 section 3
    secret = bytes.fromhex("b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38")
    expected = bytes.fromhex("008d3b66f816ea559f96b537e885c31fc068bf492c652f01f288a1d8cdc19fc8")
    assert expected == hkdf_expand_label("sha256", secret, b"finished", b"", 32)


def test_application_record():
    # RFC 8448 section 3: {client} send application_data record
    secret = bytes.fromhex("9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5")
    record = bytes.fromhex(
        "1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395bd54a9a20441e2b"
        "62974e1f5a6292a2977014bd1e3deae63aeebb21694915e4"
    )
    open_record = opener13(TLS_1_3, AES_128_GCM_SHA256, secret)
    assert bytes(range(50)) + b"\x17" == open_record(0, record, 0, len(record))
    assert open_record(1, record, 0, len(record)) is None


def test_secrets_are_not_shown():
    from captool.tls.key_schedule import WriteKeys
    from captool.tls.master_secrets import MasterSecret

    shown = repr([WriteKeys(b"mac-secret", b"key-secret", b"iv-secret"), MasterSecret(b"master-secret", "keys.log:1")])
    assert "secret'" not in shown.replace("keys", "")
