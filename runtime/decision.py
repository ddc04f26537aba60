"""What a gate is: asked about a candidate, it answers with a decision."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from .candidate import Candidate

__all__ = ["Decision", "Gate", "Reason"]


class Reason(Enum):
    """A closed list: the first check that failed, in the order in which they are made."""

    ALLOW = "allow"
    INTERNAL_ERROR = "internal_error"  # an exception inside; always a denial
    KILL_SWITCH = "kill_switch"  # its file is there
    BAD_CANDIDATE = "bad_candidate"  # unknown type, side, or a field that is missing or not finite
    WRONG_SYMBOL = "wrong_symbol"
    EXPIRED = "expired"  # too old, or from the future
    STORE_ERROR = "store_error"  # the online store failed or was too slow
    NO_WINDOW = "no_window"  # no valid window yet, or the store has none
    STALE = "stale"  # the window's as-of is not the candidate's t_k
    NOT_FINITE = "not_finite"  # the window or the market row: not finite, a crossed book, or beyond any sane range
    PRICE = "price"  # the candidate's price is far from the window's mid
    DATA_AGE = "data_age"
    TIER = "tier"  # looser than the profile takes
    SPREAD = "spread"
    DEPTH = "depth"
    RECLAIM = "reclaim"  # not both stages
    REWARD_UNKNOWN = "reward_unknown"
    SLIPPAGE = "slippage"
    MIN_STOP = "min_stop"
    EV = "ev"
    MODEL_ERROR = "model_error"  # the graph failed or its answer is no probability
    P_BELOW_TAU = "p_below_tau"
    NOT_ROLLED_OUT = "not_rolled_out"  # the release may not trade yet, or not in this market state
    SIZE_TOO_SMALL = "size_too_small"  # below one lot, or below the least order that the venue takes


@dataclass(frozen=True, slots=True)
class Decision:
    """Unpacks as ``allow, p, size``.

    Attributes
    ----------
    p : probability of the target barrier, NaN where the model was not asked
    size : notional in quote currency, 0 when denied
    p_breakeven : from which P on the entry pays (``runtime.payoff``), NaN where unknown
    latency_us : measured from call to answer; not part of equality
    """

    allow: bool
    p: float
    size: float
    reason: Reason
    p_breakeven: float
    latency_us: float = field(compare=False)

    def __iter__(self) -> Iterator[bool | float]:
        return iter((self.allow, self.p, self.size))


class Gate(Protocol):
    """The part of MetaFilter, ServedFilter or LoggedGate that most need."""

    def allow(self, candidate: Candidate, now_ns: int) -> Decision: ...
