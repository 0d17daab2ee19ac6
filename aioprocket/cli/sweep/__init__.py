"""``aioprocket sweep``: who of many answers."""

from .command import EPILOG, sweep

__all__ = ("EPILOG", "sweep")
