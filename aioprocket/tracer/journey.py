"""What a trace and a watch share: sockets that open when something is first asked for."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, Literal, Self, TypeVar

from ..errors import ClosedError
from ..resolve import check_link, resolve_host
from ..spec import IpAddress
from .flow import Method
from .opening import open_prober
from .request import TraceRequest
from .walk import Plan, Walk

__all__ = ("Journey",)

_PlanT = TypeVar("_PlanT", bound=Plan)


class Journey(ABC, Generic[_PlanT]):
    """Probes to one host by a plan, which `_plan` makes."""

    def __init__(self, request: TraceRequest) -> None:
        self._request = request
        self._started: tuple[Walk, _PlanT] | None = None
        self._ended = False
        self._address: IpAddress | None = None

    @property
    def address(self) -> IpAddress | None:
        """Where the probes go; None before anything was asked for."""
        return self._address

    @property
    def method(self) -> Method | None:
        """What is sent; None: not decided yet."""
        return self._request.method if self._started is None else self._started[0].prober.method

    @property
    def type(self) -> Literal["raw", "dgram"] | None:
        """By which socket answers come; None: not opened yet."""
        return None if self._started is None else self._started[0].prober.type

    def __aiter__(self) -> Self:
        return self

    @abstractmethod
    def _plan(self, method: Method) -> _PlanT: ...

    async def start(self) -> None:
        """Look the host up and open the sockets, which else happens when something is asked for.

        From then on `address`, `method` and `type` are known. Idempotent.

        Raises:
            ClosedError: It has been closed.
            And what asking for the first hop or snapshot raises of the host and the sockets.
        """
        if self._ended:
            raise self._closed_error()
        with self._until_closed():
            await self._start()

    async def _start(self) -> tuple[Walk, _PlanT]:
        if self._started is None:
            request = self._request
            address = (await resolve_host(request.host, request.family))[0]
            check_link(address, request.interface)
            self._address = address
            prober = await open_prober(request, self._address)
            if self._ended:
                prober.close()
                raise self._closed_error()
            plan = self._plan(prober.method)
            self._started = Walk(prober, plan), plan
        return self._started

    @contextmanager
    def _until_closed(self) -> Iterator[None]:
        """An error ends it; what fails since it was closed meanwhile fails by that."""
        try:
            yield
        except Exception:  # not a cancellation: who gives up waiting may ask again
            if self._ended:
                raise self._closed_error() from None
            self.close()
            raise

    def _closed_error(self) -> ClosedError:
        return ClosedError(f"trace to {self._request.host}: closed")

    def close(self) -> None:
        """End it, whatever is out; who waits in it gets `ClosedError`. Idempotent."""
        self._ended = True
        if self._started is not None:
            self._started[0].close()

    async def aclose(self) -> None:
        """As `close`, for `contextlib.aclosing` and the like."""
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        self.close()

    def __del__(self) -> None:
        # A loop that was left by break: there is nothing to wait for, so nothing to warn of.
        if not getattr(self, "_ended", True):
            self.close()
