"""A client that asks many things on one connection, one after the other, as SDKs do (Python's http.client, which keeps it alive).

Run by the lab in the client's namespace. Each exchange goes to standard output as a line of JSON: what was asked, and what came back.
"""

import argparse
import http.client
import io
import json
import os
import random
import ssl
import tarfile
from pathlib import Path

API = "/v1.41"
STEPS = 6
FILE_BYTES = 20_000


def main() -> None:
    arguments = _arguments()
    os.umask(0o077)  # OpenSSL creates the key log
    connection = _connection(arguments)

    def ask(method: str, target: str, body: bytes | None = None, content_type: str = "application/json") -> bytes:
        connection.request(method, target, body, {"Content-Type": content_type} if body else {})
        response = connection.getresponse()
        data = response.read()
        print(json.dumps({"method": method, "target": target, "status": response.status, "body_bytes": len(data)}), flush=True)
        return data

    ask("HEAD", "/_ping")
    ask("GET", f"{API}/version")
    ask("GET", f"{API}/info")
    create = {"Image": arguments.image, "Cmd": ["sh", "-c", arguments.job], "HostConfig": {"NetworkMode": "none"}}
    container = f"{API}/containers/" + json.loads(ask("POST", f"{API}/containers/create", json.dumps(create).encode()))["Id"]
    ask("PUT", f"{container}/archive?path=/", _tar(), "application/x-tar")
    for step in range(STEPS):
        ask("GET", f"{container}/json?step={step}")
    ask("GET", f"{container}/archive?path=/data")
    ask("GET", f"{container}/archive?path=/nothing")
    ask("POST", f"{container}/start")
    ask("GET", f"{container}/logs?stdout=1&stderr=1&follow=1")
    for step in range(STEPS):
        ask("GET", f"{container}/json?after={step}")
    ask("GET", f"{API}/containers/json?all=1")
    connection.close()


def _connection(arguments: argparse.Namespace) -> http.client.HTTPConnection:
    if arguments.machine is None:
        return http.client.HTTPConnection(arguments.host, arguments.port)
    context = ssl.create_default_context(cafile=arguments.machine / "ca.pem")
    context.load_cert_chain(arguments.machine / "cert.pem", arguments.machine / "key.pem")
    context.keylog_filename = str(arguments.key_log)
    return http.client.HTTPSConnection(arguments.host, arguments.port, context=context)


def _tar() -> bytes:
    """A file that does not compress, the same one every time, in a tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tree:
        file = tarfile.TarInfo("data")
        file.size = FILE_BYTES
        tree.addfile(file, io.BytesIO(random.Random(1).randbytes(FILE_BYTES)))
    return buffer.getvalue()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--image", required=True)
    parser.add_argument("--job", required=True)
    parser.add_argument("--machine", type=Path, help="directory with ca.pem, cert.pem, key.pem; without it there is no TLS")
    parser.add_argument("--key-log", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
