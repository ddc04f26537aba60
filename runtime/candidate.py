"""A candidate: one entry that the order-flow strategy would take."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np

__all__ = ["Candidate", "Entry", "SigType", "Tier", "is_sound"]


class SigType(IntEnum):
    """The five signals; the value is the position in the context's one-hot."""

    MOMENTUM = 0
    DIVERGENCE = 1
    LIQUIDATION = 2
    RECLAIM = 3
    REVERSION = 4


class Tier(IntEnum):
    """Strictness of the threshold pair that was crossed; a profile takes its own tier and the stricter ones."""

    A = 0
    B = 1
    C = 2


class Entry(IntEnum):
    """Sliced immediate-or-cancel, or a limit on the retest that is cancelled if unfilled."""

    IOC = 0
    MAKER = 1


_INTEGERS = (int, np.integer)
_REALS = (int, float, np.integer, np.floating)


@dataclass(frozen=True, slots=True)
class Candidate:
    """What the gate is asked about. Unknown rewards are NaN and are denied as such, never guessed.

    Attributes
    ----------
    ts_ns : t_k of the window that fired it, ns UTC on the corrected local clock
    side : +1 buys, -1 sells
    price : mid at ts_ns (IOC) or the limit price (MAKER), quote currency
    R_bps : barrier unit, bps of the mid
    exp_reward_bps : the reward the EV gate judges
    est_slip_bps : cost of entry and exit against the mid, in bps
    expiry_ns : after this time it is not acted on
    reclaimed : reclaim only: both stages were seen (the break, then the next bar's close back inside)
    """

    ts_ns: int
    symbol: str
    side: int
    sig_type: SigType
    tier: Tier
    price: float
    R_bps: float
    exp_reward_bps: float
    est_slip_bps: float
    entry: Entry
    expiry_ns: int
    reclaimed: bool = False


def is_sound(candidate: Any) -> bool:
    """Whether this is a candidate whose every field has its type and a possible value.

    Rewards may be NaN and the slippage infinite: these have checks of their own.
    """
    return (
        isinstance(candidate, Candidate)
        and _is_integer(candidate.ts_ns)
        and _is_integer(candidate.expiry_ns)
        and isinstance(candidate.symbol, str)
        and _is_integer(candidate.side)
        and candidate.side in (1, -1)
        and isinstance(candidate.sig_type, SigType)
        and isinstance(candidate.tier, Tier)
        and isinstance(candidate.entry, Entry)
        and isinstance(candidate.reclaimed, bool)
        and _is_real(candidate.price)
        and 0 < candidate.price < math.inf
        and _is_real(candidate.R_bps)
        and abs(candidate.R_bps) != math.inf
        and _is_real(candidate.exp_reward_bps)
        and abs(candidate.exp_reward_bps) != math.inf
        and _is_real(candidate.est_slip_bps)
        and candidate.est_slip_bps >= 0
    )


def _is_integer(value: Any) -> bool:
    return type(value) is int or (isinstance(value, _INTEGERS) and not isinstance(value, bool))


def _is_real(value: Any) -> bool:
    return type(value) is float or (isinstance(value, _REALS) and not isinstance(value, bool))
