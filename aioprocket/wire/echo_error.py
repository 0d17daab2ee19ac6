"""Why a probe got no reply, as a value: a pinger's, its native table's and a command's alike."""

from typing import NamedTuple

from ..errors import errno_text
from ..spec import IpAddress

__all__ = ("EchoError",)


class EchoError(NamedTuple):
    """Why a probe got no reply, as the network or this machine said; as text, in words.

    Attributes:
        kind: ``"host-unreachable" "net-unreachable" "no-route" "ttl-exceeded" "frag-needed"
            "prohibited"``, …; ``"not-sent"``: this machine refused it, and ``errno`` says why;
            ``"own-address"``: by the link nobody is asked who is this machine; ``"unresolved"``:
            of several hosts, the name of this one has no address, and no probe was sent.
        router: Who said so; None: this machine.
        type: Of the ICMP message; None: there was none.
        code: Of the ICMP message.
        mtu: With ``"frag-needed"``: bytes that the next hop takes, if it was said.
        errno: Of the system call, or what the kernel made of the message; 0: neither.
    """

    kind: str
    router: IpAddress | None = None
    type: int | None = None
    code: int | None = None
    mtu: int | None = None
    errno: int = 0

    @property
    def reason(self) -> str:
        """In words, but for who said so: ``ttl exceeded``, ``frag needed, mtu 1400``."""
        words = self.kind.replace("-", " ")
        if self.mtu:
            words += f", mtu {self.mtu}"
        if self.router is None and self.errno:
            words += f": {errno_text(self.errno)}"
        return words

    def __str__(self) -> str:
        return self.reason if self.router is None else f"{self.reason} (from {self.router})"
