"""The command ``aioprocket``."""

from .interrupt import leave_at_interrupt as _leave_at_interrupt

__all__ = ("main",)


def main() -> None:
    """Run the command of ``sys.argv``. Ctrl-C while it is loaded ends it with status 130."""
    _leave_at_interrupt()
    from .app import main as run

    run()
