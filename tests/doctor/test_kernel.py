"""Kernel settings and the machine's readiness for session keys, as the kernel shows them."""

from pathlib import Path

import pytest

from captool.doctor.kernel import Conntrack, KeepaliveDefaults, Kernel, kernel_settings
from captool.doctor.tracing import look_at_tracing

SECOND = 1_000_000_000


def sysctl(folder, **values):
    for name, value in values.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    return folder


def test_keepalive_and_conntrack_settings(tmp_path):
    found = kernel_settings(
        sysctl(
            tmp_path, ipv4__tcp_keepalive_time=7200, ipv4__tcp_keepalive_intvl=75, ipv4__tcp_keepalive_probes=9,
            netfilter__nf_conntrack_tcp_timeout_established=300, netfilter__nf_conntrack_tcp_loose=0, netfilter__nf_conntrack_count=12,
        )
    )  # fmt: skip
    assert KeepaliveDefaults(7200 * SECOND, 75 * SECOND, 9) == found.keepalive
    assert Conntrack(12, loose=False, timeouts_ns={"established": 300 * SECOND}) == found.conntrack


def test_what_is_not_there_is_none(tmp_path):
    assert Kernel(None, None) == kernel_settings(tmp_path)
    assert kernel_settings(sysctl(tmp_path, ipv4__tcp_keepalive_time="x", ipv4__tcp_keepalive_intvl=1, ipv4__tcp_keepalive_probes=1)).keepalive is None


def test_settings_of_this_kernel():
    found = kernel_settings().keepalive
    assert int(Path("/proc/sys/net/ipv4/tcp_keepalive_time").read_text()) * SECOND == found.time_ns


@pytest.mark.needs(root=True)
def test_readiness_for_session_keys_leaves_no_mount_behind():
    before = Path("/proc/self/mounts").read_text()
    tracing = look_at_tracing()
    assert before == Path("/proc/self/mounts").read_text()
    assert tracing.privileged
    assert tracing.ready == (tracing.obstacle is None)
