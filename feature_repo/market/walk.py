"""One pass over a tape's rows: best quotes, order flow and trades in windows of 100 ms, in chunks of any size.

A plain book of its own, apart from the feature engine's: what the engine gives can be judged by it.

Rows that share (local_ts, exch_ts) are one message; quotes are judged once it is complete, whatever the chunks. Best
quotes come from two sources, each on its own: the depth messages (known from the first snapshot, or the next one after
a GAP, as long as both sides hold levels and do not cross) and the best-quote messages. Order flow and returns never
reach across a time without them.
"""

from __future__ import annotations

import numpy as np

from . import walk_kernel as kernel
from .walk_kernel import SILENCE_NS, STEP_NS, WINDOW_DTYPE

__all__ = ["SIGN_LAGS", "SILENCE_NS", "STEP_NS", "WINDOW_DTYPE", "TapeWalk"]

SIGN_LAGS = np.unique(np.round(np.logspace(0, 3, 31)).astype(np.int64))
"""Lags, in orders, of the autocorrelation of trade signs: 1 to 1,000."""


class TapeWalk:
    """``update`` with each chunk of a tape, then ``finish`` once; the figures stand from then on.

    Memory grows by 96 bytes a window of 100 ms and by nothing else.

    Attributes
    ----------
    windows : WINDOW_DTYPE [W]; consecutive k, except after a silence of more than 60 s. The last one is cut off by the
        tape's end.
    origin_ns : local_ts of the first row, where windows are counted from: a clock constant changes no figure
    rows, trades, depth_messages, quote_messages, orders : counts. A market order is a run of trades with one
        aggressor and one exchange time. A GAP counts as a message of the streams that it breaks.
    spread_ns : int64 [2, 1024], local time with known best quotes at each spread in ticks, by source as in windows;
        the last also holds wider ones
    price_step : the smallest distance of two levels seen, quote currency; inf if there was none
    sign_products, sign_pairs, sign_sum : sums of s(n) s(n - lag) and their number for each of SIGN_LAGS; sum of s(n)
    """

    def __init__(self, tick: float) -> None:
        self.tick = float(tick)
        self.rows = 0
        self.windows = np.zeros(4096, WINDOW_DTYPE)
        self.spread_ns = np.zeros((2, kernel.SPREADS), np.int64)
        self.sign_products = np.zeros(len(SIGN_LAGS), np.int64)
        self.sign_pairs = np.zeros(len(SIGN_LAGS), np.int64)
        self._ring = np.zeros(kernel.RING, np.int8)
        self._keys, self._sizes = np.empty((2, 4096)), np.empty((2, 4096))
        self._count = np.zeros(2, np.int64)
        self._I, self._F = kernel.new_state()

    def update(self, events: np.ndarray) -> None:
        """Take the next rows, EVENT_DTYPE [n]."""
        if len(events) == 0:
            return
        # Contiguous copies: strided and contiguous columns would be two compilations.
        ev, exch, local, px, qty = (np.ascontiguousarray(events[c]) for c in ("ev", "exch_ts", "local_ts", "px", "qty"))
        self._make_room(local)
        self._keys, self._sizes = kernel.run(
            ev, exch, local, px, qty, self._keys, self._sizes, self._count, self._I, self._F, self.spread_ns,
            self.tick, self._ring, SIGN_LAGS, self.sign_products, self.sign_pairs, self.windows,
        )  # fmt: skip
        self.rows += len(events)

    def finish(self) -> TapeWalk:
        """Close the last message and window; nothing may follow."""
        if self.rows:
            kernel.run_end(
                self._keys, self._sizes, self._count, self._I, self._F, self.spread_ns, self.tick, self.windows
            )  # fmt: skip
        self.windows = self.windows[: self._I[kernel.AT] + 1 if self.rows else 0]
        return self

    def _make_room(self, local: np.ndarray) -> None:
        steps = np.diff(local, prepend=local[0] if self.rows == 0 else self._I[kernel.LOCAL])
        silent = steps > SILENCE_NS
        # A silence opens one window, any other time as many as it is long.
        need = int(self._I[kernel.AT]) + int(steps[~silent].sum() // STEP_NS) + 2 * int(np.count_nonzero(silent)) + 4
        if need > len(self.windows):
            wider = np.zeros(max(need, len(self.windows) * 3 // 2), WINDOW_DTYPE)
            wider[: len(self.windows)] = self.windows
            self.windows = wider

    @property
    def origin_ns(self) -> int:
        return int(self._I[kernel.ORIGIN])

    @property
    def orders(self) -> int:
        return int(self._I[kernel.ORDERS])

    @property
    def trades(self) -> int:
        return int(self._I[kernel.TRADES])

    @property
    def depth_messages(self) -> int:
        return int(self._I[kernel.DEPTHS])

    @property
    def quote_messages(self) -> int:
        return int(self._I[kernel.QUOTES])

    @property
    def sign_sum(self) -> int:
        return int(self._I[kernel.SIGN_SUM])

    def spread_bps(self, source: int) -> float:
        """Time-weighted mean spread of one source of best quotes; NaN if there was none."""
        total = int(self.spread_ns[source].sum())
        return float(self._F[source, kernel.SPREAD_BPS] / total) if total else float("nan")

    @property
    def price_step(self) -> float:
        # The difference of two floats carries their rounding.
        return float(f"{self._F[0, kernel.STEP]:.6g}")
