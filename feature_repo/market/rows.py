"""Growing columns of event rows: what a parser writes into, one message at a time."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np

from ..events import DEPTH_BBO, EVENT_DTYPE, EXCH, KIND_MASK, LOCAL

__all__ = ["EventRows"]

_FEW_RUNS = 4  # a live message has one or two
_SEEN = LOCAL | EXCH


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
            if len(self._n) <= _FEW_RUNS:
                self._fill_runs(out)
            else:
                self._fill(out)
            out["px"] = self._px
            out["qty"] = self._qty
            for row, ival, fval in self._special:
                out["ival"][row], out["fval"][row] = ival, fval
            self._clear()
        return out

    def _fill(self, out: np.ndarray) -> None:
        n = np.frombuffer(self._n, "i8")
        ev = np.frombuffer(self._ev, "u8")
        # Only the kinds that hftbacktest knows are seen by its processors.
        known = (ev & np.uint64(KIND_MASK)) <= DEPTH_BBO
        out["ev"] = np.repeat(ev | np.where(known, np.uint64(_SEEN), np.uint64(0)), n)
        out["exch_ts"] = np.repeat(np.frombuffer(self._exch, "i8"), n)
        out["local_ts"] = np.repeat(np.frombuffer(self._local, "i8"), n)

    def _fill_runs(self, out: np.ndarray) -> None:
        """The same, cheaper where there is little to repeat."""
        ev_column, exch_column, local_column = out["ev"], out["exch_ts"], out["local_ts"]
        start = 0
        for ev, exch_ns, local_ns, n in zip(self._ev, self._exch, self._local, self._n, strict=True):
            end = start + n
            ev_column[start:end] = ev | _SEEN if ev & KIND_MASK <= DEPTH_BBO else ev
            exch_column[start:end] = exch_ns
            local_column[start:end] = local_ns
            start = end
