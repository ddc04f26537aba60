"""A candidate: one entry that the order-flow strategy would take."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

__all__ = ["Candidate", "Entry", "SigType", "Tier"]


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
