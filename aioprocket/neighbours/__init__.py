"""Who is on the same link, and what hosts tell of themselves by ICMP."""

from .ask import arp, ndp
from .neighbour import Neighbour, vendor
from .scan import Scan, scan

__all__ = ("Neighbour", "Scan", "arp", "ndp", "scan", "vendor")
