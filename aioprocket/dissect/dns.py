"""DNS, mDNS and LLMNR: what is asked, and what is answered.

Names may point back into the message, and hostile ones at themselves: a pointer is followed only
to a place before the one that it was reached from, and no more of them than a name can have labels,
so every name soon comes to an end.

Source: RFC 1035, RFC 6762 (mDNS), RFC 9460 (HTTPS);
https://www.iana.org/assignments/dns-parameters
"""

import struct
from typing import Final

from ..errors import WireError
from .addresses import ipv4, ipv6
from .result import Dissection, printable, shown

__all__ = ("name_at", "parse_dns")

_TYPES: Final = {
    1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 13: "HINFO", 15: "MX", 16: "TXT", 28: "AAAA",
    29: "LOC", 33: "SRV", 35: "NAPTR", 39: "DNAME", 41: "OPT", 43: "DS", 44: "SSHFP", 46: "RRSIG",
    47: "NSEC", 48: "DNSKEY", 50: "NSEC3", 52: "TLSA", 64: "SVCB", 65: "HTTPS", 99: "SPF",
    250: "TSIG", 251: "IXFR", 252: "AXFR", 255: "ANY", 257: "CAA",
}  # fmt: skip
_RCODES: Final = (
    "NoError", "FormErr", "ServFail", "NXDomain", "NotImp", "Refused", "YXDomain", "YXRRSet",
    "NXRRSet", "NotAuth", "NotZone",
)  # fmt: skip
_OPCODES: Final = {0: "query", 1: "inverse query", 2: "status", 4: "notify", 5: "update"}
_OPT: Final = 41
_MAX_NAME: Final = 255  # bytes with the zero at its end: RFC 1035, section 2.3.4
_MAX_LABELS: Final = 127  # of a byte each
# Characters of a message's names, together. Those of 48 reverse lookups of IPv6 are fewer.
_MAX_NAMES: Final = 4096
_MAX_RECORDS: Final = 16  # of each section, read and shown
_NAMED: Final = frozenset({2, 5, 12, 39})  # their data is one name


def parse_dns(into: Dissection, data: bytes, at: int, protocol: str) -> None:
    """Read the message that ``data`` has from ``at`` to its end."""
    into.protocol = protocol
    reader = _Reader(data[at:])
    identifier, flags, questions, answers, authorities, additional = struct.unpack_from(
        "!HHHHHH", reader.message
    )
    is_response = bool(flags & 0x8000)
    opcode, rcode = flags >> 11 & 0xF, flags & 0xF
    asked: list[str] = []
    answered: list[str] = []
    try:
        asked.extend(reader.question() for _ in range(min(questions, _MAX_RECORDS)))
        records = (reader.record() for _ in range(min(answers, _MAX_RECORDS)))
        answered.extend(filter(None, records))
    finally:
        into.add(
            protocol.lower(),
            id=identifier,
            response=is_response,
            opcode=opcode,
            rcode=rcode,
            authoritative=bool(flags & 0x0400),
            truncated=bool(flags & 0x0200),
            recursion_desired=bool(flags & 0x0100),
            questions=tuple(asked),
            answers=tuple(answered),
            counts=(questions, answers, authorities, additional),
        )
        word = "response" if is_response else _OPCODES.get(opcode, f"opcode {opcode}")
        words = [word, str(identifier), ", ".join(asked)]
        if rcode:
            words.append(_RCODES[rcode] if rcode < len(_RCODES) else f"rcode {rcode}")
        if flags & 0x0200:
            words.append("truncated")
        into.info = " ".join(filter(None, words))
        if answered:
            into.info += ": " + ", ".join(answered)
        if answers > _MAX_RECORDS:
            into.info += f", {answers - _MAX_RECORDS} more"


class _Reader:
    """Reads a message from front to back."""

    __slots__ = ("_at", "_room", "message")

    def __init__(self, message: bytes) -> None:
        self.message = message
        self._at = 12
        self._room = _MAX_NAMES

    def question(self) -> str:
        """``A example.org``."""
        name = self._name()
        kind, _ = struct.unpack_from("!HH", self.message, self._at)
        self._at += 4
        return f"{_type_name(kind)} {name}"

    def record(self) -> str:
        """``A 192.0.2.1``; of mDNS, which answers without a question, also whose it is."""
        name = self._name()
        kind, _, _, size = struct.unpack_from("!HHIH", self.message, self._at)
        at = self._at + 10
        self._at = at + size
        if kind == _OPT:
            return ""
        if self._at > len(self.message):
            raise WireError("a record that is cut")
        return f"{name} {_type_name(kind)} {self._data(kind, at, size)}".rstrip()

    def _name(self) -> str:
        name, self._at = self._name_at(self._at)
        return name

    def _name_at(self, at: int) -> tuple[str, int]:
        found = name_at(self.message, at)
        self._room -= len(found[0])
        if self._room < 0:
            raise WireError(f"names of more than {_MAX_NAMES} characters")
        return found

    def _data(self, kind: int, at: int, size: int) -> str:
        message = self.message
        if (kind, size) == (1, 4):
            return ipv4(message[at : at + 4])
        if (kind, size) == (28, 16):
            return ipv6(message[at : at + 16])
        if kind in _NAMED:
            return self._name_at(at)[0]
        if kind == 15:
            (preference,) = struct.unpack_from("!H", message, at)
            return f"{preference} {self._name_at(at + 2)[0]}"
        if kind == 33:
            port = struct.unpack_from("!HHH", message, at)[2]
            return f"{self._name_at(at + 6)[0]}:{port}"
        if kind == 16 and size:
            return f'"{printable(message[at + 1 : at + 1 + message[at]])}"'
        if kind in (64, 65):
            return self._name_at(at + 2)[0]
        return ""


def _type_name(kind: int) -> str:
    return _TYPES.get(kind, f"TYPE{kind}")


def name_at(message: bytes, at: int) -> tuple[str, int]:
    """A name, and where it ends. It is escaped where a terminal would obey it.

    Raises:
        WireError: It is longer than 255 bytes, follows more pointers than a name has labels, has a
            label that is none, or points ahead.
    """
    labels: list[bytes] = []
    size = jumps = end = 0
    while length := message[at]:
        if length & 0xC0 == 0xC0:
            target = (length & 0x3F) << 8 | message[at + 1]
            end = end or at + 2
            jumps += 1
            if target >= at or jumps > _MAX_LABELS:
                raise WireError("a name that points ahead, or to pointers without end")
            at = target
            continue
        if length & 0xC0:
            raise WireError(f"a label of kind {length >> 6}")
        size += 1 + length
        if size >= _MAX_NAME or at + 1 + length >= len(message):
            raise WireError("a name that does not end")
        labels.append(message[at + 1 : at + 1 + length])
        at += 1 + length
    return _text(labels) or ".", end or at + 1


def _text(labels: list[bytes]) -> str:
    # As one, for each look at a label alone costs more than all its bytes.
    raw = b".".join(labels)
    if b"\\" in raw or raw.count(b".") >= len(labels):
        escaped = (label.replace(b"\\", b"\\\\").replace(b".", b"\\.") for label in labels)
        raw = b".".join(escaped)
    return shown(raw)
