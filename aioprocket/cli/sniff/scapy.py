"""scapy's opinion of a packet, where scapy is installed. It is not a part of this package."""

import importlib
from collections.abc import Callable
from typing import Any, Final

from ...errors import SpecError
from .source import ETHERNET, RAW

__all__ = ("scapy_detail",)

_LAYERS: Final = {ETHERNET: "Ether", RAW: "IP", 113: "CookedLinux", 276: "CookedLinuxV2",
                  0: "Loopback", 228: "IP", 229: "IPv6"}  # fmt: skip


def scapy_detail() -> Callable[[bytes, int], str]:
    """What says in many lines what a packet is, given its link type.

    Raises:
        SpecError: scapy is not installed.
    """
    try:
        layers = importlib.import_module("scapy.layers.all")
        packet = importlib.import_module("scapy.packet")
    except ImportError as error:
        raise SpecError(
            f"--dissect is done by scapy: {error}", hint="pip install scapy, or leave it out"
        ) from None

    def detail(data: bytes, linktype: int) -> str:
        kind: Any = getattr(layers, _LAYERS.get(linktype, ""), packet.Raw)
        if linktype == RAW and data[:1] and data[0] >> 4 == 6:
            kind = layers.IPv6
        return f"{kind(data).show(dump=True)}\n"

    return detail
