"""The profiles' thresholds on P, from what targets and misses of a training span paid.

A profile's tau presumes that whatever misses its target is stopped: P = 0.65 then earns 2 x 0.65 - 1.1 = 0.2 R before
costs. Most misses end by time, near the price they began at, and earn far more than -1.1 R; the same 0.2 R is reached
by a much smaller P. The fitted tau is the P that earns, by the payoffs of the span, what the profile's own tau would
earn at the barriers: 0.3 R for A, 0.2 R for B, 0.1 R for C. The gate also asks for the P at which the candidate's own
cost is earned; both follow from the same payoffs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from feature_repo.constants import MODEL
from feature_repo.errors import InputError
from runtime.payoff import BARRIERS, Payoff
from runtime.profiles import PROFILES

__all__ = ["TAU_RANGE", "Thresholds", "fit_thresholds"]

TAU_RANGE = (0.05, 0.99)
"""Where payoffs ask for a P beyond it: no candidate passes unasked, and none is asked for certainty."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What the gate asks of P.

    Attributes
    ----------
    payoff : mean gross result of targets and of misses, units of R; None where nothing was fitted
    taus : by profile
    n_target, n_miss : labels behind the payoff
    """

    payoff: Payoff | None
    taus: dict[str, float]
    n_target: int = 0
    n_miss: int = 0

    def report(self) -> dict[str, object]:
        """Plain JSON."""
        return {
            "target_R": self.payoff and self.payoff.target_R,
            "miss_R": self.payoff and self.payoff.miss_R,
            "n_target": self.n_target,
            "n_miss": self.n_miss,
            "taus": dict(self.taus),
        }


def fit_thresholds(gross_R: np.ndarray | None, y: np.ndarray) -> Thresholds:
    """Thresholds from the labels of a training span, every label counted alike.

    Parameters
    ----------
    gross_R : float64 [N], gross result in units of R; None: the profiles' own taus, nothing is fitted
    y : int [N], 1 target, 0 not; labelled rows only

    Returns
    -------
    Thresholds
        The profiles' own where a class has fewer than ``MODEL.min_class`` labels or targets pay no more than misses.

    Raises
    ------
    InputError
        A result that is not finite.
    """
    own = Thresholds(None, {name: profile.tau for name, profile in PROFILES.items()})
    if gross_R is None:
        return own
    gross, hit = np.asarray(gross_R, float), np.asarray(y) == 1
    if not np.isfinite(gross).all():
        raise InputError(
            f"{int((~np.isfinite(gross)).sum())} labels whose gross result in units of R is not finite",
            "a finite one for each label",
            "Make the labels again",
        )
    counts = int(hit.sum()), int((~hit).sum())
    if min(counts) < MODEL.min_class:
        return own
    payoff = Payoff(float(gross[hit].mean()), float(gross[~hit].mean()))
    if not payoff.target_R > payoff.miss_R:
        return own
    wanted = {name: payoff.p_of(BARRIERS.gross_R(profile.tau)) for name, profile in PROFILES.items()}
    taus = {name: float(np.clip(tau, *TAU_RANGE)) for name, tau in wanted.items()}
    return Thresholds(payoff, taus, *counts)
