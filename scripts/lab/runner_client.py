"""A client that behaves like a CI runner: create a container, attach with a hijacked connection, start, read to the end.

Run by the lab in the client's namespace. Events go to standard output, one JSON object a line, so that the lab knows the truth
that the analysis has to find: when it attached, what output arrived, how it ended.
"""

import argparse
import contextlib
import errno
import json
import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

API = "/v1.41"
GAVE_UP, BROKEN = 3, 4  # exit codes beside 0: no output for too long; connection lost


def main() -> None:
    arguments = _arguments()
    os.umask(0o077)  # OpenSSL creates the key log
    context = ssl.create_default_context(cafile=arguments.machine / "ca.pem")
    context.load_cert_chain(arguments.machine / "cert.pem", arguments.machine / "key.pem")
    context.maximum_version = ssl.TLSVersion[arguments.maximum_version]
    if arguments.suite:
        context.set_ciphers(arguments.suite)
    if arguments.key_log:
        context.keylog_filename = str(arguments.key_log)

    deadline = time.monotonic() + arguments.deadline
    pooled = _connect(context, arguments)
    body = {"Image": arguments.image, "Cmd": ["sh", "-c", arguments.job], "HostConfig": {"NetworkMode": "none"}}
    container = json.loads(_request(pooled, "POST", f"{API}/containers/create", json.dumps(body).encode()))["Id"]
    _tell("created", container=container)

    stream = _connect(context, arguments)
    target = f"{API}/containers/{container}/attach?stream=1&stdout=1&stderr=1"
    stream.sendall(_head("POST", target, "Connection: Upgrade", "Upgrade: tcp", "Content-Type: text/plain", "Content-Length: 0"))
    head, rest = _read_head(stream)
    if b" 101 " not in head.split(b"\r\n", 1)[0]:
        sys.exit(f"attach was not upgraded: {head!r}")
    _tell("attached", port=stream.getsockname()[1])

    _request(pooled, "POST", f"{API}/containers/{container}/start")
    _tell("started")
    if arguments.poll:
        threading.Thread(target=_poll, args=(pooled, container, arguments.poll), daemon=True).start()
    for kind, text in _frames(stream, rest, deadline, arguments.read_timeout):
        _tell("output", stream=kind, text=text)
    _tell("ended")


def _connect(context: ssl.SSLContext, arguments: argparse.Namespace) -> ssl.SSLSocket:
    plain = socket.create_connection((arguments.host, arguments.port), timeout=10)
    if arguments.keepalive:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, arguments.keepalive[0])
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, arguments.keepalive[1])
    return context.wrap_socket(plain, server_hostname=arguments.host, suppress_ragged_eofs=False)  # an end without close_notify is no end


def _poll(pooled: ssl.SSLSocket, container: str, seconds: float) -> None:
    """Old runners ask for the container's state over the pooled connection, which therefore stays busy while attach is silent."""
    while True:
        time.sleep(seconds)
        state = json.loads(_request(pooled, "GET", f"{API}/containers/{container}/json"))["State"]
        _tell("polled", running=state["Running"], exit_code=state["ExitCode"])
        if not state["Running"]:
            return


def _head(method: str, target: str, *headers: str) -> bytes:
    return "\r\n".join((f"{method} {target} HTTP/1.1", "Host: docker", "User-Agent: captool-lab-runner", *headers, "", "")).encode()


def _request(connection: ssl.SSLSocket, method: str, target: str, body: bytes = b"") -> bytes:
    headers = [f"Content-Length: {len(body)}"] if method == "POST" else []
    if body:
        headers.append("Content-Type: application/json")
    connection.sendall(_head(method, target, *headers) + body)
    head, rest = _read_head(connection)
    lines = head.split(b"\r\n")
    if not lines[0].split(b" ")[1].startswith(b"2"):
        sys.exit(f"{method} {target}: {lines[0].decode()} {rest.decode()}")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])}
    if fields.get(b"transfer-encoding") == b"chunked":
        return _read_chunks(connection, rest)
    return _read_exactly(connection, rest, int(fields.get(b"content-length", b"0")))


def _read_head(connection: ssl.SSLSocket) -> tuple[bytes, bytes]:
    received = b""
    while b"\r\n\r\n" not in received:
        received += _receive(connection)
    head, _, rest = received.partition(b"\r\n\r\n")
    return head, rest


def _read_exactly(connection: ssl.SSLSocket, received: bytes, length: int) -> bytes:
    while len(received) < length:
        received += _receive(connection)
    return received


def _read_chunks(connection: ssl.SSLSocket, received: bytes) -> bytes:
    body = b""
    while True:
        while b"\r\n" not in received:
            received += _receive(connection)
        line, _, received = received.partition(b"\r\n")
        length = int(line, 16)
        received = _read_exactly(connection, received, length + 2)
        body, received = body + received[:length], received[length + 2 :]
        if length == 0:
            return body


def _receive(connection: ssl.SSLSocket) -> bytes:
    data = connection.recv(65536)
    if not data:
        sys.exit("the server closed the connection in the middle of an answer")
    return data


def _frames(stream: ssl.SSLSocket, received: bytes, deadline: float, read_timeout: float) -> Iterator[tuple[str, str]]:
    """The frames of a multiplexed stream: 1 byte of kind, 3 zero bytes, 4 bytes of length, the output."""
    while True:
        while len(received) >= 8 and len(received) >= 8 + int.from_bytes(received[4:8]):
            end = 8 + int.from_bytes(received[4:8])
            yield ("stderr" if received[0] == 2 else "stdout"), received[8:end].decode(errors="replace")
            received = received[end:]
        stream.settimeout(max(0.01, min(read_timeout, deadline - time.monotonic())))
        try:
            data = stream.recv(65536)
        except TimeoutError as error:
            if error.errno == errno.ETIMEDOUT:  # the kernel's: nobody answered its probes
                _tell("broken", reason=str(error))
                sys.exit(BROKEN)
            _tell("gave-up")
            stream.close()
            sys.exit(GAVE_UP)
        except (ssl.SSLEOFError, ConnectionResetError) as error:
            _tell("broken", reason=str(error))
            sys.exit(BROKEN)
        if not data:
            return
        received += data


def _tell(event: str, **details: object) -> None:
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(json.dumps({"event": event, "at": time.time_ns(), **details}) + "\n")
        sys.stdout.flush()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, default=2376)
    parser.add_argument("--machine", type=Path, required=True, help="directory with ca.pem, cert.pem and key.pem")
    parser.add_argument("--image", required=True)
    parser.add_argument("--job", required=True, help="script for sh -c")
    parser.add_argument("--suite", help="OpenSSL cipher string")
    parser.add_argument("--maximum-version", default="TLSv1_2", choices=("TLSv1_2", "TLSv1_3"))
    parser.add_argument("--keepalive", type=int, nargs=2, metavar=("IDLE", "INTERVAL"), help="seconds; off when not given")
    parser.add_argument("--poll", type=float, default=0, help="ask for the container's state every so many seconds")
    parser.add_argument("--key-log", type=Path)
    parser.add_argument("--read-timeout", type=float, default=3600, help="give up after so many seconds without output")
    parser.add_argument("--deadline", type=float, default=3600)
    return parser.parse_args()


if __name__ == "__main__":
    main()
