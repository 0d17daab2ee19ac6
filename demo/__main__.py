"""An unprivileged process pings and sniffs, on a machine of its own: ``make demo``."""

import io
import sys


def main() -> int:
    # The terminal may know no lines and arrows: the demo is worth more than they are.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        # Late, because it takes long enough for somebody to interrupt it.
        import machine

        return machine.run()
    except KeyboardInterrupt:
        print("\nInterrupted. Nothing is left behind: it all lived in these processes.")
        return 130


if __name__ == "__main__":
    sys.exit(main())
