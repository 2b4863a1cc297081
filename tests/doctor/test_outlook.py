"""What is claimed of a socket: from its options, from its timer, or not at all; and what becomes of it."""

import dataclasses

import pytest

from captool.doctor.cloud import find_cloud
from captool.doctor.keepalive import keepalive_of
from captool.doctor.kernel import Conntrack
from captool.doctor.outlook import outlook
from captool.doctor.path import path_of, with_conntrack, within_this_machine
from captool.doctor.socket_options import SocketOptions
from captool.errors import UsageError
from captool.session_keys.live_sockets import (
    ESTABLISHED,
    NO_TIMER,
    RETRANSMIT_TIMER,
    SOCKET_TIMER,
    WINDOW_PROBE_TIMER,
    LiveSocket,
    SocketCondition,
)

SECOND = 1_000_000_000
IDLE = SocketCondition(
    timer=NO_TIMER, timer_ns=0, attempts=0, receive_queue=0, send_queue=0, sent_ago_ns=40 * SECOND, received_ago_ns=30 * SECOND,
    acknowledged_ago_ns=35 * SECOND, unacknowledged=0, retransmissions=0, peer_window=64000,
)  # fmt: skip


def keepalive(options=None, **changes):
    return keepalive_of(LiveSocket(("10.0.0.1", 40000), ("10.0.0.2", 2376), ESTABLISHED, 7, 1, dataclasses.replace(IDLE, **changes)), options)


def options(idle=15, interval=15, *, on=True):
    return SocketOptions(on, idle * SECOND, interval * SECOND, 9, 0)


@pytest.fixture
def nowhere(tmp_path):
    return find_cloud(tmp_path)


def cloud(tmp_path, **fields):
    for name, text in fields.items():
        (tmp_path / name).write_text(f"{text}\n")
    return find_cloud(tmp_path)


@pytest.mark.parametrize(
    ("opts", "timer", "status", "evidence"),
    [
        (None, SOCKET_TIMER, "present", "timer"),
        (None, NO_TIMER, "missing", "timer"),
        (None, RETRANSMIT_TIMER, "not-observable", None),
        (None, WINDOW_PROBE_TIMER, "not-observable", None),
        (None, 99, "not-observable", None),
        (options(), RETRANSMIT_TIMER, "present", "socket options"),
        (options(on=False), RETRANSMIT_TIMER, "missing", "socket options"),
        (options(on=False), SOCKET_TIMER, "missing", "socket options"),
    ],
)
def test_what_is_claimed_and_from_what(opts, timer, status, evidence):
    seen = keepalive(opts, timer=timer, timer_ns=12 * SECOND)
    assert (status, evidence) == (seen.status, seen.evidence)
    assert (status == "not-observable") == (seen.why is not None)


def test_socket_without_a_condition_is_not_observable():
    assert "not-observable" == keepalive_of(LiveSocket(("a", 1), ("b", 2), ESTABLISHED, 7), None).status


def test_timer_gives_a_lower_bound_of_the_period_while_probes_are_answered():
    assert 42 * SECOND == keepalive(timer=SOCKET_TIMER, timer_ns=12 * SECOND).at_least_ns
    assert keepalive(timer=SOCKET_TIMER, timer_ns=12 * SECOND, attempts=2).at_least_ns is None


def test_without_probes_the_time_that_is_left_is_told(nowhere):
    seen = outlook(keepalive(options(on=False)), None, 45 * SECOND, path_of("gcp-vpc", None, nowhere))
    assert ("may-be-cut", 600 * SECOND) == (seen.verdict, seen.cut_after_ns)
    assert "after 600.0 s (10 min) of silence Google Cloud VPC firewall will cut it, unless the other end sends probes" in seen.sentence
    assert "silent for 45.00 s by now, so in 555.0 s" in seen.sentence
    late = outlook(keepalive(), keepalive(), 700 * SECOND, path_of("gcp-vpc", None, nowhere))
    assert "will-be-cut" == late.verdict
    assert "longer than that already" in late.sentence


def test_one_probing_end_is_enough(nowhere):
    seen = outlook(keepalive(options(on=False)), keepalive(options()), SECOND, path_of("gcp-vpc", None, nowhere))
    assert "kept-alive" == seen.verdict
    assert "survives timeouts above 16.88 s" in seen.sentence


@pytest.mark.parametrize(("idle", "interval", "verdict"), [(500, 75, "kept-alive"), (530, 75, "kept-alive"), (534, 75, "probes-too-slow"), (15, 700, "probes-too-slow")])
def test_period_is_the_longer_of_the_two_times_and_timers_are_late_by_an_eighth(nowhere, idle, interval, verdict):
    assert verdict == outlook(keepalive(options(idle, interval)), None, 0, path_of("gcp-vpc", None, nowhere)).verdict


@pytest.mark.parametrize("end", [keepalive(options()), keepalive(timer=SOCKET_TIMER, timer_ns=SECOND), keepalive(options(on=False))])
def test_load_balancer_that_ignores_probes_cuts_whoever_probes(nowhere, end):
    seen = outlook(end, None, 0, path_of("aws-alb", None, nowhere))
    assert ("will-be-cut", 60 * SECOND) == (seen.verdict, seen.cut_after_ns)
    assert "AWS Application Load Balancer will cut it" in seen.sentence
    assert "unless" not in seen.sentence


def test_load_balancers_that_may_be_on_the_path_and_ignore_probes_are_named(tmp_path):
    seen = outlook(keepalive(options()), None, 0, path_of(None, None, cloud(tmp_path, sys_vendor="DigitalOcean")))
    assert ("kept-alive", 60 * SECOND) == (seen.verdict, seen.cut_after_ns)
    assert "not for one that ignores probes, as DigitalOcean load balancer (HTTP) would" in seen.sentence


def test_timer_alone_never_proves_that_probes_are_often_enough(nowhere):
    path = path_of("gcp-vpc", None, nowhere)
    seen = outlook(keepalive(timer=SOCKET_TIMER, timer_ns=10 * SECOND), None, 0, path)
    assert "not-observable" == seen.verdict
    assert "at least 40.00 s apart" in seen.sentence
    assert "probes-too-slow" == outlook(keepalive(timer=SOCKET_TIMER, timer_ns=7000 * SECOND), None, 0, path).verdict


def test_data_in_flight_is_no_verdict(nowhere):
    seen = outlook(keepalive(timer=RETRANSMIT_TIMER), None, 0, path_of("gcp-vpc", None, nowhere))
    assert "not-observable" == seen.verdict
    assert "in flight" in seen.sentence


def test_cloud_gives_what_is_always_on_the_path_and_what_may_be(tmp_path):
    google = cloud(tmp_path, product_name="Google Compute Engine", sys_vendor="Google")
    path = path_of(None, None, google)
    assert [("gcp-external-passthrough-lb", False), ("gcp-internal-passthrough-lb", False), ("gcp-vpc", True), ("gcp-cloud-nat", False)] == [
        (one.entry.id, one.certain) for one in path.middleboxes
    ]
    seen = outlook(keepalive(), keepalive(), 0, path)
    assert "may-be-cut" == seen.verdict  # the shortest may not be there
    assert "if it is on the path, after 600.0 s (10 min) of silence Google Cloud VPC firewall will cut it" in seen.sentence


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"sys_vendor": "Amazon EC2"}, "Amazon EC2"),
        ({"sys_vendor": "Xen", "bios_version": "4.11.amazon"}, "Amazon EC2"),
        ({"sys_vendor": "Microsoft Corporation", "chassis_asset_tag": "7783-7084-3265-9085-8269-3286-77"}, "Microsoft Azure"),
        ({"sys_vendor": "Microsoft Corporation", "product_name": "Virtual Machine"}, None),  # Hyper-V at home
        ({"chassis_asset_tag": "OracleCloud.com"}, "Oracle Cloud"),
        ({"sys_vendor": "Hetzner"}, "Hetzner"),
        ({"sys_vendor": "DigitalOcean"}, "DigitalOcean"),
        ({"sys_vendor": "QEMU"}, None),
        ({}, None),
    ],
)
def test_clouds_are_known_by_their_firmware(tmp_path, fields, name):
    found = cloud(tmp_path, **fields)
    assert name == (found.rule.name if found.rule else None)
    path = path_of(None, None, found)
    assert path.middleboxes
    assert path.why


def test_what_the_user_names_is_judged_alone_and_must_exist(tmp_path):
    google = cloud(tmp_path, product_name="Google Compute Engine")
    assert [90.0] == [one.entry.seconds for one in path_of(None, 90 * SECOND, google).middleboxes]
    assert ["given", "aws-nlb"] == [one.entry.id for one in path_of("aws-nlb", 90 * SECOND, google).middleboxes]
    with pytest.raises(UsageError, match="no middlebox 'gcp'"):
        path_of("gcp", None, google)


def test_connection_within_this_machine_passes_only_its_conntrack(nowhere):
    path = within_this_machine(path_of(None, None, nowhere))
    assert "no-timeout-known" == outlook(keepalive(), keepalive(), 0, path).verdict
    path = with_conntrack(path, Conntrack(1, loose=True, timeouts_ns={"established": 300 * SECOND}))
    seen = outlook(keepalive(), keepalive(), 0, path)
    assert ("may-be-cut", 300 * SECOND) == (seen.verdict, seen.cut_after_ns)
    named = path_of("gcp-vpc", None, nowhere)
    assert named == within_this_machine(named)
