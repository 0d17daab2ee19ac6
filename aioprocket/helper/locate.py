"""Where a helper is.

The installed helper and the broker's socket have fixed places: a place from the environment, or
below a folder that an ordinary user can write, would make a setuid program of whatever lies there.
The bundled helper came with the package and has no privilege; it is what gets installed.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Final

from ..errors import HelperNotFoundError

__all__ = (
    "BROKER_SOCKET",
    "DEFAULT_VARIABLE",
    "INSTALLED",
    "UNITS",
    "has_broker",
    "helper_path",
    "installed_helper",
)

INSTALLED: Final = ("/usr/local/libexec/aioprocket-helper", "/usr/libexec/aioprocket-helper")
BROKER_SOCKET: Final = "/run/aioprocket/broker.sock"
UNITS: Final = "/etc/systemd/system"
DEFAULT_VARIABLE: Final = "AIOPROCKET_HELPER"

_BUNDLED: Final = ("aioprocket", "_libexec", "aioprocket-helper")


def helper_path() -> Path:
    """The helper that came with this package, without any privilege.

    Raises:
        HelperNotFoundError: The package was not built: it is run from its sources.
    """
    from importlib import resources  # loads more than most programs with a helper need

    packaged = resources.files("aioprocket").joinpath(*_BUNDLED[1:])
    for candidate in chain([Path(str(packaged))], _recorded()):
        if candidate.is_file():
            return candidate
    raise HelperNotFoundError(
        "the helper that comes with the package is not there",
        hint="install the package (pip install .), which builds it",
    )


def _recorded() -> Iterator[Path]:
    """Where the installer says it is: an editable install keeps it apart from the sources."""
    from importlib.metadata import PackageNotFoundError, distribution  # e-mail's parser, too

    with suppress(PackageNotFoundError):
        for file in distribution("aioprocket").files or ():
            if file.parts[-3:] == _BUNDLED:
                yield Path(str(file.locate()))


def installed_helper() -> str | None:
    """The first installed helper, whether or not this process may execute it."""
    return next((path for path in INSTALLED if os.path.lexists(path)), None)


def has_broker() -> bool:
    """Whether a broker's socket is in its place, whoever listens on it."""
    return os.path.exists(BROKER_SOCKET)
