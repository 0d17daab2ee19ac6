"""``python -m aioprocket.helper``: print where the bundled helper is, for an install command."""

import sys

from . import helper_path

if __name__ == "__main__":
    sys.stdout.write(f"{helper_path()}\n")
