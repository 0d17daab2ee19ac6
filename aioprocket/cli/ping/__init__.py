"""``aioprocket ping``: hosts, again and again, until it is enough."""

from .command import EPILOG, ping

__all__ = ("EPILOG", "ping")
