"""Docker's endpoints: method and target in, the operation's name and the container out.

The names are the operation ids of Docker's API description (moby api/swagger.yaml); `Grpc`, which it leaves out, is named
after its route (moby daemon/server/router/grpc). The version prefix `/v1.NN/` may be absent, as may Podman's `/libpod/`.
"""

import re
from functools import cache
from typing import Final, NamedTuple
from urllib.parse import parse_qs, unquote

MAX_NAME: Final = 256

ENDPOINTS: Final = """
GET    /containers/json                  ContainerList
POST   /containers/create                ContainerCreate
POST   /containers/prune                 ContainerPrune
GET    /containers/{container}/json      ContainerInspect
GET    /containers/{container}/top       ContainerTop
GET    /containers/{container}/logs      ContainerLogs
GET    /containers/{container}/changes   ContainerChanges
GET    /containers/{container}/export    ContainerExport
GET    /containers/{container}/stats     ContainerStats
POST   /containers/{container}/resize    ContainerResize
POST   /containers/{container}/start     ContainerStart
POST   /containers/{container}/stop      ContainerStop
POST   /containers/{container}/restart   ContainerRestart
POST   /containers/{container}/kill      ContainerKill
POST   /containers/{container}/update    ContainerUpdate
POST   /containers/{container}/rename    ContainerRename
POST   /containers/{container}/pause     ContainerPause
POST   /containers/{container}/unpause   ContainerUnpause
POST   /containers/{container}/attach    ContainerAttach
GET    /containers/{container}/attach/ws ContainerAttachWebsocket
POST   /containers/{container}/wait      ContainerWait
DELETE /containers/{container}           ContainerDelete
HEAD   /containers/{container}/archive   ContainerArchiveInfo
GET    /containers/{container}/archive   ContainerArchive
PUT    /containers/{container}/archive   PutContainerArchive
POST   /containers/{container}/exec      ContainerExec
POST   /exec/{id}/start                  ExecStart
POST   /exec/{id}/resize                 ExecResize
GET    /exec/{id}/json                   ExecInspect
GET    /images/json                      ImageList
POST   /images/create                    ImageCreate
GET    /images/search                    ImageSearch
POST   /images/prune                     ImagePrune
GET    /images/get                       ImageGetAll
POST   /images/load                      ImageLoad
GET    /images/{name}/json               ImageInspect
GET    /images/{name}/history            ImageHistory
GET    /images/{name}/get                ImageGet
POST   /images/{name}/push               ImagePush
POST   /images/{name}/tag                ImageTag
DELETE /images/{name}                    ImageDelete
POST   /build                            ImageBuild
POST   /build/prune                      BuildPrune
POST   /commit                           ImageCommit
POST   /auth                             SystemAuth
GET    /info                             SystemInfo
GET    /version                          SystemVersion
GET    /_ping                            SystemPing
HEAD   /_ping                            SystemPingHead
GET    /events                           SystemEvents
GET    /system/df                        SystemDataUsage
POST   /session                          Session
POST   /grpc                             Grpc
GET    /distribution/{name}/json         DistributionInspect
GET    /volumes                          VolumeList
POST   /volumes/create                   VolumeCreate
POST   /volumes/prune                    VolumePrune
GET    /volumes/{id}                     VolumeInspect
PUT    /volumes/{id}                     VolumeUpdate
DELETE /volumes/{id}                     VolumeDelete
GET    /networks                         NetworkList
POST   /networks/create                  NetworkCreate
POST   /networks/prune                   NetworkPrune
GET    /networks/{id}                    NetworkInspect
DELETE /networks/{id}                    NetworkDelete
POST   /networks/{id}/connect            NetworkConnect
POST   /networks/{id}/disconnect         NetworkDisconnect
GET    /plugins                          PluginList
GET    /plugins/privileges               GetPluginPrivileges
POST   /plugins/pull                     PluginPull
POST   /plugins/create                   PluginCreate
GET    /plugins/{name}/json              PluginInspect
DELETE /plugins/{name}                   PluginDelete
POST   /plugins/{name}/enable            PluginEnable
POST   /plugins/{name}/disable           PluginDisable
POST   /plugins/{name}/upgrade           PluginUpgrade
POST   /plugins/{name}/push              PluginPush
POST   /plugins/{name}/set               PluginSet
GET    /nodes                            NodeList
GET    /nodes/{id}                       NodeInspect
DELETE /nodes/{id}                       NodeDelete
POST   /nodes/{id}/update                NodeUpdate
GET    /swarm                            SwarmInspect
POST   /swarm/init                       SwarmInit
POST   /swarm/join                       SwarmJoin
POST   /swarm/leave                      SwarmLeave
POST   /swarm/update                     SwarmUpdate
GET    /swarm/unlockkey                  SwarmUnlockkey
POST   /swarm/unlock                     SwarmUnlock
GET    /services                         ServiceList
POST   /services/create                  ServiceCreate
GET    /services/{id}                    ServiceInspect
DELETE /services/{id}                    ServiceDelete
POST   /services/{id}/update             ServiceUpdate
GET    /services/{id}/logs               ServiceLogs
GET    /tasks                            TaskList
GET    /tasks/{id}                       TaskInspect
GET    /tasks/{id}/logs                  TaskLogs
GET    /secrets                          SecretList
POST   /secrets/create                   SecretCreate
GET    /secrets/{id}                     SecretInspect
DELETE /secrets/{id}                     SecretDelete
POST   /secrets/{id}/update              SecretUpdate
GET    /configs                          ConfigList
POST   /configs/create                   ConfigCreate
GET    /configs/{id}                     ConfigInspect
DELETE /configs/{id}                     ConfigDelete
POST   /configs/{id}/update              ConfigUpdate
"""

# Endpoints whose old form is a 200 without a length and then a raw stream both ways (moby
# daemon/server/router/container/container_routes.go and exec.go: the daemon hijacks before it answers).
HIJACKING: Final = frozenset({"ContainerAttach", "ExecStart"})

# Endpoints whose response carries what a container printed, in stdcopy frames or raw.
OUTPUT: Final = frozenset({"ContainerAttach", "ExecStart", "ContainerLogs", "ServiceLogs", "TaskLogs"})


class Call(NamedTuple):
    """What a request asks for: the operation (None if it is not Docker's) and the container that the target names, if any."""

    operation: str | None
    container: str | None


_AUTHORITY: Final = re.compile(r"https?://[^/]*")  # RFC 9112 section 3.2.2: the form that a client uses towards a proxy
_PREFIX: Final = re.compile(r"/v[0-9]+(?:\.[0-9]+)+(?=/)")
_NOT_DOCKER: Final = Call(None, None)


# Image and plugin names contain slashes (`library/busybox`), ids and container names do not.
_PLACEHOLDERS: Final = {"{container}": r"(?P<container>[^/]+)", "{id}": r"[^/]+", "{name}": r".+"}


def _rows() -> dict[str, list[tuple[str, str, str, str]]]:
    """By method: what the path begins and ends with, its form, the operation."""
    rows: dict[str, list[tuple[str, str, str, str]]] = {}
    for line in ENDPOINTS.strip().splitlines():
        method, path, operation = line.split()
        rows.setdefault(method, []).append((path.partition("{")[0], path.rpartition("}")[2], path, operation))
    return rows


@cache
def _pattern(path: str) -> re.Pattern[str]:
    """The expression for a path, made when a request may be for it: making all of them takes as long as reading a small capture."""
    expression = re.escape(path).replace(r"\{", "{").replace(r"\}", "}")
    for placeholder, matched in _PLACEHOLDERS.items():
        expression = expression.replace(placeholder, matched)
    return re.compile(expression)


_ROWS: Final = _rows()


def identify(method: str, target: str) -> Call:
    """The operation and the container of a request; the container is the id or name as the client wrote it.

    A container that is to be created is named only if the client chose a name.
    """
    path, _, query = target.partition("?")
    path = _PREFIX.sub("", _AUTHORITY.sub("", path, count=1), count=1)
    path = path.removeprefix("/libpod") if path.startswith("/libpod/") else path
    for begin, end, form, operation in _ROWS.get(method.upper(), ()):
        match = _pattern(form).fullmatch(path) if path.startswith(begin) and path.endswith(end) else None
        if match:
            container = match.groupdict().get("container")
            return Call(operation, _created(query) if operation == "ContainerCreate" else _named(container))
    return _NOT_DOCKER


def hijacks(method: str, target: str) -> bool:
    """Whether a 200 without a length to this request begins a raw stream in both directions."""
    return method == "POST" and identify(method, target).operation in HIJACKING


def _named(container: str | None) -> str | None:
    return unquote(container)[:MAX_NAME] if container else None


def _created(query: str) -> str | None:
    try:
        names = parse_qs(query, max_num_fields=64).get("name")
    except ValueError:
        return None
    return names[0][:MAX_NAME] if names else None
