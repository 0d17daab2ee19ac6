"""What is given to be sent at once: packets, some with an address, in pieces of bounded size."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from ..packet import Batch
from .port import Address, Data, Item

__all__ = ("PIECE", "parts", "pieces")

# Packets that a batch sends without a look at the clock.
PIECE: Final = 512


def parts(item: Item) -> tuple[Data, Address | None]:
    """A packet of a batch, and its address if it has one."""
    if not isinstance(item, tuple):
        return item, None
    data, address = item
    return data, address


def pieces(items: Iterable[Item]) -> Iterator[tuple[Item, ...] | Batch]:
    """The items in order, in tuples of up to 512, each taken when it is asked for.

    A batch of no more than that stays what it is.
    """
    if type(items) is Batch and len(items) <= PIECE:
        yield items
        return
    if type(items) is not list and type(items) is not tuple:
        source = iter(items)
        while batch := tuple(islice(source, PIECE)):
            yield batch
        return
    # As an iterator of it would: what is appended meanwhile is sent as well.
    at = 0
    while at < len(items):
        few = at == 0 and len(items) <= PIECE
        batch = tuple(items if few else items[at : at + PIECE])
        yield batch
        at += len(batch)
