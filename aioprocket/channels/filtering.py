"""The filter of a channel: what is in force, and how it is swapped."""

import errno
import socket
from abc import abstractmethod
from collections.abc import Sequence

from .. import arguments, bpf
from .._system import options
from ..errors import FilterError, NotPermittedError, SpecError, errno_text
from ..spec import Instruction
from .intake import Intake
from .port import Port

__all__ = ("Filtering",)


class Filtering:
    """What a channel does about filters: its sockets', for a device has none."""

    _port: Port
    _intake: Intake
    _filter: bpf.Program | None

    @property
    def filter(self) -> bpf.Program | None:
        """The program that was asked for: when it was opened, or by `set_filter`.

        What a helper's policy imposes is not in it: see `attached_filter`.
        """
        return self._filter

    @property
    def attached_filter(self) -> bpf.Program | None:
        """The program that is in force, whoever attached it; None: all packets come.

        It is not always `filter`: a helper's policy puts before that what it grants, ``snaplen=``
        lowers what is kept, and a socket that was adopted may have brought one. None of a device,
        which has no filters, and at the end of the channel.

        Raises:
            NotPermittedError: ``EACCES``: it is eBPF, which the kernel shows nobody.
        """
        sock = self._open_socket()
        if sock is None:
            return None
        try:
            found = options.attached_filter(sock)
        except PermissionError as error:
            raise NotPermittedError(
                f"read the filter of {self._place()}: {errno_text(errno.EACCES)}: it is eBPF",
                errno=errno.EACCES,
                step="filter",
            ) from error
        return None if found is None else bpf.Program.of(found)

    @property
    def filter_locked(self) -> bool:
        """Whether nobody can change the filter any more; a helper's policy locks what it imposes.

        `set_filter` is refused then.
        """
        sock = self._open_socket()
        return sock is not None and options.filter_is_locked(sock)

    def _open_socket(self) -> socket.socket | None:
        sock = self._port.sock
        return None if sock is None or sock.fileno() < 0 else sock

    def set_filter(self, filter: bpf.FilterLike | None, lock: bool = False) -> None:
        """Swap the filter. Nothing that came before it is received after it.

        What waits in the kernel is thrown away, and counts neither as received nor as dropped.

        Args:
            filter: As a door takes it. None takes the filter off.
            lock: Nobody can change it any more.

        Raises:
            FilterError: It is no program, cannot be compiled, or means nothing on this socket; the
                filter from before is still in force.
            NotPermittedError: The filter is locked.
            ClosedError: The channel is closed.
        """
        if lock and filter is None:
            raise SpecError("lock needs a filter to lock")
        sock = self._socket("set_filter")
        program = arguments.program(filter, sock.family, sock.type, sock.proto)
        try:
            before = _to_put_back(sock)
            self._replace(sock, program, before)
            if lock:
                options.lock_filter(sock)
        except OSError as error:
            raise self._filter_error(error) from error
        self._intake.forget()
        self._settle(0)
        self._filter = program

    def _replace(
        self,
        sock: socket.socket,
        program: bpf.Program | None,
        before: Sequence[Instruction] | None,
    ) -> None:
        try:
            if program is not None:
                # A program that the kernel refuses is refused here, where nothing has changed.
                self._port.try_filter(program)
            self._swap(sock, program)
        except OSError:
            self._put_back(sock, before)
            raise

    def _put_back(self, sock: socket.socket, before: Sequence[Instruction] | None) -> None:
        options.put_back_filter(sock, before)

    def _swap(self, sock: socket.socket, program: bpf.Program | None) -> None:
        self._port.replace_filter(program)

    def _filter_error(self, error: OSError) -> NotPermittedError | FilterError:
        assert error.errno is not None
        said = f"set a filter on {self._place()}: {errno_text(error.errno)}"
        if error.errno == errno.EPERM:
            hint = "it was locked for good when it was set; open another channel"
            return NotPermittedError(said, errno=error.errno, step="filter", hint=hint)
        return FilterError(said)

    @abstractmethod
    def _socket(self, call: str) -> socket.socket: ...

    @abstractmethod
    def _settle(self, unchecked: int) -> None: ...

    @abstractmethod
    def _place(self) -> str: ...


def _to_put_back(sock: socket.socket) -> Sequence[Instruction] | None:
    try:
        return options.attached_filter(sock)
    except PermissionError:  # eBPF: it cannot be put back, and in its place nothing comes
        return bpf.drop_all
