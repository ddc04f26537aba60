"""Several streams of event rows to one, in order of local time, holding no more than a block of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from ..events import EVENT_DTYPE
from ..jit import kernel_jit

__all__ = ["fill_exchange_time", "merge"]

_jit = kernel_jit(__file__)


def merge(streams: Sequence[Iterator[np.ndarray]]) -> Iterator[np.ndarray]:
    """Rows of all streams, stably by local_ts; at equal times those of the earlier stream in ``streams`` first.

    Parameters
    ----------
    streams : EVENT_DTYPE [n], n >= 1, local_ts never falls within a stream

    Yields
    ------
    EVENT_DTYPE [n], n >= 1
    """
    waiting = {k: rows for k, stream in enumerate(streams) if (rows := next(stream, None)) is not None}
    while len(waiting) > 1:
        # What follows in a stream is not before its last waiting row, but may be at the same time.
        limit = min(_last(rows) for rows in waiting.values())
        yield from _taken(waiting, limit, "left")
        for k, rows in waiting.items():
            if _last(rows) == limit:
                waiting[k] = _longer(rows, streams[k], limit)
        if any(_last(rows) == limit for rows in waiting.values()):
            # Such a stream is over: its rows at the limit can go, with those of the others at that time.
            yield from _taken(waiting, limit, "right")
    for k, rows in waiting.items():
        yield rows
        yield from streams[k]


def _last(rows: np.ndarray) -> int:
    return int(rows["local_ts"][-1])


def _taken(waiting: dict[int, np.ndarray], limit: int, side: Literal["left", "right"]) -> Iterator[np.ndarray]:
    """Rows before the time ``limit`` (left), or up to it (right), in their order; what is left keeps waiting."""
    parts = []
    for k, rows in list(waiting.items()):
        cut = int(np.searchsorted(rows["local_ts"], limit, side=side))
        if cut:
            parts.append(rows[:cut])
            waiting[k] = rows[cut:]
        if cut == len(rows):
            del waiting[k]
    if parts:
        yield _merged(parts)


def _longer(rows: np.ndarray, stream: Iterator[np.ndarray], limit: int) -> np.ndarray:
    """``rows`` and as many more blocks as reach beyond the time ``limit``."""
    blocks = [rows]
    while _last(blocks[-1]) == limit and (more := next(stream, None)) is not None:
        blocks.append(more)
    return np.concatenate(blocks) if len(blocks) > 1 else rows


def _merged(parts: list[np.ndarray]) -> np.ndarray:
    if len(parts) == 1:
        return parts[0]
    rows = np.concatenate(parts)
    ends = np.cumsum([len(p) for p in parts])
    out = np.empty(len(rows), EVENT_DTYPE)
    _interleave(rows, ends - [len(p) for p in parts], ends, out)
    return out


@_jit
def _interleave(rows, at, ends, out):
    for n in range(len(out)):
        best = -1
        for k in range(len(at)):
            if at[k] < ends[k] and (best < 0 or rows[at[k]]["local_ts"] < rows[at[best]]["local_ts"]):
                best = k
        out[n] = rows[at[best]]
        at[best] += 1


@_jit
def fill_exchange_time(rows, latest_ns):
    """Give rows without an exchange time that of the row before, in place; 0 where none is known yet.

    Parameters
    ----------
    rows : EVENT_DTYPE [n]
    latest_ns : exchange time of the row before the first

    Returns
    -------
    exchange time of the last row
    """
    for n in range(len(rows)):
        if rows[n]["exch_ts"] == 0:
            rows[n]["exch_ts"] = latest_ns
        else:
            latest_ns = rows[n]["exch_ts"]
    return latest_ns
