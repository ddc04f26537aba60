"""Arrays of hftbacktest to test with, in both layouts, and a reader of them."""

from __future__ import annotations

import numpy as np

from feature_repo.constants import MS_NS, SECOND_NS
from feature_repo.events import BUY, DEPTH_CLEAR, DEPTH_SNAPSHOT, EVENT_DTYPE, EXCH, KIND_MASK, LOCAL, SELL, TRADE
from feature_repo.market.npz import NpzReader
from feature_repo.market.stream import BadRows

from .small_tape import SEEN, START

__all__ = ["T0", "many", "old", "read", "save"]

T0 = START + SECOND_NS  # midnight


def save(path, array):
    np.savez_compressed(path, data=array)
    return path


def read(*files, share=1.0, venue="binance_usdm", symbol="ETHUSDT"):
    reader = NpzReader(files, BadRows(share), venue, symbol)
    parts = list(reader.chunks())
    assert all(len(p) for p in parts)
    return np.concatenate(parts) if parts else np.zeros(0, EVENT_DTYPE), reader


def many(n=400, start=T0, step=MS_NS):
    """A book and n - 4 trades with 2 ms of delay, times in whole us."""
    out = np.zeros(n, EVENT_DTYPE)
    out["ev"] = TRADE | BUY | SEEN
    out["ev"][:4] = [kind | side | SEEN for kind in (DEPTH_CLEAR, DEPTH_SNAPSHOT) for side in (BUY, SELL)]
    out["local_ts"] = start + step * np.arange(n)
    out["local_ts"][:4] = start
    out["exch_ts"] = out["local_ts"] - 2 * MS_NS
    out["px"], out["qty"] = 100.0, 1.0 + np.arange(n) % 7
    out["px"][:4] = [0.0, 0.0, 99.0, 101.0]
    out["qty"][:2] = 0.0
    return out


def old(events):
    """The first layout of the same rows, as its converter wrote them: us, -1 where a side does not see the row."""
    flags, ev = events["ev"], events["ev"].astype(np.int64)
    out = np.empty((len(events), 6))
    out[:, 0] = ev & KIND_MASK
    out[:, 1] = np.where(flags & np.uint64(EXCH) != 0, events["exch_ts"] // 1_000, -1)
    out[:, 2] = np.where(flags & np.uint64(LOCAL) != 0, events["local_ts"] // 1_000, -1)
    out[:, 3] = np.where(ev & BUY != 0, 1, np.where(ev & SELL != 0, -1, 0))
    out[:, 4], out[:, 5] = events["px"], events["qty"]
    return out
