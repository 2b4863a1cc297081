"""What a stream speaks, by its first bytes, from the beginning or from the middle."""

import pytest

from captool.protocol import protocol_of
from tests.tls.stacks import CLIENT, SERVER, run


@pytest.mark.parametrize(
    ("direction", "data", "from_start", "spoken"),
    [
        (CLIENT, b"\x16\x03\x01\x02\x00", True, "tls"),
        (CLIENT, b"\x17\x03\x03\x00\x20", False, "tls"),
        (CLIENT, b"GET /_ping HTTP/1.1\r\n", True, "http"),
        (CLIENT, b"G", True, "http"),
        (SERVER, b"HTTP/1.1 200 OK\r\n", False, "http"),
        (SERVER, b"HTTP/1.1 200 OK\r\n", True, "http"),
        (SERVER, b"SSH-2.0-OpenSSH_9.2\r\n", True, None),
        (CLIENT, b"G\xfe\x00\x01", True, None),
        (SERVER, b"\x9c\x01\x02\x03", False, "tls"),
        (SERVER, b"K\xd4\x19\x00\x81\x7fab", False, "tls"),
        (SERVER, b"Kd19081ab\xd4", False, "tls"),
        (CLIENT, b"G / HTTP/1.1\r\n\r\n\xff", True, "http"),
        (CLIENT, b"\0\0\0\x08", True, None),
        # docker attach and wait on port 2375, recorded from the middle
        (SERVER, b"\1\0\0\0\0\0\0\5done\n", False, "http"),
        (SERVER, b"1e\r\n{\"Error\":null,\"StatusCode\":0}", False, "http"),
        (SERVER, b"1e\r\n{\"Er", False, "tls"),
        (SERVER, b"\1\0\0\0\x81\0\0\5", False, "tls"),
        (SERVER, b"\1\0\0\0\0\0\0\5done\n", True, None),
        (CLIENT, b"1e\r\n{\"Error\":null}", True, None),
    ],
)
def test_first_bytes_tell(direction, data, from_start, spoken):
    assert spoken == protocol_of(run(direction, 0, data, from_start=from_start))
