"""Standard output, for lines of text."""

from rich.console import Console

__all__ = ("Output",)


class Output(Console):
    """A console that leaves it to the command what to do when nobody reads it any more."""

    def on_broken_pipe(self) -> None:
        """Raise the `BrokenPipeError`, which is being handled: rich would end the program."""
        raise
