"""docker-machine's config.json, every schema version, reduced to the fields that describe a machine and open nothing.

It holds the cloud provider's credentials in clear text (AccessKey, SecretKey, AccessToken, Password, ...), and drivers that
nobody here knows add their own. So fields are chosen by name, and whatever is not listed stays where it is. Versions (libmachine/host):
0 has the paths of the TLS files at the top, 1 and later under HostOptions.AuthOptions; GitLab's fork adds ServerName there.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_ENGINE_URL: Final = r"tcp://[a-zA-Z0-9.\-:\[\]]+"  # no user, no query: nowhere for a secret

# Names of config.json that describe a machine and open nothing. Whatever is not listed stays where it is.
HARMLESS_TOP: Final = frozenset({
    "ConfigVersion", "DriverName", "Name",
    "StorePath", "CaCertPath", "ServerCertPath", "ServerKeyPath", "ClientCertPath", "ClientKeyPath",  # version 0
})  # fmt: skip
CONFIGURED: Final = {  # names of a machine's files, and the fields that say where they are
    "ca.pem": "CaCertPath",
    "cert.pem": "ClientCertPath",
    "key.pem": "ClientKeyPath",
    "server.pem": "ServerCertPath",
    "server-key.pem": "ServerKeyPath",
}
HARMLESS_DRIVER: Final = frozenset({
    "IPAddress", "IPv6Address", "PrivateIPAddress", "MachineName", "EnginePort", "SSHPort", "SSHUser", "URL", "SwarmMaster",
    "Zone", "ResolvedZone", "Region", "AvailabilityZone", "VpcId", "SubnetId", "Network", "Subnetwork",
    "MachineType", "ResolvedMachineType", "MachineImage", "InstanceType", "InstanceId",
    "UseInternalIP", "UseInternalIPOnly", "PrivateIPOnly", "UsePrivateIP", "Preemptible",
})  # fmt: skip
HARMLESS_AUTH: Final = frozenset({
    "CertDir", "CaCertPath", "ClientCertPath", "ClientKeyPath", "ServerCertPath", "ServerKeyPath",
    "ServerCertSANs", "ServerName", "StorePath",
})  # fmt: skip
HARMLESS_ENGINE: Final = frozenset({"TlsVerify", "StorageDriver"})


def reduced_config(document: object) -> dict[str, object] | None:
    """The harmless part of a config.json of any schema version; None if it is no JSON object."""
    if not isinstance(document, dict):
        return None
    kept = _only(document, HARMLESS_TOP)
    # google's driver of the GitLab fork nests the common fields; version 0 to 2 files have Driver as an object as well
    driver = document.get("Driver")
    if isinstance(driver, dict):
        inner = driver.get("BaseDriver")
        kept["Driver"] = (_only(inner, HARMLESS_DRIVER) if isinstance(inner, dict) else {}) | _only(driver, HARMLESS_DRIVER)
    options = document.get("HostOptions")
    if isinstance(options, dict):
        sections = {"AuthOptions": HARMLESS_AUTH, "EngineOptions": HARMLESS_ENGINE}
        kept["HostOptions"] = {
            name: _only(options[name], fields) for name, fields in sections.items() if isinstance(options.get(name), dict)
        }
    return kept


def _only(section: dict[str, object], names: frozenset[str]) -> dict[str, object]:
    return {name: value for name, value in section.items() if name in names and _is_plain(name, value)}


def _is_plain(name: str, value: object) -> bool:
    """Only flat values: a nested one would carry fields that nobody has looked at."""
    if name == "URL":
        return isinstance(value, str) and re.fullmatch(_ENGINE_URL, value) is not None
    if isinstance(value, list):
        return all(isinstance(item, str) for item in value)
    return isinstance(value, bool | int | str)


def configured_path(config: Mapping[str, object] | None, file: str) -> Path | None:
    """Where a config.json says that one of the TLS files is, if that is an absolute path."""
    named = text_of(_auth(config).get(CONFIGURED[file])) or text_of((config or {}).get(CONFIGURED[file]))
    if named is None or "\0" in named or not Path(named).is_absolute():
        return None
    return Path(named)


def driver_name(config: Mapping[str, object] | None) -> str | None:
    """The driver by which the machine was made."""
    return text_of((config or {}).get("DriverName"))


def addresses(config: Mapping[str, object] | None) -> tuple[str, ...]:
    """The addresses that the driver noted, the one that docker-machine connects to first (google's driver notes none)."""
    driver = (config or {}).get("Driver")
    settings = driver if isinstance(driver, dict) else {}
    return tuple(dict.fromkeys(filter(None, (text_of(settings.get(name)) for name in ("IPAddress", "PrivateIPAddress", "IPv6Address")))))


def server_name(config: Mapping[str, object] | None) -> str | None:
    """The name that GitLab's fork checks the certificate against where it is not made for an address (TLS by instance metadata)."""
    return text_of(_auth(config).get("ServerName"))


def text_of(value: object) -> str | None:
    """A string that says something, else None."""
    return value if isinstance(value, str) and value else None


def _auth(config: Mapping[str, object] | None) -> Mapping[str, object]:
    options = (config or {}).get("HostOptions")
    found = options.get("AuthOptions") if isinstance(options, dict) else None
    return found if isinstance(found, dict) else {}
