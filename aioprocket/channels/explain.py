"""What an `OSError` of the kernel's means to whoever called us."""

import errno
from typing import Final

from ..errors import LinkDownError, OpenError, errno_text
from ..spec import Spec, describe
from .link import Link

__all__ = ("link_error", "step_error")

# What send(2) and recv(2) say of an interface that is down or gone: packet(7), drivers/net/tun.c.
_LINK_ERRNOS: Final = frozenset({
    errno.ENETDOWN, errno.ENXIO, errno.ENODEV, errno.EBADFD, errno.EIO
})  # fmt: skip


def link_error(error: OSError, doing: str, link: Link) -> LinkDownError | None:
    """The error as one of the link, if that is what it is."""
    number = error.errno
    if number not in _LINK_ERRNOS:
        return None
    return LinkDownError(
        f"{doing} on {link.name}: {errno_text(number)}",
        interface=link.name,
        errno=number,
        hint="the same channel goes on when the link is up again; after a removal, open a new one",
    )


def step_error(doing: str, step: str, spec: Spec, error: OSError) -> OpenError:
    """The error as that of one step on the way to a channel."""
    number = error.errno or errno.EIO
    message = f"{doing} {describe(spec)}: {errno_text(number)}"
    return OpenError(message, errno=number, step=step)
