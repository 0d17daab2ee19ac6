"""Probes as frames, past the kernel's routing: the next hop is found out here, once for many."""

from .lane import LinkLane
from .opening import frame_size, open_link

__all__ = ("LinkLane", "frame_size", "open_link")
