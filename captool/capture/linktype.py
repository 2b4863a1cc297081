"""LINKTYPE numbers (www.tcpdump.org/linktypes.html): their names, and which of them the decoder understands."""

from typing import Final

NAMES: Final = {
    0: "NULL", 1: "EN10MB", 6: "IEEE802_5", 7: "ARCNET_BSD", 8: "SLIP", 9: "PPP", 10: "FDDI", 12: "RAW", 14: "RAW",
    50: "PPP_SERIAL", 51: "PPP_ETHER", 99: "SYMANTEC_FIREWALL", 100: "ATM_RFC1483", 101: "RAW", 104: "C_HDLC",
    105: "IEEE802_11", 107: "FRELAY", 108: "LOOP", 109: "ENC", 113: "LINUX_SLL", 114: "LTALK", 117: "PFLOG",
    119: "PRISM_HEADER", 122: "IP_OVER_FC", 123: "SUNATM", 127: "IEEE802_11_RADIOTAP", 129: "ARCNET_LINUX",
    138: "APPLE_IP_OVER_IEEE1394", 139: "MTP2_WITH_PHDR", 140: "MTP2", 141: "MTP3", 142: "SCCP", 143: "DOCSIS",
    144: "LINUX_IRDA", 147: "USER0", 148: "USER1", 149: "USER2", 163: "IEEE802_11_AVS", 165: "BACNET_MS_TP",
    166: "PPP_PPPD", 177: "LINUX_LAPD", 187: "BLUETOOTH_HCI_H4", 189: "USB_LINUX", 190: "CAN20B", 192: "PPI",
    195: "IEEE802_15_4_WITHFCS", 197: "ERF", 199: "IPMB", 201: "BLUETOOTH_HCI_H4_WITH_PHDR", 203: "LAPD",
    220: "USB_LINUX_MMAPPED", 226: "IPNET", 227: "CAN_SOCKETCAN", 228: "IPV4", 229: "IPV6", 230: "IEEE802_15_4_NOFCS",
    231: "DBUS", 235: "DVB_CI", 239: "NFLOG", 240: "NETANALYZER", 247: "INFINIBAND", 249: "USBPCAP", 253: "NETLINK",
    254: "BLUETOOTH_LINUX_MONITOR", 258: "PKTAP", 271: "VSOCK_DEBUG", 274: "DSA_TAG_BRCM", 276: "LINUX_SLL2",
    281: "DSA_TAG_BRCM_PREPEND", 283: "DSA_TAG_DSA", 284: "DSA_TAG_EDSA",
}  # fmt: skip

DECODED: Final = frozenset({0, 1, 9, 12, 14, 50, 101, 104, 105, 108, 113, 127, 226, 228, 229, 276})
"""Link types of which the decoder (captool.packets.decode) finds the network layer."""


def name(link_type: int) -> str:
    """The name of a LINKTYPE number; the number itself where it has none here."""
    return NAMES.get(link_type, f"LINKTYPE {link_type}")
