"""The pcap-filter of a recording: the TCP packets that were asked for, and the ICMP errors that routers and hosts answer them with.

An ICMP error is not of TCP, and so no filter on ports lets it through; yet it says who refused a packet, and why (finding `icmp-error`). It
quotes the packet that it is about (RFC 792, RFC 4443), and is let through where that is TCP from or to one of the ports. In a
filter of the user's own nothing is added.
"""

import ipaddress
from collections.abc import Iterable
from typing import NamedTuple

# Offsets count from the ICMP header, behind which an IPv4 header without options is quoted; an error quotes at least 8 octets of TCP.
# ip6[...] counts from the IPv6 header: libpcap before 1.10 knows no icmp6[...].
_IPV4 = (
    "(icmp[icmptype] = icmp-unreach or icmp[icmptype] = icmp-timxceed)"
    " and icmp[8] = 0x45 and icmp[14:2] & 0x1fff = 0 and icmp[17] = 6 and {which}"
)
_IPV6 = "ip6[6] = 58 and ip6[40] >= 1 and ip6[40] <= 3 and ip6[48] & 0xf0 = 0x60 and ip6[54] = 6 and {which}"


class CaptureFilter(NamedTuple):
    """`expression` is the whole pcap-filter, `asked` what of it was asked for."""

    expression: str
    asked: str

    @property
    def shown(self) -> str:
        """For people: without the conditions on octets."""
        return self.asked if self.expression == self.asked else f"{self.asked}, ICMP errors about it"


def capture_filter(ports: tuple[int, ...], hosts: tuple[str, ...], expression: str) -> CaptureFilter:
    """Any of the ports and any of the hosts and the expression; without an expression, the ICMP errors about that as well.

    Such an error comes from anywhere, so of a host the quoted addresses decide. Where a host is a name, which only tcpdump resolves, the
    errors about all hosts are let through.
    """
    parts = []
    if ports:
        parts.append(_any_of(f"tcp port {port}" for port in ports))
    if hosts:
        parts.append(_any_of(f"host {host}" for host in hosts))
    if expression:
        parts.append(f"({expression})" if parts else expression)
    asked = " and ".join(parts)
    if expression or not ports:
        return CaptureFilter(asked, asked)
    return CaptureFilter(" or ".join((f"({asked})" if hosts else asked, *_icmp_errors(ports, hosts))), asked)


def _icmp_errors(ports: tuple[int, ...], hosts: tuple[str, ...]) -> Iterable[str]:
    addresses = [_address(host) for host in hosts]
    for version, errors, tcp in ((4, _IPV4, "icmp[{}:2]"), (6, _IPV6, "ip6[{}:2]")):
        source, destination = (tcp.format(at) for at in ((28, 30) if version == 4 else (88, 90)))
        which = _any_of(f"{end} = {port}" for port in ports for end in (source, destination))
        quoted = [one for one in addresses if one is not None and one.version == version]
        if None not in addresses and addresses:
            if not quoted:
                continue  # no host of this version was asked for
            which += " and " + _any_of(end for one in quoted for end in _quoted(one))
        yield f"({errors.format(which=which)})"


def _quoted(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> tuple[str, str]:
    """That the quoted packet comes from the address; that it goes to it."""
    header, ends = ("icmp", (20, 24)) if address.version == 4 else ("ip6", (56, 72))
    words = [int.from_bytes(address.packed[at : at + 4]) for at in range(0, len(address.packed), 4)]
    from_it, to_it = (" and ".join(f"{header}[{end + 4 * number}:4] = {word:#x}" for number, word in enumerate(words)) for end in ends)
    return (from_it, to_it) if address.version == 4 else (f"({from_it})", f"({to_it})")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _any_of(words: Iterable[str]) -> str:
    each = list(words)
    return each[0] if len(each) == 1 else f"({' or '.join(each)})"
