"""Who was heard on a link, each once, in memory that no flood of forged answers can fill."""

from collections import Counter
from typing import Final

from ..spec import IpAddress

__all__ = ("Roll",)

_OF_ADDRESS: Final = 8  # hosts that say that an address is theirs
_OF_HOST: Final = 64  # addresses of a host that were not asked for one by one
_OTHERS: Final = 1 << 16  # such addresses of all hosts


class Roll:
    """The hosts that are known.

    Addresses that are asked for one by one are bounded by the questions. Those that an answer to
    a question to everybody brings are not: anybody can make them up.
    """

    def __init__(self) -> None:
        self._known: set[tuple[IpAddress, str]] = set()
        self._of_address: Counter[IpAddress] = Counter()
        self._of_host: Counter[str] = Counter()
        self._others = 0
        self.refused = 0  # answers that were more than is believed

    def add(self, ip: IpAddress, hwaddr: str, *, asked: bool) -> bool:
        """Note an answer; ``asked``: its address was asked for.

        Returns:
            Whether it tells of somebody new.
        """
        if (ip, hwaddr) in self._known:
            return False
        crowded = self._of_host[hwaddr] >= _OF_HOST or self._others >= _OTHERS
        if (crowded and not asked) or self._of_address[ip] >= _OF_ADDRESS:
            self.refused += 1
            return False
        self._known.add((ip, hwaddr))
        self._of_address[ip] += 1
        if not asked:
            self._of_host[hwaddr] += 1
            self._others += 1
        return True
