"""Who sends most: a live table of talkers, and how fast packets come."""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

import aioprocket

from ... import dissect
from ...dissect.addresses import ipv4
from .plot import bars, human, human_bytes
from .source import ETHERNET, Source
from .tally import Tally, protocols

__all__ = ("Pair", "Talkers", "Top")

_IPV4: Final = 0x0800
_WINDOW: Final = 5  # refreshs that the present rate is of
_HISTORY: Final = 240  # columns of the graph that are kept
_MOST_PAIRS: Final = 50_000
_HEAD: Final = 6  # lines that are not of the table's body

# Source and destination, and what they are counted by.
Pair = tuple[str, str]


class Talkers:
    """Packets and bytes of each pair of addresses, now and in all, in bounded memory."""

    def __init__(self) -> None:
        self.packets: Counter[Pair] = Counter()
        self.bytes: Counter[Pair] = Counter()
        self.forgotten = 0
        self._names: dict[int, Pair] = {}
        self._recent: deque[Counter[Pair]] = deque([Counter()], maxlen=_WINDOW)

    def add(self, source: Source, batch: aioprocket.Batch) -> None:
        """Count a batch: of IPv4 over Ethernet by columns, of others by each packet."""
        columns = source.linktype(batch) == ETHERNET
        rest: Iterable[int] = self._add_ipv4(batch) if columns else range(len(batch))
        lengths = batch.wire_lens
        for index in rest:
            packet = batch[index]
            summary = dissect.summarize(bytes(packet), source.origin(packet).linktype)
            self._count((summary.source, summary.destination), 1, lengths[index])

    def _add_ipv4(self, batch: aioprocket.Batch) -> list[int]:
        counts: dict[int, list[int]] = {}
        rest = []
        columns = zip(batch.field(12, 2), batch.field(26, 8), batch.wire_lens, strict=True)
        for index, (ethertype, pair, length) in enumerate(columns):
            if ethertype != _IPV4:
                rest.append(index)
            elif pair in counts:
                counts[pair][0] += 1
                counts[pair][1] += length
            else:
                counts[pair] = [1, length]
        for pair, (count, size) in counts.items():
            self._count(self._name(pair), count, size)
        return rest

    def _name(self, pair: int) -> Pair:
        name = self._names.get(pair)
        if name is None:
            raw = pair.to_bytes(8)
            if len(self._names) >= _MOST_PAIRS:
                self._names.clear()
            name = self._names[pair] = (ipv4(raw[:4]), ipv4(raw[4:]))
        return name

    def _count(self, pair: Pair, count: int, size: int) -> None:
        self.packets[pair] += count
        self.bytes[pair] += size
        recent = self._recent[-1]
        if pair in recent or len(recent) < _MOST_PAIRS:
            recent[pair] += size
        if len(self.packets) > _MOST_PAIRS:
            self._forget()

    def _forget(self) -> None:
        # A flood from addresses that are made up must not take all memory: the smaller half goes.
        kept = dict(self.bytes.most_common(_MOST_PAIRS // 2))
        self.forgotten += sum(count for pair, count in self.packets.items() if pair not in kept)
        self.packets = Counter({pair: self.packets[pair] for pair in kept})
        self.bytes = Counter(kept)

    def tick(self) -> None:
        """One refresh more."""
        self._recent.append(Counter())

    def rows(self, count: int) -> list[tuple[Pair, int, int, float]]:
        """The busiest now, then the largest: pair, packets, bytes, and bytes of a refresh."""
        now: Counter[Pair] = Counter()
        for each in self._recent:
            now.update(each)
        pairs = [pair for pair, _ in now.most_common(count)]
        pairs += [pair for pair, _ in self.bytes.most_common(count) if pair not in now]
        return [
            (pair, self.packets[pair], self.bytes[pair], now[pair] / len(self._recent))
            for pair in pairs[:count]
        ]


class Top:
    """Shows them on the whole screen, once a second; where there is no terminal, at the end."""

    interval: Final = 1.0

    def __init__(self, tally: Tally, sources: Sequence[Source], console: Console) -> None:
        self._tally = tally
        self._sources = sources
        self._console = console
        self._talkers = Talkers()
        self._rates: deque[int] = deque(maxlen=_HISTORY)
        self._before = 0
        self._live = Live(
            console=console, screen=True, auto_refresh=False, redirect_stdout=False,
            redirect_stderr=False,
        )  # fmt: skip

    def __enter__(self) -> "Top":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()
        self._console.print(self._table(len(self._rates) or 10))

    async def show(self, source: Source, batch: aioprocket.Batch) -> None:
        """Count who sends to whom."""
        self._tally.protocols.update(protocols(source, batch))
        self._talkers.add(source, batch)

    @property
    def hidden(self) -> int:
        """None: all are in the table."""
        return 0

    def refresh(self) -> None:
        """Draw anew."""
        self._rates.append(self._tally.packets - self._before)
        self._before = self._tally.packets
        if self._console.is_terminal:
            self._live.update(self._screen(), refresh=True)
        self._talkers.tick()

    def _screen(self) -> RenderableType:
        width, height = self._console.size
        unicode = self._console.encoding.lower().startswith("utf")
        dropped = sum(source.dropped() for source in self._sources)
        names = ", ".join(source.name for source in self._sources)
        rate = self._rates[-1] / self.interval
        head = Text(f"{names}: {human(self._tally.packets)} packets, {human(rate)}/s, ")
        head.append(f"{human(dropped)} dropped", style="bold red" if dropped else "")
        shown = list(self._rates)[-width:]
        graph = Text(bars(shown, unicode=unicode), style="green", no_wrap=True)
        scale = Text(f"packets per second, at most {human(max(shown))}; Ctrl-C ends", style="dim")
        return Group(head, graph, scale, self._table(max(3, height - _HEAD)))

    def _table(self, rows: int) -> Table:
        table = Table(box=None, pad_edge=False)
        table.add_column("source", overflow="ellipsis", no_wrap=True)
        table.add_column("destination", overflow="ellipsis", no_wrap=True)
        for name in ("packets", "bytes", "now"):
            table.add_column(name, justify="right", no_wrap=True)
        for (source, destination), packets, size, now in self._talkers.rows(rows):
            rate = f"{human_bytes(now / self.interval)}/s"
            ends = Text(source), Text(destination)
            table.add_row(*ends, human(packets), human_bytes(size), rate)
        if self._talkers.forgotten:
            table.add_row("others", "", human(self._talkers.forgotten), "", "")
        return table
