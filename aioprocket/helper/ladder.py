"""`obtain`: the ways to a descriptor, one after the other, until one is permitted.

Directly, by the installed helper, from the broker: a rung that is *not permitted* leads to the
next, and if all refuse, the error names every one and why. Any other failure is raised at once,
because the next rung would meet it, too. sudo is never tried unasked. A way that the caller or
AIOPROCKET_HELPER names is the only one taken.
"""

import os
import socket
from dataclasses import dataclass
from typing import Final, TypeAlias

from .._system.descriptor import Opened
from ..errors import AioprocketError, HelperNotFoundError, NotPermittedError, SpecError
from ..spec import SocketSpec, Spec, describe
from .client import Helper, open_through
from .direct import open_directly
from .locate import (
    BROKER_SOCKET,
    DEFAULT_VARIABLE,
    INSTALLED,
    how_to_get_permission,
    installed_helper,
    why_not_executable,
)
from .way import Command, Way, named_way

__all__ = ("HelperLike", "obtain", "obtain_directly")

HelperLike: TypeAlias = Helper | Command | None

# What the helper has no kind for, because everybody may have it.
_UNPRIVILEGED: Final = (socket.AF_NETLINK, socket.AF_UNIX)


async def obtain(spec: Spec, *, helper: HelperLike = None, timeout: float = 5.0) -> Opened:
    """Open what a spec describes. Cancelled, it leaves neither a descriptor nor a process behind.

    Args:
        spec: What to open.
        helper: None: directly if this process may, then the installed helper, then the broker's
            socket; unless AIOPROCKET_HELPER names another way. ``"sudo"``: the installed helper
            by ``sudo -n``. A `Helper`; a command; or ``"unix:PATH"``, a broker's socket.
        timeout: Seconds for the helper's answer.

    Raises:
        NotPermittedError: No way is permitted; the message names each that was tried.
        OpenError: A system call failed, here or in the helper; ``step`` says which.
        HelperError: The helper could not be reached, or failed.
        SpecError: The helper that was named does not open such a thing.
    """
    if isinstance(spec, SocketSpec) and spec.family in _UNPRIVILEGED:
        return open_directly(spec)
    if isinstance(helper, Helper):
        return await helper.open_descriptor(spec, min(timeout, helper.timeout))
    if helper is None:
        helper = os.environ.get(DEFAULT_VARIABLE) or None
    if helper is not None:
        return await _once(named_way(helper), spec, timeout)
    return await _climb(spec, timeout)


async def obtain_directly(spec: Spec) -> Opened:
    """The first rung alone: by this process's own rights.

    Raises:
        NotPermittedError: This process may not.
        OpenError: A system call failed; ``step`` says which.
    """
    return open_directly(spec)


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A rung that was not permitted: its name, why, and what its error said to do."""

    rung: str
    error: AioprocketError


async def _once(way: Way, spec: Spec, timeout: float) -> Opened:
    """A session for one descriptor."""
    session = await way.reach(timeout)
    try:
        opened = await open_through(session, way, spec, timeout)
    except BaseException:
        await session.aclose()
        raise
    try:
        await session.aclose()
    except BaseException:
        # Cancelled while the helper was ending: the caller will never see what came.
        opened.descriptor.close()
        raise
    return opened


async def _climb(spec: Spec, timeout: float) -> Opened:
    refusals: list[_Refusal] = []
    try:
        return open_directly(spec)
    except NotPermittedError as error:
        refusals.append(_Refusal("directly", error))
    for rung, way in (("installed helper", _installed()), ("broker", _broker())):
        try:
            if isinstance(way, HelperNotFoundError):
                raise way
            return await _once(way, spec, timeout)
        except (NotPermittedError, HelperNotFoundError, SpecError) as error:
            refusals.append(_Refusal(rung, error))
    raise _all_refused(spec, refusals)


def _installed() -> Way | HelperNotFoundError:
    path = installed_helper()
    if path is None:
        return HelperNotFoundError(f"there is none at {' or '.join(INSTALLED)}")
    found = why_not_executable(path)
    if found is not None:
        reason, hint = found
        return HelperNotFoundError(reason, hint=hint)
    return Way((path,))


def _broker() -> Way | HelperNotFoundError:
    if not os.path.exists(BROKER_SOCKET):
        return HelperNotFoundError(f"there is none at {BROKER_SOCKET}")
    return Way(socket_path=BROKER_SOCKET)


def _all_refused(spec: Spec, refusals: list[_Refusal]) -> NotPermittedError:
    first = refusals[0].error
    assert isinstance(first, NotPermittedError)
    reasons = "; ".join(f"{refusal.rung}: {refusal.error}" for refusal in refusals)
    hints = [refusal.error.hint for refusal in refusals if refusal.error.hint]
    return NotPermittedError(
        f"no way to open the {describe(spec)} is permitted; {reasons}",
        errno=first.errno,
        step=first.step,
        hint="; or ".join(hints) or how_to_get_permission(),
    )
