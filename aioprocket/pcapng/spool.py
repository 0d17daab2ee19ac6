"""The bounded queue between who captures and the thread that writes.

Packets are put into chunks of memory as the file will have them. The thread takes a chunk when it
is full, or when nothing more has come for a moment, writes it without holding up anybody, and puts
it back to be filled again.
"""

import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

from ..errors import AioprocketError, CaptureError
from .output import Output

__all__ = ("CHUNK", "Chunk", "Spool")

CHUNK: Final = 1 << 20  # bytes
# Seconds that the thread waits for company: it needs the interpreter for each write.
_COMPANY: Final = 0.005
_LOOK: Final = 0.1  # seconds until whoever waits for the end looks whether it was given up


class Chunk:
    """Memory for whole blocks, and what the thread has to know of them."""

    __slots__ = ("at", "extra", "opens", "packets", "room")

    def __init__(self, size: int, *, extra: bool = False) -> None:
        self.room = bytearray(size)
        self.at = 0
        self.packets = 0
        self.extra = extra  # it is beside those that are filled again and again
        self.opens: str | None = None  # the file to be begun with it

    def put(self, data: bytes) -> bool:
        """Append a block; whether there is room for it."""
        if len(self.room) - self.at < len(data):
            return False
        self.room[self.at : self.at + len(data)] = data
        self.at += len(data)
        return True


class Spool:
    """Chunks on their way to the file. What is not of the thread is called with `lock` held."""

    def __init__(self, output: Output, chunks: int, chunk_size: int, files: int | None) -> None:
        self.lock = threading.RLock()
        self.error: AioprocketError | None = None
        self.written = 0  # bytes, before compression
        self.files: tuple[str, ...] = ()  # that are there
        self._output = output
        self._kept = files
        self._chunk_size = chunk_size
        self._left = chunks  # that may still be made
        self._free: list[Chunk] = []
        self._full: deque[Chunk] = deque()
        self._current: Chunk | None = None
        self._writing: Chunk | None = None
        self._lost = 0  # packets of the chunks that came back
        self._waits = False  # for anything at all
        self._handed = self._done = 0  # chunks that went to the thread, and came back
        self._finishing = False
        self._given_up = False
        self._filled = threading.Condition(self.lock)
        self._emptied = threading.Condition(self.lock)
        self._thread = threading.Thread(target=self._run, name="aioprocket capture", daemon=True)

    def start(self, path: str) -> None:
        """Begin to write the file that is open."""
        self.files = (path,)
        self._thread.start()

    # With the lock held.

    @property
    def queued(self) -> int:
        """Bytes that wait to be written."""
        return sum(chunk.at for chunk in self._waiting())

    @property
    def lost(self) -> int:
        """Packets that were taken, and do not get into the file after an error."""
        if self.error is None:
            return 0
        written = [self._writing] if self._writing is not None else []
        return self._lost + sum(chunk.packets for chunk in [*self._waiting(), *written])

    def _waiting(self) -> list[Chunk]:
        return [*self._full, self._current] if self._current is not None else list(self._full)

    def chunk(self) -> Chunk | None:
        """The chunk that is being filled; None: all are full."""
        if self._current is None:
            if self._free:
                self._current = self._free.pop()
            elif self._left > 0:
                self._left -= 1
                self._current = Chunk(self._chunk_size)
        return self._current

    def put(self, data: bytes) -> None:
        """Append what must not be dropped, full or not."""
        if self._current is None or not self._current.put(data):
            self._append(data)

    def open(self, path: str, data: bytes) -> None:
        """Go on in another file, which begins with ``data``."""
        self._append(data).opens = path

    def _append(self, data: bytes) -> Chunk:
        self.seal()
        chunk = Chunk(len(data), extra=True)
        chunk.put(data)
        self._hand_over(chunk)
        return chunk

    def _hand_over(self, chunk: Chunk) -> None:
        self._full.append(chunk)
        self._handed += 1
        self._filled.notify()

    def seal(self) -> None:
        """The chunk takes nothing more."""
        if self._current is not None and self._current.at:
            self._hand_over(self._current)
            self._current = None

    def wake(self) -> None:
        """Something was put into the chunk."""
        if self._waits:
            self._filled.notify()

    def finish(self) -> None:
        """Nothing more will come."""
        self.seal()
        self._finishing = True
        self._filled.notify()
        self._emptied.notify_all()

    # Without it, and not in the loop.

    def wait_for_room(self) -> None:
        """Wait until a chunk is there."""
        with self.lock:
            self._emptied.wait_for(
                lambda: self._free or self._left or self._current or self._finishing or self.error
            )

    def wait_until_written(self) -> None:
        """Wait until all that came so far is in the file."""
        with self.lock:
            self.seal()
            handed = self._handed
            self._emptied.wait_for(lambda: self._given_up or self._done >= handed)

    def join(self) -> None:
        """Wait for the end of the thread, after `finish`."""
        while self._thread.is_alive() and not self._given_up:
            self._thread.join(_LOOK)

    def give_up(self) -> None:
        """Nobody is to wait any more: the thread hangs, in a pipe that is not read."""
        self._given_up = True
        with self.lock:
            self._emptied.notify_all()

    # The thread.

    def _run(self) -> None:
        while (chunk := self._next()) is not None:
            if self.error is None:
                self._note(partial(self._write, chunk))
            self._give_back(chunk)
        self._note(self._output.close)

    def _note(self, action: Callable[[], None]) -> None:
        try:
            action()
        except AioprocketError as error:
            self._fail(error)
        except Exception as error:  # whoever waits for this thread has to hear of it
            self._fail(CaptureError(f"write {self.files[-1]!r}: {error!r}"))

    def _fail(self, error: AioprocketError) -> None:
        with self.lock:
            self.error = self.error or error
            if self._writing is not None:
                left = self._output.left
                self.written += left.size
                self._writing.packets -= left.packets

    def _next(self) -> Chunk | None:
        with self.lock:
            while not self._full and not self._finishing:
                if self._current is not None and self._current.at:
                    self._filled.wait(_COMPANY)
                    if not self._full:
                        self.seal()
                    continue
                self._waits = True
                self._filled.wait()
                self._waits = False
            self._writing = self._full.popleft() if self._full else None
            return self._writing

    def _write(self, chunk: Chunk) -> None:
        if chunk.opens is not None:
            self._turn(chunk.opens)
        with memoryview(chunk.room) as room:
            self._output.write(room[: chunk.at])
        # Also where more waits: what is counted as written must not be the compressor's to lose.
        self._output.settle()
        self.written += chunk.at

    def _turn(self, path: str) -> None:
        self._output.close()
        if self._kept is not None and len(self.files) >= self._kept:
            with suppress(OSError):  # somebody else has taken it away
                os.unlink(self.files[0])
            self.files = self.files[1:]
        self._output.open(path)
        self.files = (*self.files, path)

    def _give_back(self, chunk: Chunk) -> None:
        with self.lock:
            if self.error is not None:
                self._lost += chunk.packets
            self._writing = None
            chunk.at = chunk.packets = 0
            self._done += 1
            if not chunk.extra:
                self._free.append(chunk)
            self._emptied.notify_all()
