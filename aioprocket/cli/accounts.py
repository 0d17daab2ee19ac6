"""Accounts and groups by name, for who types and reads them."""

import grp
import os
import pwd

from ..errors import SpecError
from ..policy import Person

__all__ = ("comment_of", "name_of", "person", "resolve")


def resolve(who: str) -> str:
    """What a rule calls an account: ``uid=N``, ``gid=N`` or ``all``.

    Raises:
        SpecError: There is no such account or group.
    """
    if who == "all":
        return who
    key, equals, value = who.partition("=")
    if equals and key in ("uid", "gid"):
        if not value.isdecimal():
            raise SpecError(f"{who!r} is no number")
        return f"{key}={int(value)}"
    try:
        if who.startswith(("@", "%")):
            return f"gid={grp.getgrnam(who[1:]).gr_gid}"
        return f"uid={pwd.getpwnam(who).pw_uid}"
    except (KeyError, ValueError):
        raise SpecError(
            f"there is no account or group {who!r}", hint="USER, @GROUP, uid=N, gid=N, or all"
        ) from None


def comment_of(who: str) -> str:
    """The name under which the rule was written, if a policy can hold it."""
    plain = who.isascii() and who.isprintable() and "=" not in who and who != "all"
    return who.lstrip("%@") if plain else ""


def name_of(who: str) -> str:
    """The name of ``uid=N`` or ``gid=N`` now; empty where it has none."""
    key, _, value = who.partition("=")
    try:
        if key == "uid":
            return pwd.getpwuid(int(value)).pw_name
        if key == "gid":
            return "@" + grp.getgrgid(int(value)).gr_name
    except (KeyError, ValueError, OverflowError):
        pass
    return ""


def person(user: str) -> Person:
    """An account with all its groups, by its name or number.

    Raises:
        SpecError: There is none of that name.
    """
    try:
        entry = pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    except (KeyError, OverflowError):
        if user.isdecimal():
            return Person(int(user))
        raise SpecError(f"there is no account {user!r}") from None
    return Person(entry.pw_uid, os.getgrouplist(entry.pw_name, entry.pw_gid))
