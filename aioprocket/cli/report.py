"""Standard output of commands whose status is their answer, or that change something."""

from rich.console import Console

from .streams import forget_output

__all__ = ("Report",)


class Report(Console):
    """A console that does not end the command where nobody reads on: it goes on to its status."""

    def on_broken_pipe(self) -> None:
        """Forget what is left of the output: rich would end the program."""
        self.quiet = True
        forget_output()
