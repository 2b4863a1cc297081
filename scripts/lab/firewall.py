"""The router's firewall (nftables with conntrack): how long it remembers, what it does with packets that it no longer knows."""

from dataclasses import dataclass

from processes import run

CLIENT_END, SERVER_END = "towards-client", "towards-server"  # the router's interfaces
CLIENT_NET = "10.77.1.0/24"

# Only a SYN opens a connection; what conntrack does not know (any more) is dropped without an answer, or answered with a reset.
RULES = """
table inet captool_lab {{
    chain path {{
        type filter hook forward priority -10; policy accept;
        {path}
    }}
    chain forward {{
        type filter hook forward priority filter; policy drop;
        ct state invalid counter {unknown}
        ct state established,related counter accept
        ct state new tcp flags & (fin | syn | rst | ack) == syn counter accept
    }}
    chain own {{
        type filter hook output priority filter; policy accept;
        {own}
    }}
}}
"""

# 3 % of the packets are lost; a quarter of the others waits in a slow class of the queue, and is overtaken. (tc netem says the same in
# one line, where the kernel has it.)
LOSSY_PATH = """numgen random mod 100 < 3 counter drop
        numgen random mod 4 == 0 meta priority set 1:20"""

# The router's "fragmentation needed" (RFC 1191), like all ICMP errors of its own, does not leave it.
SILENT_ABOUT_MTU = "icmp type destination-unreachable counter drop"


@dataclass(frozen=True)
class Firewall:
    """Times in seconds. `half_closed_timeout_s` is for connections with one FIN; None leaves the kernel's 60 and 120 s.

    `mtu_to_client` is what the way to the client carries, in bytes of an IP packet; the router says to nobody that it is less than 1500.
    """

    established_timeout_s: int
    half_closed_timeout_s: int | None = None
    resets: bool = False
    lossy: bool = False
    mtu_to_client: int | None = None

    def rules(self) -> str:
        """The rule set, for nft -f."""
        return RULES.format(
            unknown="reject with tcp reset" if self.resets else "drop",
            path=LOSSY_PATH if self.lossy else "",
            own=SILENT_ABOUT_MTU if self.mtu_to_client else "",
        )

    def settings(self) -> tuple[str, ...]:
        """Kernel settings of the router's namespace, for sysctl -w."""
        timeouts = [("established", self.established_timeout_s)]
        if self.half_closed_timeout_s is not None:
            timeouts += [(state, self.half_closed_timeout_s) for state in ("fin_wait", "close_wait")]
        return (
            "net.ipv4.ip_forward=1",
            # a connection must not be picked up in the middle, or the firewall would forget only for an instant
            "net.netfilter.nf_conntrack_tcp_loose=0",
            *(f"net.netfilter.nf_conntrack_tcp_timeout_{state}={seconds}" for state, seconds in timeouts),
        )


def install(firewall: Firewall, router: str) -> None:
    """Set the firewall up in the router's namespace, whose interfaces exist."""
    inside = ("nsenter", f"--net=/run/netns/{router}")
    run(*inside, "nft", "-f", "-", input=firewall.rules())
    for setting in firewall.settings():
        run(*inside, "sysctl", "-q", "-w", setting)
    if firewall.mtu_to_client is not None:  # the route's alone: what comes from the client is not narrowed
        run("ip", "-n", router, "route", "change", CLIENT_NET, "dev", CLIENT_END, "mtu", str(firewall.mtu_to_client))
    for interface in (CLIENT_END, SERVER_END) if firewall.lossy else ():
        run("tc", "-n", router, "qdisc", "add", "dev", interface, "root", "handle", "1:", "htb", "default", "10")
        for name, rate in (("1:10", "1gbit"), ("1:20", "2mbit")):
            run("tc", "-n", router, "class", "add", "dev", interface, "parent", "1:", "classid", name, "htb", "rate", rate, "burst", "1514")


def cut(router: str) -> None:
    """From now on nothing gets through in either direction, as when a cable is pulled somewhere on the path."""
    run("nsenter", f"--net=/run/netns/{router}", "nft", "insert", "rule", "inet", "captool_lab", "path", "counter", "drop")
