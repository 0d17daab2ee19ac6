"""Iterating over the batches of a channel."""

from collections.abc import AsyncIterator, Awaitable, Callable

import anyio

from ..packet import Batch

__all__ = ("Batches",)


class Batches(AsyncIterator[Batch]):
    """Calls ``receive`` until it says that there will be no more."""

    # Not an async generator: those want to be closed, and the loop told of each.

    __slots__ = ("_receive",)

    def __init__(self, receive: Callable[[], Awaitable[Batch]]) -> None:
        self._receive = receive

    async def __anext__(self) -> Batch:
        try:
            return await self._receive()
        except (anyio.EndOfStream, EOFError):
            raise StopAsyncIteration from None
