"""What the parts run on."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ("Rig",)


@dataclass(frozen=True)
class Rig:
    """What a part may use.

    Attributes:
        peers: The C programs: name → path. Those whose library is missing are missing.
        pair: A veth pair.
        force_buffer: Buffers may be larger than net.core.rmem_max.
        cores: The generator's and the receiver's.
        brief: A fraction of a second and one round: whether everything runs is the question.
    """

    peers: dict[str, Path]
    pair: tuple[str, str]
    force_buffer: bool
    cores: tuple[int, ...]
    brief: bool = False
