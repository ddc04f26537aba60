"""When flow crosses a profile's thresholds: one small machine a side, for a stream and for a whole table alike.

A pair of a profile holds in a window where side * ofi_z and side * cvd_z reach its minima. The state is the strictest
pair that held in the window before, the event is what the next window brings::

    UNKNOWN --PAIR_x--> IN_x                              nothing fires: there is nothing to have crossed from
    OUT ------PAIR_x--> IN_x                              fires tier x
    IN_C -----PAIR_B--> IN_B, --PAIR_A--> IN_A            fires the stricter tier
    IN_B -----PAIR_A--> IN_A                              fires A
    any ------NO_PAIR-> OUT,  --weaker or same pair-->    nothing fires
    any ------LOST----> UNKNOWN                           the window is missing, or its row is not usable

:data:`TRANSITIONS` is the whole of it. The state after an event is named by the event alone, so a table of windows is
one look-up of (event before, event) in it: see :func:`crossings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from feature_repo.constants import WINDOW_NS

from .candidate import Tier
from .profiles import PROFILES

__all__ = ["SIDES", "TRANSITIONS", "FlowEvent", "FlowMachine", "FlowState", "Move", "crossings"]

SIDES = (1, -1)
"""Buying and selling flow; both cannot cross in one window, since every minimum is positive."""


class FlowState(IntEnum):
    """The strictest pair that held in the last window."""

    UNKNOWN = 0  # no usable window
    OUT = 1
    IN_C = 2
    IN_B = 3
    IN_A = 4


class FlowEvent(IntEnum):
    """What one window did: the strictest pair that holds in it."""

    LOST = 0  # it never came, or its row is not usable
    NO_PAIR = 1
    PAIR_C = 2
    PAIR_B = 3
    PAIR_A = 4


class Move(NamedTuple):
    """Where an event leads, and the tier of the candidate that it fires."""

    state: FlowState
    fires: Tier | None


_S, _E = FlowState, FlowEvent
TRANSITIONS: dict[tuple[FlowState, FlowEvent], Move] = {
    (_S.UNKNOWN, _E.LOST): Move(_S.UNKNOWN, None),
    (_S.UNKNOWN, _E.NO_PAIR): Move(_S.OUT, None),
    (_S.UNKNOWN, _E.PAIR_C): Move(_S.IN_C, None),
    (_S.UNKNOWN, _E.PAIR_B): Move(_S.IN_B, None),
    (_S.UNKNOWN, _E.PAIR_A): Move(_S.IN_A, None),
    (_S.OUT, _E.LOST): Move(_S.UNKNOWN, None),
    (_S.OUT, _E.NO_PAIR): Move(_S.OUT, None),
    (_S.OUT, _E.PAIR_C): Move(_S.IN_C, Tier.C),
    (_S.OUT, _E.PAIR_B): Move(_S.IN_B, Tier.B),
    (_S.OUT, _E.PAIR_A): Move(_S.IN_A, Tier.A),
    (_S.IN_C, _E.LOST): Move(_S.UNKNOWN, None),
    (_S.IN_C, _E.NO_PAIR): Move(_S.OUT, None),
    (_S.IN_C, _E.PAIR_C): Move(_S.IN_C, None),
    (_S.IN_C, _E.PAIR_B): Move(_S.IN_B, Tier.B),
    (_S.IN_C, _E.PAIR_A): Move(_S.IN_A, Tier.A),
    (_S.IN_B, _E.LOST): Move(_S.UNKNOWN, None),
    (_S.IN_B, _E.NO_PAIR): Move(_S.OUT, None),
    (_S.IN_B, _E.PAIR_C): Move(_S.IN_C, None),
    (_S.IN_B, _E.PAIR_B): Move(_S.IN_B, None),
    (_S.IN_B, _E.PAIR_A): Move(_S.IN_A, Tier.A),
    (_S.IN_A, _E.LOST): Move(_S.UNKNOWN, None),
    (_S.IN_A, _E.NO_PAIR): Move(_S.OUT, None),
    (_S.IN_A, _E.PAIR_C): Move(_S.IN_C, None),
    (_S.IN_A, _E.PAIR_B): Move(_S.IN_B, None),
    (_S.IN_A, _E.PAIR_A): Move(_S.IN_A, None),
}
"""Every move there is."""

_NOTHING = -1
_NEXT = np.zeros((len(FlowState), len(FlowEvent)), np.int8)
_FIRES = np.zeros((len(FlowState), len(FlowEvent)), np.int8)  # a Tier, or nothing
for (_state, _event), _move in TRANSITIONS.items():
    _NEXT[_state, _event] = _move.state
    _FIRES[_state, _event] = _NOTHING if _move.fires is None else _move.fires

_PAIRS = tuple(  # strictest first
    (FlowEvent[f"PAIR_{p.tier.name}"], p.ofi_z_min, p.cvd_z_min)
    for p in sorted((PROFILES[name] for name in "ABC"), key=lambda p: p.tier)
)
_LOOSEST_OFI_Z = min(ofi_z_min for _, ofi_z_min, _ in _PAIRS)


class FlowMachine:
    """Follows windows, one at a time, through :data:`TRANSITIONS`."""

    def __init__(self) -> None:
        self.t_ns = 0  # of the last window
        self.states = [FlowState.UNKNOWN, FlowState.UNKNOWN]  # in the order of SIDES

    def update(self, t_ns: int, ofi_z: float, cvd_z: float, ok: bool) -> tuple[int, Tier] | None:
        """Take the window ending at ``t_ns``, newer than the last; returns the (side, tier) that fires.

        Parameters
        ----------
        ok : the row is valid and finite; if not, the scores do not count
        """
        missed = t_ns - self.t_ns != WINDOW_NS
        self.t_ns = t_ns
        fired = None
        for i, side in enumerate(SIDES):
            state = TRANSITIONS[self.states[i], _E.LOST].state if missed else self.states[i]
            self.states[i], tier = TRANSITIONS[state, _event_of(side * ofi_z, side * cvd_z) if ok else _E.LOST]
            if tier is not None:
                fired = (side, tier)
        return fired

    def state_dict(self) -> dict[str, np.ndarray]:
        """The last window's end and the state of each side."""
        return {"flow": np.array([self.t_ns, *self.states], np.int64)}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from what :meth:`state_dict` gave; the caller has checked it."""
        self.t_ns, *states = map(int, state["flow"])
        self.states = [FlowState(s) for s in states]


def _event_of(ofi_z: float, cvd_z: float) -> FlowEvent:
    """The strictest pair that holds, of scores turned to the side."""
    if ofi_z >= _LOOSEST_OFI_Z:  # few windows get here
        for event, ofi_z_min, cvd_z_min in _PAIRS:
            if ofi_z >= ofi_z_min and cvd_z >= cvd_z_min:
                return event
    return _E.NO_PAIR


def crossings(
    t_ns: np.ndarray, ofi_z: np.ndarray, cvd_z: np.ndarray, ok: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What :class:`FlowMachine` fires over a whole table.

    Parameters
    ----------
    t_ns : int64 [K], strictly increasing
    ofi_z, cvd_z : float32 [K]
    ok : bool [K], the row is valid and finite

    Returns
    -------
    rows : int64 [n], ascending, where something fires; and of each its side and tier, int8 [n]
    """
    missed = np.diff(t_ns, prepend=0) != WINDOW_NS
    ofi_z, cvd_z = ofi_z.astype(np.float64), cvd_z.astype(np.float64)
    fired_side, fired_tier = np.zeros(len(t_ns), np.int8), np.full(len(t_ns), _NOTHING, np.int8)
    for side in SIDES:
        event = np.full(len(t_ns), _E.NO_PAIR, np.int8)
        for pair, ofi_z_min, cvd_z_min in reversed(_PAIRS):  # the strictest writes last
            event[(side * ofi_z >= ofi_z_min) & (side * cvd_z >= cvd_z_min)] = pair
        event[~ok] = _E.LOST
        before = np.full(len(t_ns), _S.UNKNOWN, np.int8)
        before[1:] = _NEXT[_S.UNKNOWN, event[:-1]]
        before[missed] = _NEXT[before[missed], _E.LOST]
        tier = _FIRES[before, event]
        new = tier != _NOTHING
        fired_side[new], fired_tier[new] = side, tier[new]
    rows = np.flatnonzero(fired_side)
    return rows, fired_side[rows], fired_tier[rows]
