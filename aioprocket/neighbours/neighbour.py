"""A host on the same link, and who made its network card."""

from dataclasses import dataclass
from typing import Any, Final

from ..errors import MissingLibraryError
from ..spec import IpAddress
from ..wire.ethernet import mac_bytes

__all__ = ("Neighbour", "vendor")

_LOCAL: Final = 0x02  # of the first byte: chosen, not bought (IEEE 802, section 8.4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """A host that answered.

    Attributes:
        ip: Its address.
        hwaddr: Its hardware address, as ``"02:00:00:00:00:01"``.
        interface: Where it is.
        rtt: Seconds from the question to the answer's arrival in the kernel.
    """

    ip: IpAddress
    hwaddr: str
    interface: str
    rtt: float

    @property
    def vendor(self) -> str | None:
        """What `vendor` says of the hardware address.

        Raises:
            MissingLibraryError: The library ``netaddr`` is not installed.
        """
        return vendor(self.hwaddr)


def vendor(hwaddr: str) -> str | None:
    """Who has bought this block of hardware addresses, by the IEEE's list; nothing is looked up.

    Returns:
        None: nobody has, or the address was chosen by software, as virtual machines and phones do.

    Raises:
        WireError: It is no hardware address.
        MissingLibraryError: The library ``netaddr``, whose list it is, is not installed.
    """
    packed = mac_bytes(hwaddr)
    try:
        import netaddr
    except ImportError as error:
        raise MissingLibraryError(
            f"whose {hwaddr} is: the library netaddr is not installed",
            name="netaddr",
            hint="pip install netaddr",
        ) from error
    if packed[0] & _LOCAL:
        return None
    try:
        registration: Any = netaddr.EUI(
            int.from_bytes(packed, "big"), version=48
        ).oui.registration()
    except netaddr.NotRegisteredError:
        return None
    return str(registration.org)
