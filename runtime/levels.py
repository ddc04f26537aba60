"""Reclaim in two stages: a bar closes beyond a level, and only the very next bar's close back inside arms the reverse.

::

                    QUIET, LOST
         +-----------------------------+
         v                             |
       IDLE --BREAK_UP--> BROKEN_UP --BACK_INSIDE--> ARMED_SELL --QUIET, LOST--> IDLE
         |                             ^ BREAK_UP                 --BREAK_*----> BROKEN_*
         +--BREAK_DOWN--> BROKEN_DOWN --BACK_INSIDE--> ARMED_BUY  (the same, mirrored)

A level is the high or low of the mid over the last ``SIGNAL.level_bars`` closed one-minute bars. Bars are UTC-aligned:
bar b holds the windows with t_k in (b minutes, b + 1 minutes], and counts only if each of its windows was valid. An
incomplete bar forgets every level, so that no level reaches across a gap. An armed state lasts for one bar: the one
after the bar that closed back inside.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

import numpy as np

from feature_repo.constants import SECOND_NS, SIGNAL, WINDOW_NS

__all__ = [
    "BAR_NS",
    "TRANSITIONS",
    "Bar",
    "BarBuilder",
    "BarEvent",
    "LevelState",
    "ReclaimMachine",
    "bar_index",
    "closed_bars",
]

BAR_NS = SIGNAL.level_bar_s * SECOND_NS
_WINDOWS_A_BAR = BAR_NS // WINDOW_NS


class LevelState(Enum):
    """What the bars up to now allow."""

    IDLE = "idle"
    BROKEN_UP = "broken_up"
    BROKEN_DOWN = "broken_down"
    ARMED_SELL = "armed_sell"  # a break up came back inside
    ARMED_BUY = "armed_buy"  # a break down came back inside


class BarEvent(Enum):
    """What one closed bar did."""

    LOST = "lost"  # incomplete, or bars are missing before it
    QUIET = "quiet"
    BREAK_UP = "break_up"
    BREAK_DOWN = "break_down"
    BACK_INSIDE = "back_inside"  # of the range that the bar before it left; tested before a new break


_S, _E = LevelState, BarEvent
TRANSITIONS = {
    (_S.IDLE, _E.LOST): _S.IDLE,
    (_S.IDLE, _E.QUIET): _S.IDLE,
    (_S.IDLE, _E.BREAK_UP): _S.BROKEN_UP,
    (_S.IDLE, _E.BREAK_DOWN): _S.BROKEN_DOWN,
    (_S.BROKEN_UP, _E.LOST): _S.IDLE,
    (_S.BROKEN_UP, _E.QUIET): _S.IDLE,
    (_S.BROKEN_UP, _E.BREAK_UP): _S.BROKEN_UP,
    (_S.BROKEN_UP, _E.BREAK_DOWN): _S.BROKEN_DOWN,
    (_S.BROKEN_UP, _E.BACK_INSIDE): _S.ARMED_SELL,
    (_S.BROKEN_DOWN, _E.LOST): _S.IDLE,
    (_S.BROKEN_DOWN, _E.QUIET): _S.IDLE,
    (_S.BROKEN_DOWN, _E.BREAK_UP): _S.BROKEN_UP,
    (_S.BROKEN_DOWN, _E.BREAK_DOWN): _S.BROKEN_DOWN,
    (_S.BROKEN_DOWN, _E.BACK_INSIDE): _S.ARMED_BUY,
    (_S.ARMED_SELL, _E.LOST): _S.IDLE,
    (_S.ARMED_SELL, _E.QUIET): _S.IDLE,
    (_S.ARMED_SELL, _E.BREAK_UP): _S.BROKEN_UP,
    (_S.ARMED_SELL, _E.BREAK_DOWN): _S.BROKEN_DOWN,
    (_S.ARMED_BUY, _E.LOST): _S.IDLE,
    (_S.ARMED_BUY, _E.QUIET): _S.IDLE,
    (_S.ARMED_BUY, _E.BREAK_UP): _S.BROKEN_UP,
    (_S.ARMED_BUY, _E.BREAK_DOWN): _S.BROKEN_DOWN,
}
"""Every move there is. Only a broken state has left a range that a bar may close back inside of."""

_BROKEN = (_S.BROKEN_UP, _S.BROKEN_DOWN)
_ARMED_SIDE = {_S.ARMED_SELL: -1, _S.ARMED_BUY: 1}


class Bar(NamedTuple):
    """Mids at the closes of a bar's windows; ``complete``: every window was there and valid."""

    index: int
    complete: bool
    high: float
    low: float
    close: float


def bar_index(t_ns: int) -> int:
    """Bar that holds the window ending at ``t_ns``: the window that ends with a minute is that minute's last."""
    return (t_ns - 1) // BAR_NS


class BarBuilder:
    """Windows in, bars out."""

    def __init__(self) -> None:
        self._index: int | None = None  # of the running bar
        self._count = 0  # its valid windows
        self._high = self._low = self._close = np.nan

    def lost_before(self, t_ns: int) -> Bar | None:
        """The bar that ended before ``t_ns`` without all its windows, once."""
        if self._index is None or bar_index(t_ns) == self._index:
            return None
        lost = Bar(self._index, False, np.nan, np.nan, np.nan)
        self._index = None
        return lost

    def update(self, t_ns: int, mid: float, ok: bool) -> Bar | None:
        """Take the window ending at ``t_ns``; a whole bar comes out with its last window."""
        index = bar_index(t_ns)
        if index != self._index:
            self._index, self._count = index, 0
            self._high, self._low = -np.inf, np.inf
        if ok:
            self._count += 1
            self._high, self._low, self._close = max(self._high, mid), min(self._low, mid), mid
        if self._count < _WINDOWS_A_BAR:
            return None
        self._index = None
        return Bar(index, True, self._high, self._low, self._close)

    def state_dict(self) -> dict[str, np.ndarray]:
        """The running bar: its number (-1 for none), its count of windows, and its prices."""
        return {
            "bar": np.array([-1 if self._index is None else self._index, self._count], np.int64),
            "bar_prices": np.array([self._high, self._low, self._close]),
        }

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from what :meth:`state_dict` gave; the caller has checked it."""
        index, self._count = map(int, state["bar"])
        self._index = None if index < 0 else index
        self._high, self._low, self._close = map(float, state["bar_prices"])


def closed_bars(t_ns: np.ndarray, mid: np.ndarray, ok: np.ndarray) -> list[Bar]:
    """The bars of a whole table, as :class:`BarBuilder` would give them.

    Parameters
    ----------
    t_ns : int64 [K], strictly increasing
    mid : float64 [K]
    ok : bool [K], the row is valid and finite
    """
    if not len(t_ns):
        return []
    index = (t_ns - 1) // BAR_NS
    first = np.flatnonzero(np.diff(index, prepend=index[0] - 1))
    last = np.append(first[1:], len(t_ns)) - 1
    whole = np.add.reduceat(ok.astype(np.int64), first) == _WINDOWS_A_BAR
    high, low = np.maximum.reduceat(mid, first), np.minimum.reduceat(mid, first)
    return [
        Bar(int(b), True, float(h), float(lo), float(c)) if w else Bar(int(b), False, np.nan, np.nan, np.nan)
        for b, w, h, lo, c in zip(index[first], whole, high, low, mid[last], strict=True)
    ]


class ReclaimMachine:
    """Follows closed bars through :data:`TRANSITIONS`."""

    def __init__(self, level_bars: int = SIGNAL.level_bars) -> None:
        self.state = LevelState.IDLE
        self._bars: deque[Bar] = deque(maxlen=level_bars)
        self._left: tuple[float, float] | None = None  # the range that a broken state came from

    def on_bar(self, bar: Bar) -> BarEvent:
        """Take the next closed bar and move; returns what it did."""
        if self._bars and bar.index != self._bars[-1].index + 1:
            self._lose()
        levels = self._levels()
        event = self._classify(bar, levels)
        if event is BarEvent.LOST:
            self._lose()
            return event
        self.state = TRANSITIONS[self.state, event]
        self._left = levels if self.state in _BROKEN else None
        self._bars.append(bar)
        return event

    def armed_side(self, index: int) -> int:
        """Side of the reverse entry that windows of bar ``index`` may take; 0: none."""
        if not self._bars or self._bars[-1].index != index - 1:
            return 0
        return _ARMED_SIDE.get(self.state, 0)

    def state_dict(self) -> dict[str, np.ndarray]:
        """State, bars and the range that was left; NaN stands for what is not there.

        The bars follow each other without a hole, so that the last one's number names them all.
        """
        prices = np.full((self._bars.maxlen, 3), np.nan)
        for i, bar in enumerate(self._bars):
            prices[i] = bar.high, bar.low, bar.close
        last = self._bars[-1].index if self._bars else -1
        return {
            "level_state": np.array(list(LevelState).index(self.state)),
            "level_bars": np.array([len(self._bars), last], np.int64),
            "level_prices": prices,
            "level_left": np.array(self._left or (np.nan, np.nan)),
        }

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from what :meth:`state_dict` gave; the caller has checked it."""
        count, last = map(int, state["level_bars"])
        self.state = list(LevelState)[int(state["level_state"])]
        self._bars.clear()
        for i, prices in enumerate(state["level_prices"][:count].tolist()):
            self._bars.append(Bar(last - count + 1 + i, True, *prices))
        self._left = tuple(state["level_left"].tolist()) if self.state in _BROKEN else None

    def _classify(self, bar: Bar, levels: tuple[float, float] | None) -> BarEvent:
        if not bar.complete:
            return BarEvent.LOST
        if self._left is not None and self._left[0] <= bar.close <= self._left[1]:
            return BarEvent.BACK_INSIDE
        if levels is not None and bar.close > levels[1]:
            return BarEvent.BREAK_UP
        if levels is not None and bar.close < levels[0]:
            return BarEvent.BREAK_DOWN
        return BarEvent.QUIET

    def _levels(self) -> tuple[float, float] | None:
        if len(self._bars) < self._bars.maxlen:
            return None
        return min(b.low for b in self._bars), max(b.high for b in self._bars)

    def _lose(self) -> None:
        """No level reaches across a missing or incomplete bar."""
        self._bars.clear()
        self._left = None
        self.state = TRANSITIONS[self.state, BarEvent.LOST]
