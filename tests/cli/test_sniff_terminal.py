"""``aioprocket sniff`` at a terminal: colours, a live line that stays out of the way, tables."""

import codecs
import fcntl
import os
import re
import select
import signal
import struct
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lab import traffic
from lab.sniffing import Sniffing, environment, send_datagrams, sniffing, wait_until

pytestmark = pytest.mark.netns

CLEAR = "\r\x1b[K"


def plain(text: str) -> str:
    """Without colours and bold type."""
    return re.sub(r"\x1b\[[\d;]*m", "", text)


class Terminal:
    """The side of a pseudoterminal that a person would sit at."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        # A read may end within a character.
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self.shown = ""

    def read(self) -> str:
        """All that is shown until now."""
        while select.select((self._fd,), (), (), 0)[0]:
            try:
                self.shown += self._decoder.decode(os.read(self._fd, 1 << 16))
            except OSError:  # EIO: nobody has the other side any more
                break
        return self.shown

    def until(self, pattern: str) -> re.Match[str]:
        """Wait until it shows something."""
        found = wait_until(lambda: re.search(pattern, plain(self.read())), f"{pattern!r} shown")
        assert isinstance(found, re.Match)
        return found


@contextmanager
def terminal(*arguments: str, **more: str) -> Iterator[tuple[Sniffing, Terminal]]:
    """Both outputs are the terminal, 100 columns wide."""
    person, program = os.openpty()
    fcntl.ioctl(program, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    variables = environment() | {"TERM": "xterm-256color"} | more
    variables.pop("COLUMNS")
    both: dict[str, Any] = {"stdout": program, "stderr": program, "env": variables}
    try:
        with sniffing(*arguments, ready="", **both) as sniffer:
            shown = Terminal(person)
            yield sniffer, shown
    finally:
        os.close(person)
        os.close(program)


def test_live_line_has_rate_and_drops_and_makes_way_for_packets() -> None:
    with terminal("-i", "lo") as (sniffer, shown):
        shown.until(r"0 packets  0/s  0 B/s  0 dropped")
        send_datagrams(1)
        shown.until(r"2 packets  [\d.]+/s  [\d.]+ k?B/s  0 dropped")
        assert sniffer.end() == 0
        text = shown.read()

    # Each line of a packet begins where the live line was taken away.
    first = text.index("127.0.0.1:")
    assert text.rindex(CLEAR, 0, first) > text.rindex("dropped", 0, first)
    assert "2 packets, " in text[text.rindex(CLEAR) :]


def test_lines_are_coloured() -> None:
    with terminal("-i", "lo", "-c", "2") as (sniffer, shown):
        shown.until("listening on lo")
        send_datagrams(1)
        sniffer.finish()

        assert "\x1b[36mUDP\x1b[0m" in shown.read()


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
def test_who_wants_no_colour_gets_none(variables: dict[str, str]) -> None:
    with terminal("-i", "lo", "-c", "2", **variables) as (sniffer, shown):
        shown.until("listening on lo")
        send_datagrams(1)
        sniffer.finish()

        assert "UDP len 5" in shown.read()
        assert not re.search(r"\x1b\[\d+m", shown.shown)


def test_piped_output_has_no_colour_and_no_live_line() -> None:
    with sniffing("-i", "lo", "-c", "2") as sniffer:
        send_datagrams(1)
        assert sniffer.finish() == 0

    assert "\x1b" not in sniffer.out + sniffer.err
    assert "\r" not in sniffer.out + sniffer.err


def test_drops_are_in_the_live_line(veth: tuple[str, str]) -> None:
    sender, receiver = veth
    with terminal("-i", receiver) as (sniffer, shown):
        shown.until("listening on")
        # Nobody reads the terminal meanwhile: it takes some kilobytes, and the ring is full soon.
        with traffic.flood(sender, 60_000, size=1000) as child:
            assert child.wait(45) == 0
        found = shown.until(r"([\d,.]+)( k)? dropped(?<! 0 dropped)")
        sniffer.process.send_signal(signal.SIGINT)
        wait_until(lambda: (shown.read(), sniffer.process.poll())[1] is not None, "the end")

    assert float(found[1].replace(",", "")) > 0
    assert re.search(r"\x1b\[31m[\d,.]+( k)? dropped\x1b\[0m", shown.shown)


def test_top_shows_who_sends_most_and_gives_the_screen_back() -> None:
    with terminal("-i", "lo", "--top") as (sniffer, shown):
        shown.until("source +destination +packets +bytes +now")
        send_datagrams(50)
        shown.until(r"127\.0\.0\.1 +127\.0\.0\.1 +100 ")
        assert sniffer.end() == 0
        text = plain(shown.read())

    assert text.count("\x1b[?1049h") == text.count("\x1b[?1049l") == 1
    after = text[text.rindex("\x1b[?1049l") :]
    assert re.search(r"127\.0\.0\.1 +127\.0\.0\.1 +100 ", after)
    assert re.search(r"UDP +100 100\.0 %", after)


def test_top_without_a_terminal_is_a_table_at_the_end() -> None:
    with sniffing("-i", "lo", "--top", "-c", "40") as sniffer:
        send_datagrams(20)
        assert sniffer.finish() == 0

    assert [line.split()[:4] for line in sniffer.lines] == [
        ["source", "destination", "packets", "bytes"],
        ["127.0.0.1", "127.0.0.1", "40", "1.9"],
    ]
