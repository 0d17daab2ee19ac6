"""Probes as frames, past the kernel's routing: the next hop is found out here, once for many."""

from .lanes import LinkLanes

__all__ = ("LinkLanes",)
