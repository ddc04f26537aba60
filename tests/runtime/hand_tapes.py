"""Tapes written by hand, event by event: a quiet market in which one thing happens.

The quiet market makes every score easy to say:

- The book: bids of 10 (or 11) at mid - 0.05 and 100 at mid - 0.10; asks of 3 at mid + 0.05 and 100 at mid + 0.10.
- The best bid breathes: 10, 11, 10, 11, one change a window. So OFI is +1, -1, +1, ...: mean 0, deviation 1, and a
  window in which the bid grows by 2.4 instead has ofi_z = 2.4.
- Every five seconds one unit trades, bought and sold by turns, so that the flow of the last 5 s is +1 or -1: mean 0,
  deviation 1. 0.7 more bought while it is +1 makes cvd_z = 1.7.
- With each of these trades the mid looks up or down by 1.00 for one window and comes back, so that each minute, and
  each 5 min bar, has a range of 2.00. Queues are drained before such a step and refilled after it: its order flow is
  that of 0.01 a side.
"""

from __future__ import annotations

from functools import cache
from typing import Self

import numpy as np

from feature_repo.constants import MS_NS, WINDOW_NS
from feature_repo.events import BUY, DEPTH, DEPTH_SNAPSHOT, EVENT_DTYPE, GAP, LIQUIDATION, SELL, TRADE
from feature_repo.instruments import SIMULATED_SYMBOL
from feature_repo.market.tape import Tape

__all__ = [
    "AFTERNOON_NS",
    "FIRE",
    "LATE",
    "MORNING_NS",
    "HandTape",
    "divergence",
    "drifted",
    "liquidation",
    "mirrored",
    "momentum",
    "reclaim",
    "reversion",
    "t_k",
    "tape_of",
]

MORNING_NS = 1_767_596_400 * 1_000_000_000  # 2026-01-05 07:00 UTC, the beginning of a hand-over window
AFTERNOON_NS = MORNING_NS + 10 * 3_600 * 1_000_000_000  # 17:00 UTC, in none
MIDDLE = 2000.0
FIRE = 6_624  # window in which the flow comes: 24 windows into minute 11, after a 5 min bar has closed
LATE = 10_824  # the same place in minute 18, for what needs 15 closed minutes before it


def t_k(window: int, start_ns: int = MORNING_NS) -> int:
    """The end of a window, ns UTC."""
    return start_ns + (window + 1) * WINDOW_NS


class HandTape:
    """Writes events window by window; every method goes on where the last one stopped."""

    def __init__(self, start_ns: int = MORNING_NS, *, look: float = 1.0) -> None:
        self.window = 0
        self._start_ns, self._look, self._rows, self._messages = start_ns, look, [], 0
        self._rest = self._mid = MIDDLE
        self._best = 10.0  # quantity of the best bid
        self._snapshot()

    def calm(self, until: int) -> Self:
        """Quiet windows up to ``until``, which is the next to be written."""
        while self.window < until:
            beat, look = divmod(self.window, 50)
            up = beat % 2 == 0
            if look == 0:
                self._move(self._rest + (self._look if up else -self._look))
                self.trade(BUY if up else SELL, 1.0)
            elif look == 1:
                self._move(self._rest)
            self._breathe(11.0 if self.window % 2 == 0 else 10.0)
            self._next_window()
        return self

    def to(self, mid: float) -> Self:
        """The mid goes to another place in this window and stays there."""
        self._rest = mid
        self._move(mid)
        return self

    def trade(self, side: int, qty: float) -> Self:
        """An aggressor takes ``qty`` at the touch."""
        self._message([(TRADE | side, self._mid + (0.05 if side == BUY else -0.05), qty)])
        return self

    def forced(self, side: int, usd: float) -> Self:
        """A forced order of this value at the mid."""
        self._message([(LIQUIDATION | side, self._mid, usd / self._mid)])
        return self

    def burst(self, ofi: float, bought: float) -> Self:
        """This window's order flow and trade (negative: sold), instead of a breath."""
        self._breathe(self._best + ofi)
        if bought:
            self.trade(BUY if bought > 0 else SELL, abs(bought))
        self._next_window()
        return self

    def gap(self) -> Self:
        """Messages were lost: the book is unknown until the snapshot that follows at once."""
        self._message([(GAP, 0.0, 0.0)])
        self._snapshot()
        return self

    def events(self) -> np.ndarray:
        """EVENT_DTYPE [n], in order."""
        return np.array(self._rows, EVENT_DTYPE)

    def _message(self, rows: list[tuple[int, float, float]]) -> None:
        self._messages += 1
        assert self._messages < 10, "a window has room for nine messages"
        local = self._start_ns + self.window * WINDOW_NS + self._messages * 10 * MS_NS
        self._rows += [(ev, local - 5 * MS_NS, local, round(px, 2), qty, 0, 0, 0.0) for ev, px, qty in rows]

    def _next_window(self) -> None:
        self.window, self._messages = self.window + 1, 0

    def _snapshot(self) -> None:
        self._message([(DEPTH_SNAPSHOT | side, px, qty) for side, px, qty in self._levels(self._best, 3.0)])

    def _levels(self, bid: float, ask: float) -> list[tuple[int, float, float]]:
        m = self._mid
        return [(BUY, m - 0.05, bid), (BUY, m - 0.10, 100.0), (SELL, m + 0.05, ask), (SELL, m + 0.10, 100.0)]

    def _breathe(self, bid: float) -> None:
        self._best = bid
        self._message([(DEPTH | BUY, self._mid - 0.05, bid)])

    def _move(self, mid: float) -> None:
        """Both queues drain, the whole book goes, both queues refill."""
        self._message([(DEPTH | BUY, self._mid - 0.05, 0.01), (DEPTH | SELL, self._mid + 0.05, 0.01)])
        gone = [(DEPTH | side, px, 0.0) for side, px, _ in self._levels(0.0, 0.0)]
        self._mid = mid
        self._message(gone + [(DEPTH | side, px, qty) for side, px, qty in self._levels(0.01, 0.01)])
        self._message([(DEPTH | BUY, mid - 0.05, self._best), (DEPTH | SELL, mid + 0.05, 3.0)])


def mirrored(events: np.ndarray) -> np.ndarray:
    """The same market upside down: what was bought at 2000 + x is sold at 2000 - x."""
    other = events.copy()
    side = other["ev"] & np.uint64(BUY | SELL)
    other["ev"] ^= np.where(side > 0, np.uint64(BUY | SELL), np.uint64(0))
    other["px"] = np.round(2 * MIDDLE - other["px"], 2)
    return other


def tape_of(events: np.ndarray) -> Tape:
    """Hand-made, and so simulated."""
    return Tape("simulated", SIMULATED_SYMBOL, events, {})


def _end(tape: HandTape) -> np.ndarray:
    return tape.calm(tape.window + 20).events()


@cache
def momentum(
    ofi: float = 2.4, bought: float = 0.7, *, fire: int = FIRE, look: float = 1.0, lost: int | None = None
) -> np.ndarray:
    """Buying flow in the middle of the range; ``lost``: window with a gap."""
    tape = HandTape(look=look)
    if lost is not None:
        tape.calm(lost).gap()
    return _end(tape.calm(fire).burst(ofi, bought))


@cache
def drifted() -> np.ndarray:
    """Flow without trades, after which the mid rises by 0.50; ten seconds later, momentum."""
    return _end(HandTape().calm(FIRE - 100).burst(2.4, 0.0).to(2000.5).calm(FIRE).burst(2.4, 0.7))


@cache
def divergence(mid: float = 1999.00, ofi: float = 2.4, *, start_ns: int = MORNING_NS) -> np.ndarray:
    """Buying flow where the mid has come down to the low of the last minute, which is 1999.00."""
    return _end(HandTape(start_ns).calm(FIRE - 10).to(mid).calm(FIRE).burst(ofi, 0.7))


@cache
def liquidation(bought_usd: float = 50_200.0, sold_usd: float = 0.0, *, before: int = 20) -> np.ndarray:
    """Buying flow after forced purchases (and sales), ``before`` windows earlier."""
    tape = HandTape().calm(FIRE - before)
    tape.forced(BUY, bought_usd)
    if sold_usd:
        tape.forced(SELL, sold_usd)
    return _end(tape.calm(FIRE).burst(2.4, 0.7))


@cache
def reclaim(
    *,
    broken: float = 1998.50,
    back: float = 2000.0,
    back_at: int = 10_210,
    fire: int = LATE,
    flow: float = 1.0,
    lost: int | None = None,
) -> np.ndarray:
    """Minute 16 closes below 1999.00, the low of the fifteen before; minute 17 closes back inside; then flow.

    Parameters
    ----------
    broken : where the mid is from window 10,190 on; minute 16 closes with window 10,199, minute 17 with 10,799
    back, back_at : where it goes then, and in which window
    flow : +1 buys, -1 sells
    lost : window with a gap
    """
    tape = HandTape()
    if lost is not None:
        tape.calm(lost).gap()
    tape.calm(10_190).to(broken).calm(back_at).to(back)
    return _end(tape.calm(fire).burst(2.4 * flow, 0.7 * flow))


@cache
def reversion(mid: float = 1997.80, lowest: float = 1997.50) -> np.ndarray:
    """Buying flow far below VWAP, a little above the low of the last minute."""
    return _end(HandTape().calm(FIRE - 20).to(lowest).calm(FIRE - 10).to(mid).calm(FIRE).burst(2.4, 0.7))
