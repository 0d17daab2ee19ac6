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
from ..readiness import checkpoint
from ..spec import SocketSpec, Spec, describe
from .client import Helper, open_through
from .diagnose import why_none_can_help, why_not_executable
from .direct import open_directly
from .explain import policy_hint
from .install import how_to_install
from .locate import BROKER_SOCKET, DEFAULT_VARIABLE, INSTALLED, installed_helper
from .policy import policy_refusal
from .way import Command, Way, check_timeout, check_way, named_in_environment, named_way

__all__ = (
    "HelperLike",
    "check_helper",
    "is_named",
    "obtain",
    "obtain_directly",
    "obtain_route",
)

HelperLike: TypeAlias = Helper | Command | None

# What everybody may have, in the network where he is.
_UNPRIVILEGED: Final = (socket.AF_NETLINK, socket.AF_UNIX)
_ROUTE: Final = (socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)


def check_helper(helper: HelperLike) -> None:
    """Whether this can be a value of ``helper=``; nothing is looked up.

    Raises:
        SpecError: It cannot.
    """
    if helper is not None and not isinstance(helper, Helper):
        check_way(helper)


def is_named(helper: HelperLike) -> bool:
    """Whether the caller or AIOPROCKET_HELPER names the way, which is then the only one to take.

    Such a helper may be in another network than this process, or stricter than the kernel is.
    """
    return helper is not None or bool(os.environ.get(DEFAULT_VARIABLE))


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
        SpecError: The helper that was named does not open such a thing, or is no helper; or the
            timeout is none.
    """
    check_timeout(timeout)
    if isinstance(spec, SocketSpec) and spec.family in _UNPRIVILEGED and not _is_elsewhere(spec):
        check_helper(helper)
        return open_directly(spec)
    return await _obtain(spec, helper, timeout)


def _is_elsewhere(spec: SocketSpec) -> bool:
    """Whether it takes privilege after all, to enter a namespace, and the helper has a kind."""
    return spec.namespace is not None and (spec.family, spec.type, spec.protocol) == _ROUTE


async def obtain_route(
    namespace: str | None, *, helper: HelperLike = None, timeout: float = 5.0
) -> Opened:
    """A socket of rtnetlink, in the network where `obtain` opens sockets with these arguments.

    A helper that is named may be in another network than this process, so it is asked, though
    everybody may have such a socket where he is.

    Raises:
        What `obtain` raises.
    """
    check_timeout(timeout)
    family, type, protocol = _ROUTE
    spec = SocketSpec(family=family, type=type, protocol=protocol, namespace=namespace)
    return await _obtain(spec, helper, timeout)


async def _obtain(spec: Spec, helper: HelperLike, timeout: float) -> Opened:
    if isinstance(helper, Helper):
        return await helper.open_descriptor(spec, min(timeout, helper.timeout))
    way = named_in_environment() if helper is None else named_way(helper)
    if way is not None:
        return await _once(way, spec, timeout)
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
    # A prompt helper is waited for without the loop, and it shall have its turn.
    await checkpoint()
    session = await way.reach(timeout)
    try:
        opened = await open_through(session, way, spec, timeout, last=True)
    except BaseException as error:
        await session.aclose(error)
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
    raise _all_refused(spec, refusals) from None


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
    rungs = "".join(f"\n  {refusal.rung}: {refusal.error}" for refusal in refusals)
    return NotPermittedError(
        f"no way to open the {describe(spec)} is permitted:{rungs}",
        errno=first.errno,
        step=first.step,
        hint=_what_to_do(spec, refusals),
    )


def _what_to_do(spec: Spec, refusals: list[_Refusal]) -> str:
    """The hint of the rung that came furthest; a helper is praised only where it would do."""
    hints = [
        refusal.error.hint
        for refusal in refusals
        if isinstance(refusal.error, NotPermittedError) and refusal.error.hint
    ]
    if hints:
        return hints[-1]
    reason = policy_refusal(spec)
    if reason is not None:
        return policy_hint(reason)
    absent = [each.error for each in refusals if isinstance(each.error, HelperNotFoundError)]
    for error in absent:
        if error.hint:
            return error.hint
    if installed_helper() is not None:
        return ""
    hopeless = why_none_can_help()
    return ": ".join(hopeless) if hopeless is not None else how_to_install()
