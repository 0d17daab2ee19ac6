"""Who is on the same link, and what hosts tell of themselves by ICMP."""

from .ask import arp, ndp
from .neighbour import Neighbour, vendor
from .queries import HostTime, address_mask, icmp_timestamp
from .scan import Scan, scan

__all__ = (
    "HostTime",
    "Neighbour",
    "Scan",
    "address_mask",
    "arp",
    "icmp_timestamp",
    "ndp",
    "scan",
    "vendor",
)
