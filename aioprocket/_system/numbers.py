"""Linux's numbers that the standard library lacks, each group with its header.

They are those of the generic ABI (asm-generic/socket.h, asm-generic/ioctl.h): x86, ARM, RISC-V,
s390 and LoongArch. Alpha, MIPS, PA-RISC, PowerPC and SPARC number some of them differently.
"""

from enum import IntEnum, IntFlag
from typing import Final

__all__ = (
    "CLONE_NEWNET",
    "ETH_P_ALL",
    "IPV6_RECVERR",
    "IP_RECVERR",
    "IP_RECVTTL",
    "MAX_INSTRUCTIONS",
    "NS_GET_NSTYPE",
    "NS_GET_OWNER_UID",
    "NS_GET_USERNS",
    "RET",
    "SK_MEMINFO_DROPS",
    "SK_MEMINFO_VARS",
    "SOL_PACKET",
    "TPACKET_V2",
    "TPACKET_V3",
    "FanoutFlag",
    "FanoutMode",
    "InterfaceFlag",
    "InterfaceRequest",
    "Membership",
    "PacketOption",
    "SocketOption",
    "Timestamping",
    "TunFlag",
    "TunRequest",
    "UdpOption",
)


class SocketOption(IntEnum):
    """Options of level ``SOL_SOCKET``: asm-generic/socket.h."""

    ATTACH_FILTER = 26
    DETACH_FILTER = 27
    SNDBUFFORCE = 32
    RCVBUFFORCE = 33
    TIMESTAMPNS = 35  # SO_TIMESTAMPNS_OLD: what 64-bit user space gets
    TIMESTAMPING = 37  # SO_TIMESTAMPING_OLD, as well
    RXQ_OVFL = 40
    LOCK_FILTER = 44
    MEMINFO = 55
    BINDTOIFINDEX = 62
    NETNS_COOKIE = 71
    TS_OPT_ID = 81  # SCM_TS_OPT_ID, a control message: Linux 6.13


class Timestamping(IntFlag):
    """``SOF_TIMESTAMPING_…``: linux/net_tstamp.h."""

    TX_HARDWARE = 1 << 0
    TX_SOFTWARE = 1 << 1
    SOFTWARE = 1 << 4
    RAW_HARDWARE = 1 << 6
    OPT_ID = 1 << 7
    TX_SCHED = 1 << 8
    OPT_TSONLY = 1 << 11
    OPT_RX_FILTER = 1 << 17  # Linux 6.12


SOL_PACKET: Final = 263  # linux/socket.h


class UdpOption(IntEnum):
    """Options of level ``IPPROTO_UDP``, and control messages: linux/udp.h."""

    SEGMENT = 103
    GRO = 104


class PacketOption(IntEnum):
    """Options of level ``SOL_PACKET``: linux/if_packet.h."""

    ADD_MEMBERSHIP = 1
    DROP_MEMBERSHIP = 2
    RX_RING = 5
    STATISTICS = 6
    COPY_THRESH = 7
    AUXDATA = 8
    VERSION = 10
    FANOUT = 18
    FANOUT_DATA = 22
    VNET_HDR = 15
    TX_TIMESTAMP = 16
    QDISC_BYPASS = 20
    IGNORE_OUTGOING = 23


TPACKET_V2: Final = 1  # linux/if_packet.h
TPACKET_V3: Final = 2  # as well


class FanoutMode(IntEnum):
    """How a fanout group shares packets out: linux/if_packet.h, PACKET_FANOUT_…."""

    HASH = 0
    LB = 1
    CPU = 2
    ROLLOVER = 3
    RND = 4
    QM = 5
    CBPF = 6


class FanoutFlag(IntFlag):
    """Beside the mode: linux/if_packet.h, PACKET_FANOUT_FLAG_…."""

    ROLLOVER = 0x1000
    UNIQUEID = 0x2000
    DEFRAG = 0x8000


class Membership(IntEnum):
    """``mr_type`` of struct packet_mreq: linux/if_packet.h, PACKET_MR_…."""

    MULTICAST = 0
    PROMISCUOUS = 1
    ALLMULTI = 2
    UNICAST = 3


ETH_P_ALL: Final = 0x0003  # linux/if_ether.h
IP_RECVERR: Final = 11  # linux/in.h
IP_RECVTTL: Final = 12  # linux/in.h
IPV6_RECVERR: Final = 25  # linux/in6.h

# Places in the array that SO_MEMINFO gives: linux/sock_diag.h.
SK_MEMINFO_DROPS: Final = 8
SK_MEMINFO_VARS: Final = 9

RET: Final = 0x06  # BPF_RET | BPF_K: linux/filter.h
MAX_INSTRUCTIONS: Final = 4096  # BPF_MAXINSNS: linux/bpf_common.h


class InterfaceRequest(IntEnum):
    """ioctls on any socket: linux/sockios.h, netdevice(7)."""

    SIOCGIFNAME = 0x8910
    SIOCGIFFLAGS = 0x8913
    SIOCSIFFLAGS = 0x8914
    SIOCGIFADDR = 0x8915
    SIOCGIFMTU = 0x8921
    SIOCSIFMTU = 0x8922
    SIOCGIFHWADDR = 0x8927
    SIOCGIFINDEX = 0x8933
    SIOCETHTOOL = 0x8946


class InterfaceFlag(IntFlag):
    """``ifr_flags``: linux/if.h."""

    UP = 0x1
    BROADCAST = 0x2
    LOOPBACK = 0x8
    POINTOPOINT = 0x10
    RUNNING = 0x40
    NOARP = 0x80
    PROMISC = 0x100
    ALLMULTI = 0x200
    MULTICAST = 0x1000


class TunRequest(IntEnum):
    """ioctls on /dev/net/tun: linux/if_tun.h."""

    TUNSETIFF = 0x400454CA
    TUNSETPERSIST = 0x400454CB
    TUNSETOWNER = 0x400454CC
    TUNSETOFFLOAD = 0x400454D0
    TUNGETIFF = 0x800454D2
    TUNGETVNETHDRSZ = 0x800454D7
    TUNSETVNETHDRSZ = 0x400454D8
    TUNGETDEVNETNS = 0x54E3


class TunFlag(IntFlag):
    """``ifr_flags`` of TUNSETIFF: linux/if_tun.h."""

    TUN = 0x0001
    TAP = 0x0002
    MULTI_QUEUE = 0x0100
    NO_PI = 0x1000
    VNET_HDR = 0x4000
    EXCL = 0x8000


class TunOffload(IntFlag):
    """What TUNSETOFFLOAD takes, each a kind of packet that the reader can make wire-size itself.

    Source: ``TUN_F_…`` of linux/if_tun.h.
    """

    CSUM = 0x01
    TSO4 = 0x02
    TSO6 = 0x04
    TSO_ECN = 0x08
    USO4 = 0x20  # from Linux 6.2 on, and only with USO6
    USO6 = 0x40


CLONE_NEWNET: Final = 0x40000000  # linux/sched.h
NS_GET_USERNS: Final = 0xB701  # linux/nsfs.h
NS_GET_NSTYPE: Final = 0xB703  # linux/nsfs.h
NS_GET_OWNER_UID: Final = 0xB704  # linux/nsfs.h
