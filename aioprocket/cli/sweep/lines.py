"""What a sweep writes about each probe."""

import csv
import io
import json
from collections.abc import Callable
from typing import Final, Literal

import aioprocket

from ..ping.records import COLUMNS, echo_record
from ..ping.text import milliseconds, outcome

__all__ = ("Format", "Renderer", "renderer")

Format = Literal["text", "alive", "silent", "all", "json", "csv"]


Renderer = Callable[[aioprocket.Echo], str]


def renderer(wanted: Format) -> tuple[str, Renderer]:
    """What to write before all, and the function that gives the text for each probe.

    Args:
        wanted: ``"text"``: a line for each reply. ``"alive"``: the address alone. ``"silent"``: the
            addresses that gave none. ``"all"``: a line for each probe. ``"json" "csv"``: a record
            for each.
    """
    if wanted == "csv":
        header = io.StringIO()
        csv.writer(header, lineterminator="\n").writerow(COLUMNS)
        return header.getvalue(), _csv
    return "", _RENDERERS[wanted]


def _name(echo: aioprocket.Echo) -> str:
    address = str(echo.address)
    return address if echo.host in ("", address) else f"{echo.host} ({address})"


def _text(echo: aioprocket.Echo) -> str:
    return "" if echo.rtt is None else f"{_name(echo)}  {milliseconds(echo.rtt)} ms\n"


def _alive(echo: aioprocket.Echo) -> str:
    return f"{echo.host or echo.address}\n" if echo.ok else ""


def _silent(echo: aioprocket.Echo) -> str:
    return "" if echo.ok else f"{echo.host or echo.address}\n"


def _all(echo: aioprocket.Echo) -> str:
    if echo.error is not None and echo.error.kind == "unresolved":
        return f"{echo.host}: {echo.error}\n"
    return f"{_name(echo)}: {outcome(echo)}\n"


def _json(echo: aioprocket.Echo) -> str:
    record = echo_record(echo.host or str(echo.address), echo)
    return json.dumps(record, separators=(",", ":")) + "\n"


def _csv(echo: aioprocket.Echo) -> str:
    row = io.StringIO()
    writer = csv.DictWriter(row, COLUMNS, lineterminator="\n")
    writer.writerow(echo_record(echo.host or str(echo.address), echo))
    return row.getvalue()


_RENDERERS: Final[dict[Format, Renderer]] = {
    "text": _text,
    "alive": _alive,
    "silent": _silent,
    "all": _all,
    "json": _json,
}
