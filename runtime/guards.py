"""The decision as a table: an ordered list of (reason, check) over a frozen record. No I/O, no clock, no model.

A check is true when the candidate passes. Each is written so that NaN makes it false: what cannot be compared denies.
The first check that fails names the reason; ``GUARDS`` come before the model is asked, ``VERDICT`` after.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from feature_repo.constants import GATE, LABEL

from .candidate import SigType, Tier
from .decision import Reason
from .profiles import Profile

__all__ = ["GUARDS", "VERDICT", "Answer", "GuardInputs", "decide", "judge", "stop_ticks"]

_MAX_BPS = 1e4  # spreads, rewards and stops beyond the price itself are damaged input
_MAX_DEPTH = 1e15  # quote currency
_MID_TOLERANCE = 1e-6  # relative
_TOLERANCE = 1e-9  # relative: a stop of exactly six ticks survives the way through bps
_RECLAIM = SigType.RECLAIM


class GuardInputs(NamedTuple):
    """Everything that a decision before the model depends on: the question first, then what its window says.

    Attributes
    ----------
    candidate_sound : the candidate is one, and each field has its type and range
    fee_bps : both legs
    store_answered : the source of windows did not fail; from here on as it is before a window was read
    window_valid : there is a window of the right shape, and its book is valid
    window_finite : every number of the window is finite and of a sane size
    data_age_ms, spread_bps, spread_median_bps, depth, depth_median, bid, ask, mid : the market row of that window
    """

    candidate_sound: bool
    symbol: str
    gate_symbol: str
    ts_ns: int
    expiry_ns: int
    now_ns: int
    price: float
    tier: Tier
    sig_type: SigType
    reclaimed: bool
    exp_reward_bps: float
    R_bps: float
    est_slip_bps: float
    fee_bps: float
    tick: float
    profile: Profile
    store_answered: bool = True
    window_valid: bool = False
    window_t_ns: int = -1
    window_finite: bool = False
    data_age_ms: float = math.nan
    spread_bps: float = math.nan
    spread_median_bps: float = math.nan
    depth: float = math.nan
    depth_median: float = math.nan
    bid: float = math.nan
    ask: float = math.nan
    mid: float = math.nan

    def with_window(self, seen: tuple[Any, ...]) -> GuardInputs:
        """The same question with what its window says: ``store_answered`` and all that follow it, in their order."""
        return GuardInputs._make(self[:_ASKED] + seen)


_ASKED = GuardInputs._fields.index("store_answered")


class Answer(NamedTuple):
    """What the model said, and the size that follows from it.

    Attributes
    ----------
    p : NaN where it failed
    floor : P must be above it
    multiplier : share of the full size that the release may order in this market state
    size : notional after rounding to lots
    """

    p: float
    floor: float
    multiplier: float
    size: float


def _finite(i: GuardInputs) -> bool:
    return (
        i.window_finite
        and 0 < i.bid < i.ask < math.inf
        and abs(i.mid - 0.5 * (i.bid + i.ask)) <= _MID_TOLERANCE * i.mid
        and 0 <= i.spread_bps <= _MAX_BPS
        and 0 <= i.depth <= _MAX_DEPTH
        and -math.inf < i.data_age_ms < math.inf
    )


def _spread(i: GuardInputs) -> bool:
    return 0 < i.spread_median_bps <= _MAX_BPS and i.spread_bps <= i.profile.thin_spread * i.spread_median_bps


def stop_ticks(i: GuardInputs) -> float:
    """Distance of the stop from the entry in ticks."""
    return LABEL.R_stop * i.R_bps * 1e-4 * i.mid / i.tick


GUARDS: tuple[tuple[Reason, Callable[[GuardInputs], bool]], ...] = (
    (Reason.BAD_CANDIDATE, lambda i: i.candidate_sound),
    (Reason.WRONG_SYMBOL, lambda i: i.symbol == i.gate_symbol),
    (Reason.EXPIRED, lambda i: i.ts_ns <= i.now_ns <= i.expiry_ns),
    (Reason.STORE_ERROR, lambda i: i.store_answered),
    (Reason.NO_WINDOW, lambda i: i.window_valid),
    (Reason.STALE, lambda i: i.window_t_ns == i.ts_ns),
    (Reason.NOT_FINITE, _finite),
    (Reason.PRICE, lambda i: abs(i.price / i.mid - 1) * 1e4 <= GATE.max_price_off_bps),
    (Reason.DATA_AGE, lambda i: abs(i.data_age_ms) <= GATE.max_data_age_ms),
    (Reason.TIER, lambda i: i.tier <= i.profile.tier),
    (Reason.SPREAD, _spread),
    (Reason.DEPTH, lambda i: i.depth >= i.depth_median > 0),
    (Reason.RECLAIM, lambda i: i.sig_type is not _RECLAIM or i.reclaimed),
    (Reason.REWARD_UNKNOWN, lambda i: 0 <= i.exp_reward_bps <= _MAX_BPS and 0 < i.R_bps <= 2 * _MAX_BPS),
    (
        Reason.SLIPPAGE,
        lambda i: 0 <= i.est_slip_bps <= min(i.profile.max_slip_bps, GATE.slip_frac * i.exp_reward_bps),
    ),
    (Reason.MIN_STOP, lambda i: stop_ticks(i) >= i.profile.min_tick_sl * (1 - _TOLERANCE)),
    (Reason.EV, lambda i: i.exp_reward_bps >= GATE.ev_multiple * (i.fee_bps + i.est_slip_bps)),
)
"""Before the model, in the order of :class:`Reason`."""

VERDICT: tuple[tuple[Reason, Callable[[Answer], bool]], ...] = (
    (Reason.MODEL_ERROR, lambda a: 0 <= a.p <= 1),
    (Reason.P_BELOW_TAU, lambda a: a.p > a.floor),
    (Reason.NOT_ROLLED_OUT, lambda a: 0 < a.multiplier <= 1),
    (Reason.SIZE_TOO_SMALL, lambda a: 0 < a.size < math.inf),
)
"""After the model."""


def decide(inputs: GuardInputs) -> Reason:
    """The first guard that fails, or ALLOW when the model may be asked."""
    for reason, passes in GUARDS:
        if not passes(inputs):
            return reason
    return Reason.ALLOW


def judge(answer: Answer, *, asked: bool = True) -> Reason:
    """The first check on the model's answer that fails, or ALLOW; without a model only the size is judged."""
    for reason, passes in VERDICT if asked else VERDICT[-1:]:
        if not passes(answer):
            return reason
    return Reason.ALLOW
