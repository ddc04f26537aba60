"""What a target and a miss pay in units of R, and the probabilities that follow from it.

A candidate that reaches its target with probability P earns P x target + (1 - P) x miss before costs. Nothing more is
needed to say from which P on an entry pays, or which P belongs to a wanted payoff.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from feature_repo.constants import LABEL

__all__ = ["BARRIERS", "Payoff"]


@dataclass(frozen=True, slots=True)
class Payoff:
    """Mean gross result of a trade in units of its R.

    Attributes
    ----------
    target_R : of trades that end at the target
    miss_R : of all others, by stop or by time
    """

    target_R: float
    miss_R: float

    def gross_R(self, p: float) -> float:
        """What an entry of this probability earns before costs, units of R."""
        return p * self.target_R + (1.0 - p) * self.miss_R

    def p_of(self, gross_R: float) -> float:
        """The probability whose ``gross_R`` this is; below 0 or above 1 where no probability is."""
        return (gross_R - self.miss_R) / (self.target_R - self.miss_R)

    def p_breakeven(self, R_bps: float, cost_bps: float) -> float:
        """Probability of the target at which an entry pays for itself; NaN where R is unknown or 0.

        ``p * target R + (1 - p) * miss R = cost`` solved for p. Above 1: it cannot pay.
        """
        if not R_bps > 0:
            return math.nan
        return (cost_bps - self.miss_R * R_bps) / ((self.target_R - self.miss_R) * R_bps)


BARRIERS = Payoff(LABEL.R_target, -LABEL.R_stop)
"""As if every trade ended at a barrier: (1.1 R + cost) / 2 R to break even. The profiles' taus are meant for this."""
