"""The policy's text once more, written from its man page alone: what is valid, and what it means.

For tests that hold it against the helper's C. It shares nothing with it but the page.
"""

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Final

__all__ = ("Invalid", "ReferenceRule", "parse")

SOCKETS: Final = {"packet", "icmp", "icmp6", "raw4", "raw6", "tcp", "udp"}
TUNS: Final = {"tun", "tap"}
ALL: Final = SOCKETS | TUNS | {"device"}
BESIDE: Final = {
    "uid": ALL, "gid": ALL, "all": ALL, "max": ALL, "device": {"device"},
    "port": {"tcp", "udp"}, "addr": (SOCKETS | TUNS) - {"packet"}, "if": SOCKETS, "name": TUNS,
    "netns": SOCKETS | TUNS, "proto": {"packet", "raw4", "raw6"}, "mark": SOCKETS,
    "priority": SOCKETS, "buffer": SOCKETS, "filter": SOCKETS - {"tcp"}, "listen": {"tcp"},
}  # fmt: skip
NEEDS: Final = {
    "tcp": "port", "udp": "port", "tun": "name", "tap": "name", "raw4": "proto", "raw6": "proto",
}  # fmt: skip
INTERFACE: Final = re.compile(r"(?!-)[A-Za-z0-9._-]{1,15}")
DEVICE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*")
NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,9}|0x[0-9a-f]{1,10}")
U32: Final = 0xFFFFFFFF


class Invalid(ValueError):
    """Nobody gets anything."""


@dataclass
class ReferenceRule:
    kinds: set[str] = field(default_factory=set)
    conditions: dict[str, str] = field(default_factory=dict)


def parse(text: bytes) -> list[ReferenceRule]:
    if len(text) > 65536 or (text and not text.endswith(b"\n")):
        raise Invalid
    rules = []
    versioned = False
    namespaces: set[str] = set()
    for line in text.split(b"\n")[:-1]:
        if len(line) > 512 or re.search(rb"[^\t -~]", line):
            raise Invalid
        words = line.decode("ascii").replace("\t", " ").split(" ")
        words = [word for word in words if word]
        for at, word in enumerate(words):
            if word.startswith("#"):
                words = words[:at]
                break
        if not words:
            continue
        if not versioned:
            if words != ["version", "1"]:
                raise Invalid
            versioned = True
        elif words[0] != "allow":
            raise Invalid
        else:
            rules.append(_rule(words[1:], namespaces))
    if len(rules) > 256 or len(namespaces) > 16:
        raise Invalid
    return rules


def _rule(words: list[str], namespaces: set[str]) -> ReferenceRule:
    rule = ReferenceRule()
    who = 0
    for word in words:
        if word in NEEDS or word in ("packet", "icmp", "icmp6"):
            if word in rule.kinds:
                raise Invalid
            rule.kinds.add(word)
            continue
        key, equals, value = word.partition("=")
        if key not in BESIDE or key in rule.conditions or bool(equals) != (
            key not in ("all", "listen")
        ):  # fmt: skip
            raise Invalid
        who += key in ("uid", "gid", "all")
        rule.conditions[key] = value
        if key == "device":
            rule.kinds.add(key)
    if who != 1 or not rule.kinds:
        raise Invalid
    for key, value in rule.conditions.items():
        if not rule.kinds <= BESIDE[key] or not _is_value(key, value, rule, namespaces):
            raise Invalid
    if any(NEEDS[kind] not in rule.conditions for kind in rule.kinds & NEEDS.keys()):
        raise Invalid
    return rule


def _is_value(key: str, value: str, rule: ReferenceRule, namespaces: set[str]) -> bool:
    match key:
        case "all" | "listen":
            return True
        case "uid" | "gid":
            return not value.startswith("0x") and _is_number(value, 0, U32 - 1)
        case "port":
            return _is_list(value, 1, 65535)
        case "proto":
            mixed = "packet" in rule.kinds and len(rule.kinds) > 1
            return not mixed and _is_list(value, 0, 65535 if "packet" in rule.kinds else 255)
        case "addr":
            return 0 < len(value.split(",")) <= 8 and all(map(_is_network, value.split(",")))
        case "if":
            return _is_interface(value)
        case "name":
            return value == "*" or _is_interface(value.removesuffix("*"))
        case "netns":
            return all(_is_place(each, namespaces) for each in value.split(","))
        case "mark":
            return _is_range(value, 0, U32)
        case "priority":
            return _is_number(value, 0, U32)
        case "buffer":
            shift = {"K": 10, "M": 20}.get(value[-1:], 0)
            return _is_number(value[:-1] if shift else value, 1, 0x3FFFFFFF >> shift)
        case "filter":
            return value == "locked"
        case "max":
            return _is_number(value, 1, 1_000_000)
        case _:
            return _is_device(value)


def _is_number(text: str, low: int, high: int) -> bool:
    return bool(NUMBER.fullmatch(text)) and low <= int(text, 0) <= high


def _is_range(text: str, low: int, high: int) -> bool:
    first, dash, last = text.partition("-")
    if not _is_number(first, low, high):
        return False
    return not dash or (_is_number(last, low, high) and int(first, 0) < int(last, 0))


def _is_list(text: str, low: int, high: int) -> bool:
    parts = text.split(",")
    return len(parts) <= 8 and all(_is_range(part, low, high) for part in parts)


def _is_network(text: str) -> bool:
    address, slash, prefix = text.partition("/")
    if slash and not re.fullmatch(r"0|[1-9][0-9]{0,2}", prefix):
        return False
    if "%" in address:
        return False
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


def _is_interface(name: str) -> bool:
    return bool(INTERFACE.fullmatch(name)) and name not in (".", "..")


def _is_place(text: str, namespaces: set[str]) -> bool:
    if text in ("host", "own"):
        return True
    parts = text.split("/")
    if parts[0] != "" or len(parts) < 2 or len(text) > 63:
        return False
    namespaces.add(text)
    return all(part not in ("", ".", "..") for part in parts[1:])


def _is_device(text: str) -> bool:
    parts = text.split(":")
    if len(parts) != 4:
        return False
    name, path, major, minor = parts
    return (
        bool(DEVICE.fullmatch(name))
        and len(name) <= 31
        and path.startswith("/dev/")
        and len(path) <= 63
        and bool(DEVICE.fullmatch(path.removeprefix("/dev/")))
        and _is_number(major, 0, 4095)
        and _is_number(minor, 0, (1 << 20) - 1)
    )
