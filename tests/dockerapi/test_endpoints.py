"""Which operation a request asks for, and of which container."""

import pytest

from captool.dockerapi.endpoints import ENDPOINTS, HIJACKING, MAX_NAME, OUTPUT, hijacks, identify

CALLS = {
    ("POST", "/v1.41/containers/ab12/attach?stream=1&stdout=1"): ("ContainerAttach", "ab12"),
    ("POST", "/containers/ab12/attach"): ("ContainerAttach", "ab12"),
    ("GET", "/v1.24/containers/ab12/attach/ws"): ("ContainerAttachWebsocket", "ab12"),
    ("POST", "/v1.41/containers/create?name=job-7"): ("ContainerCreate", "job-7"),
    ("POST", "/v1.41/containers/create"): ("ContainerCreate", None),
    ("POST", "/v1.41/containers/ab12/start"): ("ContainerStart", "ab12"),
    ("POST", "/v1.41/containers/ab12/wait?condition=removed"): ("ContainerWait", "ab12"),
    ("GET", "/v1.41/containers/ab12/logs?follow=1"): ("ContainerLogs", "ab12"),
    ("GET", "/v1.41/containers/ab12/json"): ("ContainerInspect", "ab12"),
    ("GET", "/v1.41/containers/json?all=1"): ("ContainerList", None),
    ("DELETE", "/v1.41/containers/my%20name?force=1"): ("ContainerDelete", "my name"),
    ("POST", "/v1.41/containers/ab12/exec"): ("ContainerExec", "ab12"),
    ("POST", "/v1.41/exec/cd34/start"): ("ExecStart", None),
    ("POST", "/v1.41/build?t=x"): ("ImageBuild", None),
    ("GET", "/v1.41/events?filters=%7B%7D"): ("SystemEvents", None),
    ("GET", "/_ping"): ("SystemPing", None),
    ("HEAD", "/_ping"): ("SystemPingHead", None),
    ("POST", "/session"): ("Session", None),
    ("POST", "/grpc"): ("Grpc", None),
    ("GET", "/v1.41/images/registry.example/group/app:1/json"): ("ImageInspect", None),
    ("GET", "/v1.41/images/json"): ("ImageList", None),
    ("POST", "/v1.41/images/library/busybox/push"): ("ImagePush", None),
    ("POST", "/v4.0.0/libpod/containers/ab12/attach"): ("ContainerAttach", "ab12"),
    ("POST", "http://proxy.example:2375/v1.41/containers/ab12/attach"): ("ContainerAttach", "ab12"),
    ("GET", "/v1.41/containers/ab12/attach"): (None, None),
    ("GET", "/api/v4/jobs"): (None, None),
    ("GET", "/containers/a/b/json"): (None, None),
    ("GET", "*"): (None, None),
    ("GET", "//[::1/containers/json"): (None, None),
    ("GET", ""): (None, None),
}


@pytest.mark.parametrize(("call", "expected"), CALLS.items(), ids=[" ".join(call) for call in CALLS])
def test_operation_and_container(call: tuple[str, str], expected: tuple[str | None, str | None]) -> None:
    found = identify(*call)
    assert expected == (found.operation, found.container)


def test_every_row_of_the_table_finds_itself() -> None:
    for line in ENDPOINTS.strip().splitlines():
        method, path, operation = line.split()
        target = path.replace("{container}", "c0ffee").replace("{id}", "i1").replace("{name}", "group/n")
        for prefix in ("", "/v1.24", "/v1.55"):
            assert operation == identify(method, prefix + target).operation


def test_sets_name_operations_of_the_table() -> None:
    operations = {line.split()[2] for line in ENDPOINTS.strip().splitlines()}
    assert OUTPUT | HIJACKING <= operations


def test_only_attach_and_exec_hijack_without_an_upgrade() -> None:
    assert hijacks("POST", "/v1.41/containers/ab12/attach?stream=1")
    assert hijacks("POST", "/exec/ab12/start")
    assert not hijacks("GET", "/v1.41/containers/ab12/logs?follow=1")
    assert not hijacks("POST", "/v1.41/containers/ab12/wait")


def test_hostile_names_are_bounded() -> None:
    assert MAX_NAME == len(identify("POST", f"/containers/{'a' * 9000}/start").container or "")
    assert MAX_NAME == len(identify("POST", f"/containers/create?name={'a' * 9000}").container or "")
    assert identify("POST", "/containers/create?" + "name=a&" * 5000).container is None
