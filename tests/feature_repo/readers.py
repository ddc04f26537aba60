"""A reader that gives rows as they are told, to test what comes after readers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from feature_repo.constants import MS_NS, SECOND_NS
from feature_repo.events import (
    BUY,
    DEPTH,
    DEPTH_BBO,
    DEPTH_CLEAR,
    DEPTH_SNAPSHOT,
    EVENT_DTYPE,
    EXCH,
    GAP,
    LOCAL,
    SELL,
    TRADE,
)
from feature_repo.market.stream import BadRows

__all__ = ["T0_NS", "RowReader", "messages"]

T0_NS = 1_721_347_140_000_000_000  # a minute before 2024-07-19 UTC


class RowReader:
    """Rows cut at the places ``cuts``."""

    def __init__(self, rows, cuts=(), *, name="a.gz", symbol="ETHUSDT", venue="binance_usdm", kind="binance", **facts):
        self.kind, self.venue, self.symbol = kind, venue, symbol
        self.bad = BadRows()
        self.files = [Path(name)]
        self.size, self.done = 100, 0
        self._rows, self._cuts, self._facts = rows, sorted(cuts), facts

    def chunks(self):
        for part in np.split(self._rows, self._cuts):
            self.done += 100 * len(part) / max(1, len(self._rows))
            if len(part):
                yield part.copy()
        self.bad.end_file(self.files[0], len(self._rows), "rows")

    def facts(self):
        entry = {"name": self.files[0].name, "size": 100, "sha256": "", "lines": len(self._rows)}
        return {"sources": [entry], "local_ts_unit": "ns", "local_backwards": 0, **self._facts}


def messages(
    seed, n, *, start_ns=T0_NS, delay_ns=-1_500 * MS_NS, step_ns=SECOND_NS // 20, untimed=0, crossed=(), gaps=True
):
    """Rows of ``n`` messages on an uncorrected clock: a snapshot, then diffs, trades and best quotes around 100.

    Parameters
    ----------
    untimed : messages at the beginning without an exchange time
    gaps : whether some messages are GAP rows
    crossed : numbers of diffs that leave the book crossed until the next message
    """
    rng = np.random.default_rng(seed)
    out, local = [], start_ns
    seen = LOCAL | EXCH
    for k in range(n):
        local += int(rng.exponential(step_ns)) if k else 0
        exch = 0 if k < untimed else local - delay_ns - int(rng.exponential(20 * MS_NS))
        if k == 0:
            levels = [(side, 100 + sign * i / 100) for side, sign in ((BUY, -1), (SELL, 1)) for i in range(1, 12)]
            out += [(DEPTH_CLEAR | side | seen, exch, local, 0.0, 0.0, 0, 0, 0.0) for side in (BUY, SELL)]
            out += [(DEPTH_SNAPSHOT | side | seen, exch, local, px, 1.0, 0, 0, 0.0) for side, px in levels]
        elif k in crossed:
            out.append((DEPTH | BUY | seen, exch, local, 100.5, 1.0, 0, 0, 0.0))
        elif k - 1 in crossed:
            out.append((DEPTH | BUY | seen, exch, local, 100.5, 0.0, 0, 0, 0.0))
        elif rng.random() < 0.3:
            out.append((TRADE | SELL | seen, exch, local, 100.0, float(rng.integers(1, 9)), 0, 0, 0.0))
        elif rng.random() < 0.2:
            out.append((DEPTH_BBO | BUY | seen, exch, local, 99.99, 1.0, 0, 0, 0.0))
        elif gaps and rng.random() < 0.01:
            out.append((GAP, exch, local, 0.0, 0.0, 0, 0, 0.0))
        else:
            for _ in range(rng.integers(1, 6)):
                side, sign = ((BUY, -1), (SELL, 1))[rng.integers(2)]
                px = 100 + sign * float(rng.integers(1, 40)) / 100
                out.append((DEPTH | side | seen, exch, local, px, float(rng.integers(3)), 0, 0, 0.0))
    return np.array(out, EVENT_DTYPE)
