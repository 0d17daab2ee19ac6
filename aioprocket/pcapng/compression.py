"""gzip and zstd: of files that are written, by their name; of those read, by how they begin."""

import importlib
import zlib
from typing import Any, Final, Protocol

from ..errors import SpecError, WireError

__all__ = (
    "MAGIC_SIZE",
    "Compressor",
    "Decompressor",
    "Plain",
    "compressor",
    "decompressor",
    "suffix_of",
)

MAGIC_SIZE: Final = 4
_GZIP_MAGIC: Final = b"\x1f\x8b"
_ZSTD_MAGIC: Final = bytes.fromhex("28b52ffd")
_GZIP_WINDOW: Final = 31  # 15 bits, and the header of gzip: zlib.h
_GZIP_LEVEL: Final = 1  # a capture has to keep up
_SUFFIXES: Final = (".gz", ".zst")
_STEP: Final = 1 << 18  # bytes that come out at once, at most
_GZIP_BITE: Final = 1 << 14
_ZSTD_BITE: Final = 256  # bytes that go in at once: even of these come up to 8 MiB


def suffix_of(name: str) -> str:
    """``.gz``, ``.zst`` or nothing: what a name ends with."""
    return next((suffix for suffix in _SUFFIXES if name.endswith(suffix)), "")


class Compressor(Protocol):
    """Bytes in, fewer out."""

    def compress(self, data: memoryview, /) -> bytes:
        """What there is to write so far."""
        ...

    def settle(self) -> bytes:
        """What it kept: all that went in can be read then."""
        ...

    def flush(self) -> bytes:
        """The end."""
        ...


class _Gzip:
    def __init__(self) -> None:
        self._stream = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
        self.flush = self._stream.flush

    def compress(self, data: memoryview, /) -> bytes:
        return self._stream.compress(data)

    def settle(self) -> bytes:
        return self._stream.flush(zlib.Z_SYNC_FLUSH)


class _Zstd:
    def __init__(self) -> None:
        module, native = _zstd()
        if native:
            self._stream: Any = module.ZstdCompressor()
            self._settle = self._stream.FLUSH_BLOCK
            self.flush = self._stream.flush
        else:
            self._stream = module.ZstdCompressor().compressobj()
            self._settle = module.COMPRESSOBJ_FLUSH_BLOCK
            self.flush = self._stream.flush

    def compress(self, data: memoryview, /) -> bytes:
        squeezed: bytes = self._stream.compress(data)
        return squeezed

    def settle(self) -> bytes:
        squeezed: bytes = self._stream.flush(self._settle)
        return squeezed


def compressor(name: str) -> Compressor | None:
    """What a file of this name is written through.

    Raises:
        SpecError: ``.zst``, and no zstd here.
    """
    match suffix_of(name):
        case ".gz":
            return _Gzip()
        case ".zst":
            return _Zstd()
    return None


class Decompressor(Protocol):
    """Bytes in, more out, a bounded piece at a time."""

    def feed(self, data: bytes, /) -> None:
        """Take more of the file, once `read` had nothing left."""
        ...

    def read(self) -> bytes:
        """The next piece; empty: more is needed.

        Raises:
            WireError: It is damaged.
        """
        ...

    @property
    def whole(self) -> bool:
        """Whether the file may end here."""
        ...


class Plain:
    """A file that is not compressed."""

    whole = True

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes, /) -> None:
        """As `Decompressor`."""
        self._data = data

    def read(self) -> bytes:
        """As `Decompressor`."""
        data, self._data = self._data, b""
        return data


class _Gunzip:
    def __init__(self) -> None:
        self._stream = zlib.decompressobj(_GZIP_WINDOW)
        self._data = b""
        self._at = 0
        self._bite = b""  # what goes in next; small, for what is left of it is copied each time
        self.whole = True  # between two members

    def feed(self, data: bytes, /) -> None:
        self._data = self._data[self._at :] + data
        self._at = 0

    def read(self) -> bytes:
        while self._bite or self._at < len(self._data):
            if not self._bite:
                self._bite = self._data[self._at : self._at + _GZIP_BITE]
                self._at += len(self._bite)
            if self.whole:  # some programs fill a file up with zeroes
                self._bite = self._bite.lstrip(b"\0")
            if self._bite and (piece := self._inflate()):
                return piece
        return b""

    def _inflate(self) -> bytes:
        try:
            piece = self._stream.decompress(self._bite, _STEP)
        except zlib.error as error:
            raise WireError(f"gzip: {error}") from None
        self._bite = self._stream.unconsumed_tail
        self.whole = self._stream.eof
        if self.whole:
            self._bite = self._stream.unused_data
            self._stream = zlib.decompressobj(_GZIP_WINDOW)
        return piece


class _Unzstd:
    """Of either module: they have the names in common that are used here."""

    def __init__(self) -> None:
        self._module, self._native = _zstd()
        self._stream = self._begin()
        self._data = b""
        self._at = 0
        self.whole = True

    def _begin(self) -> Any:
        stream = self._module.ZstdDecompressor()
        return stream if self._native else stream.decompressobj()

    def feed(self, data: bytes, /) -> None:
        self._data = self._data[self._at :] + data
        self._at = 0

    def read(self) -> bytes:
        piece = b""
        while self._at < len(self._data) and not piece:
            bite = self._data[self._at : self._at + _ZSTD_BITE]
            self._at += len(bite)
            try:
                piece = self._stream.decompress(bite)
            except Exception as error:
                raise WireError(f"zstd: {error}") from None
            self.whole = self._stream.eof
            if self.whole:
                self._at -= len(self._stream.unused_data)
                self._stream = self._begin()
        return piece


def decompressor(magic: bytes) -> Decompressor:
    """What a file that begins with these four bytes is read through.

    Raises:
        SpecError: It is of zstd, which is not here.
    """
    if magic.startswith(_GZIP_MAGIC):
        return _Gunzip()
    if magic == _ZSTD_MAGIC:
        return _Unzstd()
    return Plain()


def _zstd() -> tuple[Any, bool]:
    """The module, and whether it is that of the standard library (Python 3.14)."""
    for name in ("compression.zstd", "zstandard"):
        try:
            return importlib.import_module(name), name == "compression.zstd"
        except ImportError:
            continue
    raise SpecError(
        "there is no zstd in this Python", hint="pip install zstandard, or use gzip: .gz"
    )
