"""The way to a host, hop by hop; once, again and again, and how large a packet may be on it."""

from .hop import Answer, Hop
from .trace import Trace, traceroute

__all__ = ("Answer", "Hop", "Trace", "traceroute")
