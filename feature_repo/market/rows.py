"""Growing columns of event rows: what a parser writes into, one message at a time."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np

from ..events import DEPTH_BBO, EVENT_DTYPE, EXCH, KIND_MASK, LOCAL

__all__ = ["EventRows"]


class EventRows:
    """Rows in runs that share kind, side and times, so that a message costs a handful of appends and not one a row."""

    __slots__ = ("_ev", "_exch", "_local", "_n", "_px", "_qty", "_special")

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._ev, self._exch, self._local, self._n = array("Q"), array("q"), array("q"), array("q")
        self._px, self._qty = array("d"), array("d")
        self._special: list[tuple[int, int, float]] = []

    def __len__(self) -> int:
        """Rows written since the last ``take``."""
        return len(self._px)

    def run(self, ev: int, exch_ns: int, local_ns: int, px: Sequence[float], qty: Sequence[float]) -> None:
        """Append ``len(px)`` rows of one kind and side."""
        if not px:
            return
        self._ev.append(ev)
        self._exch.append(exch_ns)
        self._local.append(local_ns)
        self._n.append(len(px))
        self._px.extend(px)
        self._qty.extend(qty)

    def one(self, ev: int, exch_ns: int, local_ns: int, px: float, qty: float) -> None:
        """Append one row."""
        self._ev.append(ev)
        self._exch.append(exch_ns)
        self._local.append(local_ns)
        self._n.append(1)
        self._px.append(px)
        self._qty.append(qty)

    def extra(self, ival: int, fval: float) -> None:
        """Set ival and fval of the last row."""
        self._special.append((len(self._px) - 1, ival, fval))

    def take(self) -> np.ndarray:
        """All rows so far, as a new EVENT_DTYPE array with LOCAL and EXCH flags; the columns are empty afterwards."""
        out = np.zeros(len(self._px), EVENT_DTYPE)
        if len(out):
            n = np.frombuffer(self._n, "i8")
            ev = np.frombuffer(self._ev, "u8")
            # Only the kinds that hftbacktest knows are seen by its processors.
            known = (ev & np.uint64(KIND_MASK)) <= DEPTH_BBO
            out["ev"] = np.repeat(ev | np.where(known, np.uint64(LOCAL | EXCH), np.uint64(0)), n)
            out["exch_ts"] = np.repeat(np.frombuffer(self._exch, "i8"), n)
            out["local_ts"] = np.repeat(np.frombuffer(self._local, "i8"), n)
            out["px"] = np.frombuffer(self._px, "f8")
            out["qty"] = np.frombuffer(self._qty, "f8")
            for row, ival, fval in self._special:
                out["ival"][row], out["fval"][row] = ival, fval
        self._clear()
        return out
