"""How an error of ours is told to who typed a command, and the status that it ends with."""

from typing import Final

from ..errors import AioprocketError, FilterError

__all__ = ("ERROR", "tell")

ERROR: Final = 2  # as ping(8) and grep(1): 1 is an answer, that something is not so


def tell(error: AioprocketError) -> None:
    """Print what went wrong and what can be done about it, to standard error."""
    from rich.console import Console  # which takes as long to load as all else that is needed

    console = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)
    console.print(f"aioprocket: {error}", markup=False)
    if isinstance(error, FilterError) and error.position is not None and (error.text.isprintable()):
        console.print(f"  {error.text}\n  {' ' * error.position}^", markup=False)
    if error.hint:
        console.print(error.hint, markup=False)
