"""When a capture goes on in another file, and what the files are called."""

import os
import time
from dataclasses import dataclass

from ..errors import SpecError
from .compression import suffix_of

__all__ = ("Rotation",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """When the next file begins: whichever limit is reached first.

    The files of ``traffic.pcapng`` are called ``traffic_00001_20260131235959.pcapng`` and so on: a
    number, and the local time at which the file was begun, as dumpcap has it.

    Attributes:
        size: Bytes of a file at most, before compression; a single packet may be larger.
        seconds: How long a file is written to; the next begins with the first packet after that.
        packets: Packets in a file.
        files: How many are kept: the oldest is removed when there would be one more. None: all.

    Raises:
        SpecError: A limit below 1, or ``files`` without any other limit.
    """

    size: int | None = None
    seconds: float | None = None
    packets: int | None = None
    files: int | None = None

    def __post_init__(self) -> None:
        limits = {"size": self.size, "seconds": self.seconds, "packets": self.packets}
        for name, limit in {**limits, "files": self.files}.items():
            if limit is not None and not limit > 0:
                raise SpecError(f"a rotation with {name}={limit!r}: it starts above 0")
        if all(limit is None for limit in limits.values()):
            raise SpecError(
                "a rotation without a limit never comes to a second file",
                hint="give size=, seconds= or packets=",
            )

    def name(self, path: str, number: int, moment: float) -> str:
        """The name of one of the files, the first of which is number 1."""
        folder, name = os.path.split(path)
        compressed = suffix_of(name)
        stem, suffix = os.path.splitext(name.removesuffix(compressed))
        begun = time.strftime("%Y%m%d%H%M%S", time.localtime(moment))
        return os.path.join(folder, f"{stem}_{number:05}_{begun}{suffix}{compressed}")
