"""`Helper`: one session with a helper, for many descriptors."""

import os
import warnings
from types import TracebackType

from .._system.descriptor import Descriptor, Opened
from ..errors import ClosedError, HelperDiedError, NotPermittedError, SpecError
from ..spec import DeviceSpec, Spec
from ..wire.reply import Mode, Reason, Reply
from .ask import how_to_ask
from .diagnose import Diagnosis, why_partial, why_unprivileged
from .direct import opened_namespace
from .explain import is_ping_socket
from .install import how_to_install, how_to_permit_sudo
from .locate import INSTALLED
from .policy import policy_refusal
from .session import Facts, Session
from .way import Command, Way, check_timeout, check_way, default_way, named_way, sudo_way

__all__ = ("Helper", "open_through")


class Helper:
    """A session with a helper: one process, one socket, many descriptors.

    Used as ``async with Helper(…) as helper``; ``helper=helper`` gives it to a door. Tasks may
    share it. Where the session ends by a fault, every later request gets `HelperDiedError`.

    Args:
        command: The program: a command line, its words, or a path. None: what the environment
            variable AIOPROCKET_HELPER names, else the installed helper, else the broker's socket,
            else, if this process has capabilities of its own, the bundled helper: it will have
            just those.
        socket_path: A broker's socket, instead of a program.
        sudo: Start the program, or the installed helper, by ``sudo -n``.
        timeout: Seconds for each answer.

    Raises:
        SpecError: An argument cannot be used.
    """

    # For __del__, where __init__ has raised.
    _session: Session | None = None
    _closed = False

    def __init__(
        self,
        command: Command | None = None,
        *,
        socket_path: str | None = None,
        sudo: bool = False,
        timeout: float = 5.0,
    ) -> None:
        if socket_path is not None and (command is not None or sudo):
            raise SpecError("socket_path is another way than command and sudo: give one")
        if command is not None:
            check_way(command)
        if socket_path is not None:
            check_way(f"unix:{socket_path}")
        self.timeout = check_timeout(timeout)
        self._command = command
        self._socket_path = socket_path
        self._sudo = sudo
        self._way: Way | None = None

    def __repr__(self) -> str:
        session = self._session
        if session is None:
            return "<Helper not entered>"
        mode = session.facts.mode if session.facts is not None else None
        state = "closed" if self._closed else "over" if session.over else "open"
        return f"<Helper pid={self.pid} mode={mode.name.lower() if mode else None} {state}>"

    def __del__(self) -> None:
        if self._session is not None and not self._closed:
            text = f"unclosed {self!r}"
            # Before the warning, which may be an exception and end this. The process is reaped as
            # it is dropped.
            self._session.close()
            self._session.peer.kill()
            warnings.warn(text, ResourceWarning, stacklevel=2, source=self)

    async def __aenter__(self) -> "Helper":
        if self._session is not None:
            raise ClosedError("a Helper is entered once")
        self._way = self._find()
        self._session = await self._way.reach(self.timeout)
        try:
            await self._session.greet(self.timeout)
        except HelperDiedError as error:
            await self.aclose()
            raise _explained_death(error, self._way) from None
        except BaseException as error:
            await self._end(error)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._end(error)

    def _find(self) -> Way:
        if self._socket_path is not None:
            return named_way(f"unix:{self._socket_path}")
        if self._sudo:
            return sudo_way(self._command)
        return default_way() if self._command is None else named_way(self._command)

    @property
    def pid(self) -> int | None:
        """The helper's process; sudo's, where sudo started it. None before it was entered."""
        return None if self._session is None else self._session.peer.pid

    @property
    def facts(self) -> Facts | None:
        """What the helper said of itself in HELLO. None before it was entered."""
        return None if self._session is None else self._session.facts

    async def open_fd(self, spec: Spec) -> int:
        """The bare descriptor: non-blocking, close-on-exec, the caller's to close.

        Raises:
            What `open_descriptor` raises.
        """
        session, way = self._entered()
        descriptor, _ = await _explained(session, way, spec, self.timeout)
        return descriptor.detach()

    async def open_descriptor(self, spec: Spec, timeout: float | None = None) -> Opened:
        """Open by the helper what a spec describes. Cancelled, it leaves no descriptor behind.

        Args:
            spec: What to open. The helper opens no netlink and no Unix sockets: no privilege is
                needed for those.
            timeout: Seconds for this answer; None: the helper's own.

        Raises:
            SpecError: The helper does not open such a thing.
            NotPermittedError: Policy, or the kernel, refused; the message says why.
            OpenError: A system call failed; ``step`` says which.
            HelperError: No answer, or one that cannot be understood: the session is over.
            ClosedError: It is not entered, or closed.
        """
        session, way = self._entered()
        patience = self.timeout if timeout is None else check_timeout(timeout)
        return await open_through(session, way, spec, patience)

    def _entered(self) -> tuple[Session, Way]:
        if self._session is None or self._way is None:
            raise ClosedError("this Helper is not open: async with Helper(…) as helper")
        return self._session, self._way

    async def aclose(self) -> None:
        """End the session, and the process if it was started. Idempotent."""
        await self._end(None)

    async def _end(self, because: BaseException | None) -> None:
        if self._session is not None:
            self._closed = True
            await self._session.aclose(because)


async def open_through(
    session: Session, way: Way, spec: Spec, timeout: float, *, last: bool = False
) -> Opened:
    """One descriptor through a session; what it raises is explained by the way that was taken."""
    descriptor, reply = await _explained(session, way, spec, timeout, last)
    return Opened(
        descriptor,
        spec,
        name=reply.name,
        ifindex=reply.ifindex,
        origin=way.origin,
        helper_pid=session.peer.pid,
    )


async def _explained(
    session: Session, way: Way, spec: Spec, timeout: float, last: bool = False
) -> tuple[Descriptor, Reply]:
    try:
        namespace = None if isinstance(spec, DeviceSpec) else spec.namespace
        if namespace is None:
            return await session.open(spec, None, timeout, last=last)
        place = opened_namespace(spec, namespace)
        try:
            return await session.open(spec, place, timeout, last=last)
        finally:
            place.close()
    except NotPermittedError as error:
        if error.step == "policy":
            raise _explained_by_policy(error, spec, way) from None
        raise _explained_by_privilege(error, spec, session, way) from None
    except HelperDiedError as error:
        if session.facts is None:
            raise _explained_death(error, way) from None
        raise


def _explained_by_privilege(
    error: NotPermittedError, spec: Spec, session: Session, way: Way
) -> NotPermittedError:
    """The kernel refused a helper: the question is whether it lacks privilege, and why."""
    if session.facts is None:
        return error
    found = _why_refused(error.step, spec, session.facts, way.program)
    if found is None:
        return error
    reason, hint = found
    return NotPermittedError(
        f"{error}; {reason}", errno=error.errno, step=error.step, hint=error.hint or hint
    )


def _why_refused(step: str, spec: Spec, facts: Facts, program: str) -> Diagnosis | None:
    if not program:
        return None
    if step == "socket" and is_ping_socket(spec):
        return "a ping socket is for the groups of net.ipv4.ping_group_range, and no privilege", ""
    if facts.mode is Mode.PLAIN:
        return why_unprivileged(program)
    if facts.mode is not Mode.CAPABILITIES:
        # One answer to all that can be wrong with a namespace: most often it is the policy.
        if step == "namespace":
            return "its policy may not grant it", how_to_ask(spec, facts.uid)
        return None
    if step == "namespace":
        # Entering one needs CAP_SYS_ADMIN, which is too much to give to a file.
        return (
            f"{program} has file capabilities, which are not enough to enter a namespace",
            f"the setuid variant is needed: {how_to_install()}",
        )
    return why_partial(program, facts.capabilities)


def _explained_by_policy(error: NotPermittedError, spec: Spec, way: Way) -> NotPermittedError:
    if way.named and policy_refusal(spec) is Reason.PORT:
        hint = "a port from 1024 needs no helper: leave helper= out, unset AIOPROCKET_HELPER"
        return NotPermittedError(str(error), errno=error.errno, step=error.step, hint=hint)
    return error


def _explained_death(error: HelperDiedError, way: Way) -> HelperDiedError | NotPermittedError:
    """A sudo that ends before the helper answered has refused."""
    if way.origin != "sudo":
        return error
    hint = f'{way.program} is no helper by its name: helper="sudo" takes the installed one'
    if os.path.basename(way.program) == os.path.basename(INSTALLED[0]):
        hint = how_to_permit_sudo(way.program)  # a rule for any other program would be a hole
    return NotPermittedError(f"sudo did not start the helper: {error}", step="reach", hint=hint)
