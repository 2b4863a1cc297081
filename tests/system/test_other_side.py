"""Two real captures of the same path, one at each end of a router that loses, drops, resets, translates or terminates TCP."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from captool.analysis import analyze

pytestmark = [pytest.mark.needs("tcpdump", "ip", "nft", "socat", "nsenter", "sysctl", root=True), pytest.mark.slow]

SERVER = """
import socketserver
class Answer(socketserver.BaseRequestHandler):
    def handle(self):
        try:
            while data := self.request.recv(1 << 16):
                self.request.sendall(b"heard %d" % len(data))
        except OSError:
            pass
socketserver.ThreadingTCPServer.allow_reuse_address = True
server = socketserver.ThreadingTCPServer(("", 2376), Answer)
print("ready", flush=True)
server.serve_forever()
"""
# Each step of the script on the command line: bytes to send (and await an answer to), `!` and bytes (send only), or a pause `~seconds`.
CLIENT = """
import socket, sys, time
connection = socket.create_connection((sys.argv[1], 2376), timeout=5)
for step in sys.argv[2:]:
    print("step", step, flush=True)
    if step[0] == "~":
        time.sleep(float(step[1:]))
    elif step == "wait":
        sys.stdin.readline()
    else:
        try:
            connection.sendall(bytes(int(step.lstrip("!"))))
            if step[0] != "!":
                connection.recv(1 << 16)
        except OSError as error:
            print("error", error, flush=True)
print("done", flush=True)
"""


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout


class Path3:
    """client - router - server, each a namespace; `client.pcap` and `server.pcap` are recorded at the ends."""

    def __init__(self, directory, stack):
        self.directory, self.stack = directory, stack
        self.names = {role: f"otherside-{os.getpid()}-{role}" for role in ("client", "router", "server")}
        for name in self.names.values():
            run("ip", "netns", "add", name)
            stack.callback(run, "ip", "netns", "delete", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        for net, host in ((1, "client"), (2, "server")):
            router, end = self.names["router"], self.names[host]
            run("ip", "-n", router, "link", "add", f"to-{host}", "type", "veth", "peer", "name", "eth0", "netns", end)
            run("ip", "-n", router, "address", "add", f"10.78.{net}.1/24", "dev", f"to-{host}")
            run("ip", "-n", router, "link", "set", f"to-{host}", "up")
            run("ip", "-n", end, "address", "add", f"10.78.{net}.2/24", "dev", "eth0")
            run("ip", "-n", end, "link", "set", "eth0", "up")
            run("ip", "-n", end, "route", "add", "default", "via", f"10.78.{net}.1")
        self.at("router", "sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
        self.recorders = []

    def within(self, role):
        return ("nsenter", f"--net=/run/netns/{self.names[role]}")

    def at(self, role, *command, **options):
        return run(*self.within(role), *command, **options)

    def rules(self, text):
        self.at("router", "nft", "-f", "-", input=f"{text}\n")

    def forward(self, rule):
        """What the router does with packets that cross it, from now on."""
        self.rules(f"table inet path {{\nchain forward {{\ntype filter hook forward priority 0\n{rule}\n}}\n}}")

    def program(self, role, *command, ready):
        process = subprocess.Popen(
            [*self.within(role), *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.stack.callback(end, process)
        if ready:
            wait_for(process, ready)
        return process

    def record(self, *roles):
        for role in roles:
            capture = self.directory / f"{role}.pcap"
            command = ("tcpdump", "-i", "eth0", "-w", str(capture), "-U", "--immediate-mode", "-s", "200", "-Z", "root", "tcp")
            self.recorders.append(self.program(role, *command, ready="listening on"))

    def serve(self):
        self.program("server", sys.executable, "-c", SERVER, ready="ready")

    def client(self, *steps, address="10.78.2.2"):
        return self.program("client", sys.executable, "-c", CLIENT, address, *steps, ready=None)

    def talk(self, *steps, **options):
        wait_for(self.client(*steps, **options), "done")

    def recorded(self, trace="server", other="client", **options):
        time.sleep(0.3)
        for recorder in self.recorders:
            end(recorder, signal.SIGINT)
        return analyze(self.directory / f"{trace}.pcap", other_side=self.directory / f"{other}.pcap", **options)


def wait_for(process, text):
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"{process.args} ended before it said {text!r}")


def end(process, how=signal.SIGTERM):
    if process.poll() is None:
        process.send_signal(how)
    process.wait(10)
    for stream in (process.stdin, process.stdout):
        stream.close()


@pytest.fixture
def path(tmp_path):
    with contextlib.ExitStack() as stack:
        yield Path3(tmp_path, stack)


def codes(analysis):
    return {finding.code for finding in analysis.findings}


def finding(analysis, code):
    return next(one for one in analysis.findings if one.code == code)


def test_everything_arrives_on_a_sound_path_through_segmentation(path):
    """The client's capture has segments of up to 64 KiB, the server's those that the router cut from them."""
    path.at("router", "ip", "link", "set", "to-server", "gso_max_segs", "1")
    path.record("client", "server")
    path.serve()
    path.talk("500", "!3000000", "~0.3", "10")
    analysis = path.recorded()
    (counterpart,) = analysis.other_side.counterparts
    to_server, to_client = counterpart.passage
    assert "other-side" == counterpart.client_side
    assert (to_server.sent, 0) == (to_server.arrived, to_server.lost)
    assert (to_client.sent, 0) == (to_client.arrived, to_client.lost)
    assert to_server.sent * 5 < analysis.connections[0].tcp.packets.to_server
    assert set() == codes(analysis) & {"packets-lost", "path-dead", "reset-injected"}


def test_connection_is_recognised_behind_a_nat(path):
    rule = 'oifname "to-server" meta l4proto tcp masquerade to :5000-5010'
    path.rules(f"table ip nat {{\nchain post {{\ntype nat hook postrouting priority 100\n{rule}\n}}\n}}")
    path.record("client", "server")
    path.serve()
    path.talk("500", "700")
    analysis = path.recorded()
    (counterpart,) = analysis.other_side.counterparts
    assert ("10.78.2.1", "10.78.1.2") == (analysis.connections[0].tcp.client.ip, counterpart.client.ip)
    assert counterpart.translated
    assert [(0, 0), (0, 0)] == [(one.lost, one.not_sent_packets) for one in counterpart.passage]


def test_reverse_direction_that_died_is_told_from_the_one_that_works(path):
    path.record("client", "server")
    path.serve()
    client = path.client("100", "wait", "!100", "~4")
    wait_for(client, "step wait")
    path.forward('oifname "to-client" drop')
    client.stdin.write("\n")
    client.stdin.flush()
    wait_for(client, "done")
    path.client("1").wait(10)  # its SYN is answered, and the answer dropped: both captures go on
    analysis = path.recorded()
    dead = finding(analysis, "path-dead")
    assert ("to_client", "trace", "high") == (dead.evidence["direction"], dead.evidence["sender_side"], dead.confidence)
    assert dead.evidence["other_direction_sent"] == dead.evidence["other_direction_arrived"] > 0
    assert analysis.connections[0].counterpart.passage.to_server.dead is None
    assert any("the server sent packets" in sentence and "The other direction still worked" in sentence for sentence in analysis.verdict)


def test_reset_of_a_firewall_is_known_as_not_sent_by_the_peer(path):
    path.record("client", "server")
    path.serve()
    client = path.client("100", "wait", "!100", "~1.5")
    wait_for(client, "step wait")
    path.forward("meta l4proto tcp reject with tcp reset")
    client.stdin.write("\n")
    client.stdin.flush()
    wait_for(client, "done")
    path.rules("flush ruleset")
    path.talk("1")
    analysis = path.recorded(trace="client", other="server")
    reset = finding(analysis, "reset-injected")
    assert ("to_client", "trace", [64, 63]) == (
        reset.evidence["direction"], reset.evidence["receiver_side"], [reset.evidence["hop_limit"], reset.evidence["usual_hop_limit"]]
    )  # fmt: skip
    assert "Look at the firewalls and load balancers" in reset.remedy  # nothing was idle
    told = "Connection 0 was reset in the server's name by something on the path, as both captures prove, while it was in use."
    assert told in analysis.verdict


def test_lost_packets_are_counted_as_the_router_dropped_them(path):
    path.at("router", "ip", "link", "set", "to-server", "gso_max_segs", "1")
    path.at("client", "ip", "link", "set", "eth0", "gso_max_segs", "1")
    path.forward('oifname "to-server" tcp flags & syn == 0 numgen random mod 100 < 3 counter drop')
    path.record("client", "server")
    path.serve()
    path.talk("500", "!1500000", "~2", "10", "~0.3")
    dropped = int(re.search(r"counter packets (\d+)", path.at("router", "nft", "list", "ruleset"))[1])
    path.rules("flush ruleset")
    path.talk("1", "~1.2")  # what is lost in the last second of the other capture may only be late
    analysis = path.recorded()
    lost = sum(one.passage.to_server.lost for one in analysis.other_side.counterparts)
    judged = sum(one.passage.to_server.not_judged for one in analysis.other_side.counterparts)
    assert dropped > 5
    assert (dropped, 0) == (lost, judged)
    assert 0 == sum(one.passage.to_client.lost for one in analysis.other_side.counterparts)
    assert "path-dead" not in codes(analysis)


def test_proxy_that_terminates_tcp_leaves_nothing_to_match(path):
    path.serve()
    path.program("router", "socat", "-d", "-d", "TCP-LISTEN:2376,fork,reuseaddr", "TCP:10.78.2.2:2376", ready="listening on")
    path.record("client", "server")
    path.talk("500", "700", address="10.78.1.1")
    analysis = path.recorded()
    unmatched = finding(analysis, "other-side-unmatched")
    assert "something between the two places terminates TCP (a proxy, a load balancer)" in unmatched.message
    assert ((), None) == (analysis.other_side.counterparts, analysis.other_side.clock)
