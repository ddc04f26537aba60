"""Tapes of one contract that follow each other in time, read as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..constants import SECOND_NS
from ..errors import InputError
from ..events import EVENT_DTYPE, GAP
from .stream import OVERLAP_NS
from .tape import StoredTape

__all__ = ["Joined"]

_ADDED = ("bad_rows", "depth", "messages", "skipped")
_LISTED = ("sources", "warnings")
_FIRST = ("seed", "hours", "edge", "mechanism", "rate", "clock_offset_ns", "planted_edge", "clock", "local_ts_unit")


class Joined:
    """Stored tapes as one event stream (stream.py): rows as they are, in the order of their first one.

    Unless a day was opened with the book that the one before had at its end (``day_cut``), a GAP row at that end says
    that the book is not known in between. A tape that begins a little before the one before has ended (two imports, two
    clock constants) is held at that end; over a second is refused.

    Parameters
    ----------
    tapes : at least one, in any order

    Raises
    ------
    InputError
        When there is none, they are of several contracts, or they overlap.
    """

    def __init__(self, tapes: Sequence[StoredTape]) -> None:
        self._tapes = sorted(tapes, key=lambda t: t.span_ns)
        if not self._tapes:
            raise InputError("no tape to join", "at least one", "Import a day first")
        contracts = {(t.venue, t.symbol, t.simulated) for t in self._tapes}
        if len(contracts) > 1:
            named = ", ".join(sorted(f"{symbol} on {venue}" for venue, symbol, _ in contracts))
            raise InputError(f"tapes of {named}", "tapes of one contract", "Join those of one")
        ((self.venue, self.symbol, self.simulated),) = contracts
        for before, tape in zip(self._tapes, self._tapes[1:], strict=False):
            if tape.span_ns[0] < before.span_ns[1] - OVERLAP_NS:
                over_s = (before.span_ns[1] - tape.span_ns[0]) / SECOND_NS
                raise InputError(
                    f"{tape.path} begins {over_s:.1f} s before {before.path} ends",
                    "tapes that follow each other",
                    "Leave one of them out",
                )

    @property
    def rows(self) -> int:
        """Number of events, those that are put between the tapes included."""
        return sum(t.rows for t in self._tapes) + sum(self._holes())

    def chunks(self) -> Iterator[np.ndarray]:
        """EVENT_DTYPE [n], n >= 1, sorted by local_ts."""
        latest_ns = 0
        for tape, hole in zip(self._tapes, [False, *self._holes()], strict=True):
            if hole:
                gap = np.zeros(1, EVENT_DTYPE)
                gap["ev"], gap["exch_ts"], gap["local_ts"] = GAP, latest_ns, latest_ns
                yield gap
            for chunk in tape.chunks():
                if chunk["local_ts"][0] < latest_ns:
                    np.maximum(chunk["local_ts"], latest_ns, out=chunk["local_ts"])
                yield chunk
                latest_ns = int(chunk["local_ts"][-1])

    def facts(self) -> dict[str, Any]:
        """Manifest fields: counts added up, lists in a row, and ``joined``: name and sha256 of each day's file."""
        manifests = [t.manifest for t in self._tapes]
        out: dict[str, Any] = {name: manifests[0][name] for name in _FIRST if name in manifests[0]}
        for name in _ADDED:
            out[name] = dict(sum((Counter(m.get(name) or {}) for m in manifests), Counter()))
        for name in _LISTED:
            out[name] = list({repr(v): v for m in manifests for v in m.get(name) or []}.values())
        out["joined"] = [m.get("days", {}) for m in manifests]
        return out

    def _holes(self) -> list[bool]:
        """Between which neighbours something is missing."""
        opened = [tape.manifest.get("opened_from_ns") for tape in self._tapes[1:]]
        ended = [tape.span_ns[1] for tape in self._tapes[:-1]]
        return [ns is None or abs(ns - end) > OVERLAP_NS for ns, end in zip(opened, ended, strict=True)]
