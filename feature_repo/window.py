"""The live form of the engine: events in, the last T rows out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .constants import ENGINE, WINDOW_NS, EngineDefaults
from .engine import Engine
from .errors import InputError
from .events import EVENT_DTYPE
from .fields import CHANNELS, MARKET_DTYPE
from .instruments import INSTRUMENTS, Instrument
from .table import QUOTE_DTYPE

__all__ = ["FeatureWindow"]

_ROOM = 256  # rows a kernel call may write before the history takes them over
_BYTE = np.dtype(np.uint8)
_NO_EVENT = np.frombuffer(b"", _BYTE)


class FeatureWindow:
    """The last T rows of one symbol, kept up to date event by event.

    Rows are the very bits that ``build_features`` makes of the same events, however they are cut.

    Parameters
    ----------
    T : rows in a snapshot, 20 to 100
    micro_ms : length of a row's window; 100
    instrument : tick, lot and kind of contract; by default the ETHUSDT perpetual
    config : windows and memories of the engine

    Raises
    ------
    InputError
        When T or micro_ms is out of range.
    """

    def __init__(
        self,
        T: int = 64,
        micro_ms: int = WINDOW_NS // 1_000_000,
        *,
        instrument: Instrument = INSTRUMENTS["binance_usdm", "ETHUSDT"],
        config: EngineDefaults = ENGINE,
    ) -> None:
        if not 20 <= T <= 100:
            raise InputError(f"T = {T} rows", "20 to 100", "Give a T in that range")
        if micro_ms * 1_000_000 != WINDOW_NS:
            raise InputError(f"micro_ms = {micro_ms}", str(WINDOW_NS // 1_000_000), "Leave micro_ms at its default")
        self.T, self.instrument = T, instrument
        self._engine = Engine(instrument, config)
        self._rows = np.zeros((_ROOM, len(CHANNELS)), np.float32)
        self._market = np.zeros(_ROOM, MARKET_DTYPE)
        self._quotes = np.zeros(_ROOM, QUOTE_DTYPE)
        self._step = self._engine.stepper(self._rows, self._market, self._quotes)
        # Each row is written twice, T apart, so that the last T always lie in one piece.
        self._history = np.zeros((2 * T, len(CHANNELS)), np.float32)
        self._last = np.zeros(1, MARKET_DTYPE)
        self._closed = self._unbroken = 0  # rows closed, and valid ones without a break up to the last

    def update_from_event(self, e: np.void | NDArray[np.void]) -> None:
        """Take in one event: an EVENT_DTYPE scalar or an array with one row.

        An event that cannot be used (see ``rejected``) changes nothing but its counter.

        Raises
        ------
        InputError
            When it is anything else.
        """
        if type(e) is not np.void or not (e.dtype is EVENT_DTYPE or e.dtype == EVENT_DTYPE):
            self.update(_one_row(e))
            return
        # The bytes of the row as they lie: assigning a record field by field takes longer than the kernel.
        row = np.frombuffer(e, _BYTE)
        used, closed, _ = self._step(row, 0)
        if closed:
            self._keep(closed)
            if not used:
                self.update(row.view(EVENT_DTYPE))

    def update(self, events: NDArray[np.void]) -> None:
        """Take in EVENT_DTYPE [n], in local_ts order."""
        used = 0
        while used < len(events):
            taken, closed, _ = self._engine.process(events[used:], self._rows, self._market, self._quotes)
            used += taken
            if closed:
                self._keep(closed)

    def advance_to(self, now_ns: int) -> None:
        """Close the windows that end at or before ``now_ns``: no event before it is still to come."""
        closed = _ROOM
        while closed == _ROOM:
            _, closed, _ = self._step(_NO_EVENT, int(now_ns))
            self._keep(closed)

    def _keep(self, closed: int) -> None:
        """Move the rows just closed into the history."""
        for i in range(closed):
            at = self._closed % self.T
            self._history[at] = self._history[at + self.T] = self._rows[i]
            self._closed += 1
            self._unbroken = self._unbroken + 1 if self._market["valid"][i] else 0
        if closed:
            self._last[0] = self._market[closed - 1]

    def snapshot(self) -> NDArray[np.float32] | None:
        """float32 [T, 24], oldest row first; None until the last T rows are all valid."""
        if self._unbroken < self.T:
            return None
        first = self._closed % self.T
        return self._history[first : first + self.T].copy()

    def snapshot_at(self, t_ns: int) -> tuple[NDArray[np.float32], np.void] | None:
        """The newest snapshot and its market row, whatever ``t_ns``; None while there is no snapshot.

        Whether it is the one asked for, its ``t_ns`` says: a caller compares, and denies if it differs.
        """
        x = self.snapshot()
        return None if x is None else (x, self._last_row())

    @property
    def market(self) -> np.void | None:
        """MARKET_DTYPE scalar of the last closed row, read only; None before the first."""
        return self._last_row() if self._closed else None

    def _last_row(self) -> np.void:
        # By its bytes: copying a record field by field takes eight times as long.
        return np.frombuffer(self._last.tobytes(), MARKET_DTYPE)[0]

    @property
    def row(self) -> NDArray[np.float32] | None:
        """float32 [24], the last closed row, zeros where it is invalid; None before the first."""
        return self._history[(self._closed - 1) % self.T].copy() if self._closed else None

    @property
    def as_of_ns(self) -> int:
        """t_k of the last closed row, ns UTC; 0 before the first."""
        return int(self._last["t_ns"][0])

    @property
    def breaks(self) -> dict[str, int]:
        """How often a good book ceased to be good, by reason."""
        return self._engine.breaks

    @property
    def rejected(self) -> dict[str, int]:
        """Events that were not applied, by reason."""
        return self._engine.rejected

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Everything that the next rows depend on, as plain arrays; ``np.savez`` takes them without pickle."""
        return self._engine.state.state_dict() | {name: own.copy() for name, own in self._own().items()}

    def load_state_dict(self, state: dict[str, NDArray[Any]]) -> None:
        """Go on from a saved state, bit by bit as if never stopped.

        Raises
        ------
        InputError
            When it was saved with another T, symbol, configuration or layout.
        """
        for name, mine in self._own().items():
            theirs = state.get(name)
            if theirs is None or theirs.dtype != mine.dtype or theirs.shape != mine.shape:
                got = "nothing" if theirs is None else f"{theirs.dtype} {theirs.shape}"
                do = "Load it into a window of the same T and version, or start afresh"
                raise InputError(f"saved window state has {got} for {name!r}", f"{mine.dtype} {mine.shape}", do)
        self._engine.state.load_state_dict(state)
        self._history[...], self._last[...] = state["history"], state["last"]
        self._closed, self._unbroken = map(int, state["counts"])

    def _own(self) -> dict[str, NDArray[Any]]:
        counts = np.array([self._closed, self._unbroken], np.int64)
        return {"history": self._history, "last": self._last, "counts": counts}


def _one_row(e: object) -> NDArray[np.void]:
    """An array of one event; refused if it is none."""
    if not isinstance(e, np.ndarray) or e.dtype != EVENT_DTYPE or e.size != 1:
        got = f"{e.dtype.name} {e.shape}" if isinstance(e, np.generic | np.ndarray) else f"a {type(e).__name__}"
        raise InputError(f"an event that is {got}", "an EVENT_DTYPE scalar or an array of one", "Take a row of a tape")
    return e.reshape(1)
