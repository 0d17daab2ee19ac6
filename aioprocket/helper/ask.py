"""The line of policy that would grant what was refused, for who has to ask for it."""

import shlex
from dataclasses import replace

from .._system.namespace import namespace_path
from ..errors import SpecError
from ..spec import DeviceSpec, Spec
from ..wire.request import Request, request_of

__all__ = ("how_to_ask", "how_to_ask_for")


def how_to_ask(spec: Spec, uid: int, *, foreign: bool = False) -> str:
    """What to ask the administrator for; empty where no rule could grant it.

    Args:
        spec: What was refused.
        uid: Of this process, as the helper knows it.
        foreign: This process's own network is another one than the helper's.
    """
    try:
        request = request_of(spec)
    except SpecError:
        return ""
    name = None if isinstance(spec, DeviceSpec) else spec.namespace
    place = None if name is None else namespace_path(name)
    return how_to_ask_for(replace(request, namespace=request.namespace or foreign), place, uid)


def how_to_ask_for(request: Request, namespace: str | None, uid: int) -> str:
    """The same for a request of another account. ``namespace`` is the path of its namespace."""
    # Not before somebody is refused: whoever is not needs none of it.
    from ..policy import POLICY_PATH, request_words

    words = request_words(request, namespace)
    who = f"uid={uid}"
    return (
        f"ask the administrator for this line in {POLICY_PATH}: allow {who} {words}\n"
        f"  which comes there by: aioprocket policy add {who} {shlex.join(words.split())}"
    )
