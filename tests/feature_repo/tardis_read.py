"""What the tests of the Tardis reader share: reading files, and rows as plain tuples."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from feature_repo.events import (
    BUY,
    DEPTH_CLEAR,
    DEPTH_SNAPSHOT,
    EVENT_DTYPE,
    EXCH,
    GAP,
    KIND_MASK,
    LOCAL,
    OWN_KINDS,
    SELL,
)
from feature_repo.market.stream import BadRows
from feature_repo.market.tardis import TardisReader

from .tardis_plain import line

__all__ = ["BREAK", "CLEAR", "SET", "read", "snapshot", "told"]


def read(*files: Path, share: float = 0.0) -> tuple[np.ndarray, TardisReader]:
    """All rows of these files, and their reader."""
    reader = TardisReader(files, BadRows(share))
    chunks = list(reader.chunks())
    return np.concatenate(chunks) if chunks else np.empty(0, EVENT_DTYPE), reader


def told(rows: np.ndarray) -> list[tuple[int, float, float]]:
    """(kind | side, px, qty) of each row, after a check of the flags."""
    kinds = (rows["ev"] & np.uint64(KIND_MASK)).tolist()
    flags = [0 if k in OWN_KINDS else LOCAL | EXCH for k in kinds]
    assert (rows["ev"] & np.uint64(LOCAL | EXCH)).tolist() == flags
    known = (rows["ev"] & np.uint64(KIND_MASK | BUY | SELL)).tolist()
    return list(zip(known, rows["px"].tolist(), rows["qty"].tolist(), strict=True))


def snapshot(ms: float, bid: float = 100, ask: float = 101) -> list[str]:
    """A book of one level a side."""
    return [line(ms, "true", "bid", bid, 1), line(ms, "true", "ask", ask, 2)]


CLEAR = [(DEPTH_CLEAR | BUY, 0.0, 0.0), (DEPTH_CLEAR | SELL, 0.0, 0.0)]
SET = [*CLEAR, (DEPTH_SNAPSHOT | BUY, 100.0, 1.0), (DEPTH_SNAPSHOT | SELL, 101.0, 2.0)]
BREAK = (GAP, 0.0, 0.0)
