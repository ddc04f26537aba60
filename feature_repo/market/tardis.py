"""Tardis CSV files of one contract, any data types and days, to event rows.

hftbacktest's own ``data.utils.tardis.convert`` gives the same trades and depth changes (a test compares both). It is
not used here because it needs all files of a tape in memory at once, stops at the first field that is no number, has no
notion of a lost message, and knows neither liquidations nor funding nor book snapshots.

Reference: Tardis' documentation of its downloadable CSV files (data types; collected order book data details).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..events import LIQUIDATION, TRADE
from ..instruments import Instrument, instrument
from .sources import CUT_OFF, CutOffError, file_sha256, open_blocks
from .stream import BadRows
from .tardis_book import Converter, Depth, Fills, Funding, Quotes, Snapshots
from .tardis_head import HEAD_BYTES, VENUES, TardisHead, head_of
from .tardis_lines import SKIPPED_ZERO, STEPPED_BACK, Columns, Layout, layout_of
from .tardis_merge import fill_exchange_time, merge
from .tardis_scan import LineScanner

__all__ = ["TardisReader"]

_WHAT = "Tardis CSV lines of one exchange and symbol"
# A depth message that a trade caused must come after it: hftbacktest's queue would shrink twice.
_ORDER = ("trades", "liquidations", "derivative_ticker", "quotes", "book_snapshot", "incremental_book_L2")
_ROW_NAMES = {"trades": "trade", "liquidations": "liquidation", "quotes": "quote"}
_BLOCK_BYTES = 1 << 21


class TardisReader:
    """Files of one exchange and symbol as one stream of rows; see ``stream.Reader``.

    The files of one data type are read in the order of their first local_timestamp, the data types side by side. At
    equal local times trades come first, then liquidations, funding, best quotes and depth. ``book_snapshot`` files are
    read only where there is no ``incremental_book_L2``, and of several depths the deepest; the others are counted as
    skipped. Amounts of linear contracts are given in base units, also where the exchange counts contracts.

    Not a row, and counted as skipped: a trade of quantity zero. Bad rows, counted by reason: a line with another number
    of fields, another exchange or symbol, a field that is no number, not finite, negative, zero where it is a price,
    too large (a price above 1e12, an amount above 1e15) or an unknown word, a timestamp more than a day from
    local_timestamp, levels out of order, the id of an earlier line (Binance, whose ids rise) or of the line before (the
    others), a file that is cut off (the rest of it is used, however short). A line whose local_timestamp is before that
    of an earlier one of its data type is counted too, but used, held at the latest.

    Parameters
    ----------
    files : at least one with a line
    bad : gets the account of unusable lines
    plain : read every line in plain Python, which is slow; for comparison

    Raises
    ------
    InputError
        For a file that is no Tardis CSV, an exchange that is not in ``VENUES``, a symbol that the instrument table
        lacks, two exchanges or symbols, or no line at all. While reading: for two files of one data type that overlap,
        a damaged .gz, and a file with too many bad rows.
    """

    kind = "tardis"

    def __init__(self, files: Sequence[Path], bad: BadRows, *, plain: bool = False) -> None:
        self.bad = bad
        self._plain = plain
        heads = [_head(Path(f)) for f in files]
        self._exchange, self.symbol = _contract(heads)
        self.venue = VENUES[self._exchange]
        self._instrument = _instrument(heads, self.venue, self.symbol)
        self._sizes = {h.path: h.path.stat().st_size for h in heads}
        self.size = sum(self._sizes.values())
        self._done = dict.fromkeys(self._sizes, 0)
        self._lines = dict.fromkeys(self._sizes, 0)
        self._heads = sorted(heads, key=lambda h: (h.first_ns, h.path.name))
        self._messages: Counter[str] = Counter()
        self._skipped: Counter[str] = Counter()
        self._converters: list[Converter] = []
        self._backwards = 0
        self.files = [h.path for h in self._heads]

    @cached_property
    def _sources(self) -> list[dict[str, Any]]:
        sizes, lines = self._sizes, self._lines
        return [{"name": p.name, "size": sizes[p], "sha256": file_sha256(p), "lines": lines[p]} for p in self.files]

    @property
    def done(self) -> int:
        """Bytes on disk that are read."""
        return sum(self._done.values())

    def chunks(self) -> Iterator[np.ndarray]:
        """EVENT_DTYPE [n], n >= 1, by local_ts; see ``stream.Reader``."""
        latest_ns = 0
        chains = self._chains()
        streams = [self._chain(data_type, chains[data_type]) for data_type in sorted(chains, key=_place)]
        try:
            for rows in merge(streams):
                latest_ns = fill_exchange_time(rows, latest_ns)
                yield rows
        finally:
            for stream in streams:  # files that were not read to their end are closed
                stream.close()

    def facts(self) -> dict[str, Any]:
        """sources, lines, messages (usable lines by data type), skipped, depth, local_backwards, local_ts_unit."""
        depth: Counter[str] = Counter()
        for converter in self._converters:
            depth.update(converter.depth)
        return {
            "sources": self._sources,
            "lines": sum(self._lines.values()),
            "messages": dict(self._messages),
            "skipped": dict(self._skipped),
            "depth": dict(depth),
            "local_backwards": self._backwards,
            "local_ts_unit": "us",
        }

    def _chains(self) -> dict[str, list[TardisHead]]:
        """Files to read, by data type."""
        chains: dict[str, list[TardisHead]] = {}
        for head in self._heads:
            if head.symbol:
                chains.setdefault(head.data_type, []).append(head)
            else:
                self._done[head.path] = self._sizes[head.path]
        books = sorted((t for t in chains if _place(t) == _place("book_snapshot")), key=lambda t: int(t.split("_")[-1]))
        for data_type in books if "incremental_book_L2" in chains else books[:-1]:
            beside = "incremental_book_L2" if "incremental_book_L2" in chains else books[-1]
            files = chains.pop(data_type)
            self._skipped[f"{data_type} beside {beside} (files)"] += len(files)
            self._done.update({h.path: self._sizes[h.path] for h in files})
        return chains

    def _chain(self, data_type: str, heads: Sequence[TardisHead]) -> Generator[np.ndarray, None, None]:
        """Rows of the files of one data type."""
        scanner, converter = None, None
        before, latest_ns = "", 0
        for head in heads:
            if head.first_ns < latest_ns:
                raise InputError(
                    f"{head.path} begins before {before} ends, both {data_type}",
                    "files of one data type that follow each other",
                    "Leave one of them out",
                )
            before = str(head.path)
            layout = _layout(head.path)
            if scanner is None or converter is None:
                rising = self._exchange.startswith("binance")
                scanner = LineScanner(layout, self._exchange, self.symbol, rising=rising, plain=self._plain)
                converter = _converter(data_type, layout)
                self._converters.append(converter)
            scanner.layout = layout
            converter.new_file()
            for lines in self._file(head, scanner):
                if data_type != "derivative_ticker":
                    _to_base(lines.values[:, 1::2], self._instrument)
                for rows in converter.rows(lines):
                    latest_ns = int(rows["local_ts"][-1])
                    yield rows

    def _file(self, head: TardisHead, scanner: LineScanner) -> Iterator[Columns]:
        """The usable lines of one file, block by block."""
        path, name = head.path, _ROW_NAMES.get(head.data_type, head.data_type)
        # Files are read side by side, and each is judged by its own lines.
        own = BadRows(self.bad.max_share)
        n, header = 0, True
        with open_blocks(path, block_bytes=_BLOCK_BYTES) as blocks:
            try:
                for block in blocks:
                    self._done[path] = blocks.done
                    body = block[block.find(b"\n") + 1 or len(block) :] if header else block
                    header = False
                    rows, lines, odd = scanner.feed(body)
                    for at, reason in odd:
                        if reason == SKIPPED_ZERO:
                            self._skipped[reason] += 1
                        elif reason == STEPPED_BACK:
                            own.add(path, n + at + 2, reason)
                        elif at == lines - 1 and not body.endswith(b"\n"):
                            own.add(path, n + at + 2, CUT_OFF, judged=False)
                        else:
                            own.add(path, n + at + 2, f"{name}: {reason}")
                    n += lines
                    self._lines[path] = n
                    self._messages[head.data_type] += len(rows)
                    yield rows
            except CutOffError:
                n += 1
                own.add(path, n + 1, CUT_OFF, judged=False)
                yield Columns.room(0, scanner.layout.slots).first(0, [0])
        self._lines[path], self._done[path] = n, self._sizes[path]
        self._backwards += own.reasons[STEPPED_BACK]
        own.end_file(path, n, _WHAT)
        self.bad.rows += own.rows
        self.bad.reasons.update(+own.reasons)
        self.bad.first = self.bad.first or own.first


def _place(data_type: str) -> int:
    """Place of a data type among rows of equal local times."""
    return _ORDER.index("book_snapshot" if data_type.startswith("book_snapshot") else data_type)


def _converter(data_type: str, layout: Layout) -> Converter:
    if data_type == "incremental_book_L2":
        return Depth()
    if data_type == "quotes":
        return Quotes()
    if data_type == "derivative_ticker":
        return Funding()
    if layout.levels:
        return Snapshots(layout.levels)
    return Fills(LIQUIDATION if data_type == "liquidations" else TRADE)


def _to_base(amounts: np.ndarray, facts: Instrument) -> None:
    """Contracts of a linear instrument to base units, in place. Inverse ones stay contracts."""
    value = facts.contract_value
    if facts.inverse or value == 1.0:
        return
    # 3 contracts of 0.1 are 0.3, which 3 * 0.1 is not.
    if value < 1.0 and (whole := round(1.0 / value)) * value == 1.0:
        amounts /= whole
    else:
        amounts *= value


def _head(path: Path) -> TardisHead:
    if not path.is_file():
        raise InputError(f"{path} is no file", "Tardis CSV files, plain or .gz", "Check the path")
    head = head_of(path)
    if head is None:
        raise InputError(
            f"{path} does not begin with the header of a Tardis CSV",
            f"{', '.join(_ORDER[:4])}, book_snapshot_25 or {_ORDER[-1]}, plain or .gz",
            "Leave it out, or give --source of another kind",
        )
    return head


def _layout(path: Path) -> Layout:
    with open_blocks(path, block_bytes=HEAD_BYTES) as blocks:
        layout = layout_of(next(blocks, b"").split(b"\n", 1)[0])
    if layout is None:
        raise InputError(f"{path} was changed while it was read", "a Tardis CSV", "Read it again")
    return layout


def _contract(heads: Sequence[TardisHead]) -> tuple[str, str]:
    """Exchange and symbol of all files."""
    found = {(h.exchange, h.symbol): h.path for h in heads if h.symbol}
    if not found:
        names = ", ".join(str(h.path) for h in heads) or "nothing"
        raise InputError(f"{names} has no line", "Tardis CSV with at least one line", "Give a day with market data")
    if len(found) > 1:
        (one, first), (other, second) = list(found.items())[:2]
        raise InputError(
            f"{second} is of {other[1]} on {other[0]}, {first} of {one[1]} on {one[0]}",
            "files of one exchange and symbol",
            "Give one of them",
        )
    (exchange, symbol), path = next(iter(found.items()))
    if exchange not in VENUES:
        raise InputError(f"{path} is of exchange {exchange!r}", f"one of {', '.join(VENUES)}", "Give one of these")
    return exchange, symbol


def _instrument(heads: Sequence[TardisHead], venue: str, symbol: str) -> Instrument:
    try:
        return instrument(venue, symbol)
    except InputError as error:
        path = next(h.path for h in heads if h.symbol)
        raise InputError(f"{path}: {error.got}", error.accepts, error.do) from error
