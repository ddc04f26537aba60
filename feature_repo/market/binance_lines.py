"""Blocks of lines of a Binance recording, `<local_ts> <json>` each, to tape rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..events import EVENT_DTYPE
from .binance import BinanceParser, Progress
from .binance_scan import (
    BESIDE,
    BOOK,
    DEPTHS,
    FULL,
    HELD,
    HELD_BYTES,
    LAST_EXCH,
    LAST_LOCAL,
    LAST_TRADE,
    LINES,
    LOCAL_END,
    MISSING,
    POS,
    ROWS,
    SEQ_EXCH,
    SEQ_ID,
    STATE_SIZE,
    TRADE_KIND,
    scan,
)
from .sequence import BookState, RawDiff

__all__ = ["BinanceLines", "LineReport"]

_BYTES_A_ROW = 10  # a level is `["1","1"],` at least
_MIN_ROWS = 1 << 12
_LONGEST_RUN = 256
_WORDS = EVENT_DTYPE.itemsize // 8
_ZERO = ord("0")
_TRADE_KINDS = (None, "trade", "aggTrade")  # as the kernel numbers them
_MESSAGES = ("depthUpdate", "trade", "aggTrade", "bookTicker")  # as it counts them


class LineReport(NamedTuple):
    """What became of one block.

    Attributes
    ----------
    lines : lines in the block, blank ones too
    bad : (number of the line in the block, from 1; reason) of each unusable one
    """

    lines: int
    bad: list[tuple[int, str]]


class BinanceLines:
    """Lines of one contract, in the order received, to EVENT_DTYPE rows.

    Plain lines are read by a compiled kernel, all others by the parser; which of the two reads a line makes no
    difference to rows, counters or reasons. After each ``feed`` the parser's state and counters are up to date.

    Parameters
    ----------
    parser : what the lines go through; its counters hold the account of the messages
    plain_below : blocks of fewer bytes are given to the parser: loading the kernel takes longer than reading them does

    Attributes
    ----------
    line : number in the block of the line that was read last; of the one at fault when ``feed`` raises
    """

    def __init__(self, parser: BinanceParser, *, plain_below: int = 1 << 16) -> None:
        self._parser = parser
        self._plain_below = plain_below
        self._state = np.zeros(STATE_SIZE, np.int64)
        self._pieces: list[np.ndarray] = []
        self._rows = np.empty(0, EVENT_DTYPE)
        self._held = np.empty((0, 3), np.int64)
        self.line = 0

    def feed(self, block: bytes, *, unit_ns: int, digits: int) -> LineReport:
        """Take whole lines; the rows wait for ``take``.

        Parameters
        ----------
        block : lines, each with its newline; only the last one may lack it
        unit_ns : unit of local_ts in ns
        digits : digits that each local_ts must have, so that another unit is noticed

        Raises
        ------
        InputError
            As ``BinanceParser.feed``; ``line`` then says where.
        """
        bad: list[tuple[int, str]] = []
        self.line = pos = 0
        run = 1
        by_kernel = len(block) >= self._plain_below
        while pos < len(block):
            if by_kernel and self._parser.symbol is not None:
                before = pos
                pos = self._scan(block, pos, unit_ns, digits)
                # Where nothing is plain, the kernel is not asked at every line.
                run = 1 if pos > before else min(2 * run, _LONGEST_RUN)
            for _ in range(run):
                if pos == len(block):
                    break
                pos = self._one(block, pos, unit_ns, digits, bad)
        return LineReport(self.line, bad)

    def take(self) -> np.ndarray:
        """All rows since the last call, EVENT_DTYPE [n]."""
        self._collect()
        pieces, self._pieces = self._pieces, []
        if len(pieces) == 1:
            return pieces[0]
        # As plain words: numpy compares the fields of every piece otherwise, which takes longer than its rows.
        words = [np.empty(0, np.int64), *(piece.view(np.int64) for piece in pieces)]
        return np.concatenate(words).view(EVENT_DTYPE)

    def _collect(self) -> None:
        """Move rows to the pieces: the kernel's first, which are older than any that the parser still has."""
        n = int(self._state[ROWS])
        if n:
            # The rest of the block's rows is not thrown away: the next ones are written behind these.
            self._pieces.append(self._rows[:n])
            self._rows = self._rows[n:]
            self._state[ROWS] = 0
        rows = self._parser.take()
        if len(rows):
            self._pieces.append(rows)

    def _one(self, block: bytes, pos: int, unit_ns: int, digits: int, bad: list[tuple[int, str]]) -> int:
        """The line at pos by the parser; returns where the next one starts."""
        end = block.find(b"\n", pos)
        end = len(block) if end < 0 else end
        self.line += 1
        head, _, payload = block[pos:end].partition(b" ")
        stamp = int(head) if len(head) == digits and head.isdigit() and head[0] != _ZERO else 0
        if 0 < stamp < LOCAL_END // unit_ns:
            reason = self._parser.parse(stamp * unit_ns, payload)
        else:
            blank = not head.strip() and not payload.strip()
            reason = None if blank else f"local_ts is no whole number of {digits} digits"
        if reason is not None:
            bad.append((self.line, reason))
        return min(end + 1, len(block))

    def _scan(self, block: bytes, pos: int, unit_ns: int, digits: int) -> int:
        """The lines from pos on by the kernel, as far as it gets; returns where the next one starts."""
        self._collect()
        limit = block.rfind(b"\n") + 1
        if pos >= limit:
            return pos
        parser, state = self._parser, self._state
        symbol = f'"{parser.symbol}"'.encode()
        _load(parser.progress(), state)
        state[POS] = pos
        if len(self._held) * HELD_BYTES < limit:
            self._held = np.empty((limit // HELD_BYTES + 1, 3), np.int64)
        buf, name = np.frombuffer(block, np.uint8), np.frombuffer(symbol, np.uint8)
        while True:
            words = self._rows.view(np.int64).reshape(-1, _WORDS)
            status = scan(buf, limit, digits, unit_ns, name, words, words.view(np.float64), state, self._held)
            if status != FULL:
                break
            self._collect()
            self._rows = np.empty(max(_MIN_ROWS, (limit - int(state[POS])) // _BYTES_A_ROW), EVENT_DTYPE)
        self.line += int(state[LINES])
        _store(parser, state, _held(block, self._held[: state[HELD]]))
        return int(state[POS])


def _load(at: Progress, state: np.ndarray) -> None:
    state[LINES:] = (
        0,
        at.local_ns,
        at.exch_ns,
        -1 if at.futures is None else at.futures,
        at.book,
        at.book_id,
        at.book_exch_ns,
        _TRADE_KINDS.index(at.trade_kind),
        at.trade_id,
        *[0] * (STATE_SIZE - MISSING),
    )


def _held(block: bytes, spans: np.ndarray) -> list[RawDiff]:
    """Copies of what stands there, for the block does not stay."""
    return [RawDiff(exch_ns, block[start:end]) for start, end, exch_ns in spans.tolist()]


def _store(parser: BinanceParser, state: np.ndarray, held: list[RawDiff]) -> None:
    """The parser goes on from where the kernel stopped."""
    values = state.tolist()
    if not values[LINES]:
        return
    kind = _TRADE_KINDS[values[TRADE_KIND]]
    book = BookState(values[BOOK]), values[SEQ_ID], values[SEQ_EXCH]
    at = Progress(values[LAST_LOCAL], values[LAST_EXCH], None, *book, kind, values[LAST_TRADE])
    parser.advance(at, trade_ids_missing=values[MISSING], held=held)
    for name, n in zip(_MESSAGES, values[DEPTHS : DEPTHS + len(_MESSAGES)], strict=True):
        if n:
            parser.messages[name] += n
    if values[BESIDE]:
        other = "aggTrade" if kind == "trade" else "trade"
        parser.skipped[f"{other} beside {kind}"] += values[BESIDE]
