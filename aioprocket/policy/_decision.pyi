"""The helper's decision. Written in C, in ``native/decision/``; the docstrings are there."""

from collections.abc import Sequence
from typing import Final

BUILT_IN: Final[str]

def find_fault(text: bytes, /) -> tuple[int, str] | None: ...
def decide(
    text: bytes | None,
    request: bytes,
    mode: int,
    uid: int,
    groups: Sequence[int],
    for_all: bool = False,
    own: bool = False,
    namespace: str | None = None,
) -> tuple[int, int, int]: ...
