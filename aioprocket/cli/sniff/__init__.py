"""``aioprocket sniff``: see, count and keep packets."""

from .command import EPILOG, sniff

__all__ = ("EPILOG", "sniff")
