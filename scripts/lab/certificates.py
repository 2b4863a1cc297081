"""A docker-machine storage directory: CA, client and server certificates, config.json, all as docker-machine 0.16 writes them."""

import datetime
import ipaddress
import json
import os
import secrets
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

USER = "root"
STORE = "/root/.docker/machine"  # what a gitlab-runner service's config.json says


def write_storage(storage: Path, machine: str, ip: str, now: datetime.datetime) -> Path:
    """Fill `storage` with certs/ and machines/NAME/ and return the latter."""
    certs, directory = storage / "certs", storage / "machines" / machine
    for folder in (storage, certs, storage / "machines", directory):
        folder.mkdir(mode=0o700, exist_ok=True)
    ca_key, client_key, server_key = (rsa.generate_private_key(65537, 2048) for _ in range(3))
    ca = _certificate(USER, ca_key, None, ca_key, now)
    client = _certificate(f"{USER}.<bootstrap>", client_key, ca, ca_key, now)
    server = _certificate(f"{USER}.{machine}", server_key, ca, ca_key, now, addresses=(ip, "localhost"))

    _write(certs / "ca-key.pem", _pem(ca_key), 0o600)
    for folder in (certs, directory):
        _write(folder / "ca.pem", _pem(ca), 0o644)
        _write(folder / "cert.pem", _pem(client), 0o644)
        _write(folder / "key.pem", _pem(client_key), 0o600)
    _write(directory / "server.pem", _pem(server), 0o644)
    _write(directory / "server-key.pem", _pem(server_key), 0o600)
    _write(directory / "config.json", json.dumps(_config(machine, ip), indent=4).encode(), 0o600)
    return directory


def _certificate(
    organization: str,
    key: rsa.RSAPrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: rsa.RSAPrivateKey,
    now: datetime.datetime,
    addresses: tuple[str, ...] = (),
) -> x509.Certificate:
    """Only an organization in the subject, 1080 days from five minutes ago, SHA-256 with RSA."""
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)])
    start = now.replace(second=0, microsecond=0) - datetime.timedelta(minutes=5)
    is_ca, is_server = issuer is None, bool(addresses)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(key.public_key())
        .serial_number(secrets.randbits(127) + 1)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=1080))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True, key_encipherment=is_ca or is_server, key_agreement=is_ca or is_server, key_cert_sign=is_ca,
                content_commitment=False, data_encipherment=False, crl_sign=False, encipher_only=False, decipher_only=False,
            ),
            critical=True,
        )
    )  # fmt: skip
    if not is_ca:
        usage = ExtendedKeyUsageOID.SERVER_AUTH if is_server else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    if is_server:
        builder = builder.add_extension(x509.SubjectAlternativeName([_alternative_name(text) for text in addresses]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _alternative_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _pem(item: x509.Certificate | rsa.RSAPrivateKey) -> bytes:
    if isinstance(item, x509.Certificate):
        return item.public_bytes(serialization.Encoding.PEM)
    return item.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())


def _write(path: Path, content: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(content)


def _config(machine: str, ip: str) -> dict[str, object]:
    """config.json, schema version 3, for the google driver (whose file holds no credentials)."""
    here = f"{STORE}/machines/{machine}"
    return {
        "ConfigVersion": 3,
        "Driver": {
            "IPAddress": ip,
            "MachineName": machine,
            "SSHUser": "docker-user",
            "SSHPort": 22,
            "SSHKeyPath": f"{here}/id_rsa",
            "StorePath": STORE,
            "SwarmMaster": False,
            "SwarmHost": "tcp://0.0.0.0:3376",
            "SwarmDiscovery": "",
            "Zone": "europe-west1-b",
            "MachineType": "n1-standard-1",
            "MachineImage": "cos-cloud/global/images/family/cos-stable",
            "DiskType": "pd-standard",
            "Address": "",
            "Network": "default",
            "Subnetwork": "",
            "Preemptible": True,
            "UseInternalIP": True,
            "UseInternalIPOnly": True,
            "Scopes": "",
            "DiskSize": 25,
            "Project": "example-project",
            "Tags": "",
            "UseExisting": False,
            "OpenPorts": None,
        },
        "DriverName": "google",
        "HostOptions": {
            "Driver": "",
            "Memory": 0,
            "Disk": 0,
            "EngineOptions": {
                "ArbitraryFlags": [],
                "Dns": None,
                "GraphDir": "",
                "Env": [],
                "Ipv6": False,
                "InsecureRegistry": [],
                "Labels": [],
                "LogLevel": "",
                "StorageDriver": "",
                "SelinuxEnabled": False,
                "TlsVerify": True,
                "RegistryMirror": [],
                "InstallURL": "https://get.docker.com",
            },
            "SwarmOptions": {
                "IsSwarm": False,
                "Address": "",
                "Discovery": "",
                "Agent": False,
                "Master": False,
                "Host": "tcp://0.0.0.0:3376",
                "Image": "swarm:latest",
                "Strategy": "spread",
                "Heartbeat": 0,
                "Overcommit": 0,
                "ArbitraryFlags": [],
                "ArbitraryJoinFlags": [],
                "Env": None,
                "IsExperimental": False,
            },
            "AuthOptions": {
                "CertDir": f"{STORE}/certs",
                "CaCertPath": f"{STORE}/certs/ca.pem",
                "CaPrivateKeyPath": f"{STORE}/certs/ca-key.pem",
                "CaCertRemotePath": "",
                "ServerCertPath": f"{here}/server.pem",
                "ServerKeyPath": f"{here}/server-key.pem",
                "ClientKeyPath": f"{STORE}/certs/key.pem",
                "ServerCertRemotePath": "",
                "ServerKeyRemotePath": "",
                "ClientCertPath": f"{STORE}/certs/cert.pem",
                "ServerCertSANs": [],
                "StorePath": here,
            },
        },
        "Name": machine,
    }
