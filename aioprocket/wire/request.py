"""The helper's messages: what a client asks and what it is answered.

``helper/PROTOCOL.md`` is the whole of the protocol; this module is its reference in Python, and
``helper/request.c`` the other half. `decode_request` checks all that is a fault of form, so that a
fake helper in a test is as strict as the real one.
"""

import ipaddress
import re
import socket
import struct
from dataclasses import dataclass, fields
from enum import IntEnum, IntFlag
from typing import Any, Final

from ..errors import SpecError, WireError
from ..spec import (
    DeviceSpec,
    Instruction,
    IpAddress,
    IpInterface,
    PacketSpec,
    SocketSpec,
    Spec,
    TunSpec,
    describe,
)

__all__ = (
    "MAX_REQUEST",
    "REPLY_SIZE",
    "VERSION",
    "Flag",
    "Kind",
    "Mode",
    "Op",
    "Reason",
    "Reply",
    "Request",
    "Stage",
    "State",
    "decode_reply",
    "decode_request",
    "encode_hello",
    "encode_open",
    "encode_reply",
    "encode_request",
)
