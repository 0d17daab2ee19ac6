"""The policy's file changed by who is not root, through sudo: by the system's programs alone.

What was read is compared again by what writes, so that nothing is locked while sudo asks for a
password, and nobody who is not root can lock anything.
"""

import hashlib
import stat
import tempfile
from collections.abc import Callable
from typing import Final

from rich.console import Console

from ..errors import HelperError
from ..policy import POLICY_PATH
from .elevate import status_as_root

__all__ = ("change_by_sudo",)

_CHANGED: Final = 75  # EX_TEMPFAIL of sysexits.h
_TRIES: Final = 16
# $1: the checksum of what was read, empty where nothing was; $2: the new text; $3, $4: its group
# and mode. The lock is the one of aioprocket.policy.write_policy; the new file has a name that is
# nobody's, no folder's either.
_SCRIPT: Final = f"""\
set -e; umask 077; PATH=/usr/sbin:/usr/bin:/sbin:/bin
mkdir -p -m 0755 {POLICY_PATH.parent}; cd {POLICY_PATH.parent}
exec 9>>.lock; flock 9
[ "$(sha256sum 2>/dev/null <{POLICY_PATH.name})" = "$1" ] || exit {_CHANGED}
new=$(mktemp .policy-XXXXXX); trap 'rm -f "$new"' EXIT
install -o root -g "$3" -m "$4" "$2" "$new"; mv -fT "$new" {POLICY_PATH.name}
"""


def change_by_sudo(
    read: Callable[[], bytes | None], change: Callable[[str], str], out: Console
) -> None:
    """Write the changed text, unless nothing changes; once more where somebody else was faster.

    Args:
        read: Gives what is there; None: there is no file.
        change: Gets the text that is there, empty where there is none, and gives the new one.
        out: Where the commands are shown.

    Raises:
        HelperError: It could not be written, and is as it was.
        What ``read`` and ``change`` raise, before anybody is asked for a password.
    """
    for _ in range(_TRIES):
        old = read()
        text = "" if old is None else old.decode("ascii")
        new = change(text)
        if new == text:
            return
        status = _write(old, new, out)
        if status == 0:
            return
        if status != _CHANGED:
            raise HelperError(
                f"the policy is as it was: the command ended with status {status}",
                hint="run this command as root",
            )
        out.print("the policy was changed meanwhile: once more", markup=False)
    raise HelperError(
        f"the policy is as others made it, who were faster {_TRIES} times", hint="try again"
    )


def _write(old: bytes | None, new: str, out: Console) -> int:
    read = "" if old is None else f"{hashlib.sha256(old).hexdigest()}  -"
    with tempfile.NamedTemporaryFile("w", prefix="aioprocket-policy-", encoding="ascii") as draft:
        draft.write(new)
        draft.flush()
        arguments = (read, draft.name, *_group_and_mode())
        return status_as_root(("sh", "-c", _SCRIPT, "aioprocket", *arguments), out)


def _group_and_mode() -> tuple[str, str]:
    """Of the file that is there: the new one keeps them."""
    try:
        status = POLICY_PATH.stat()
    except FileNotFoundError:
        return "0", "0644"
    return str(status.st_gid), f"{stat.S_IMODE(status.st_mode):04o}"
