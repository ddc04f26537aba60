"""Several nets, one score: a convex average, or a second-level logistic regression. Both are one linear stack."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from sklearn.linear_model import LogisticRegression

from feature_repo.errors import InputError

from .calibrators import SOLVER, fit_platt, unit
from .normalise import Scale, fit_scale

__all__ = ["CTX_CLIP", "MAX_MEMBERS", "WEIGHT_STEPS", "Stack", "fit_average", "fit_stack", "member_columns", "simplex"]

CTX_CLIP = 5.0
MAX_MEMBERS = 6
WEIGHT_STEPS = 20
"""The average's weights are multiples of 1 / 20: a few hundred labels do not tell 0.35 from 0.37."""
CTX_PENALTY = 100.0
"""Ridge on the context, in units of that on the nets. Reward over cost drifts over hours: with equal ridge its
coefficient was anything from -1.3 to +0.6 on spans of one day, and P far too bold (docs/ensemble.md)."""
_RIDGE = 1.0
_CTX_UNIT = CTX_PENALTY**-0.5


@dataclass(frozen=True, slots=True)
class Stack:
    """``score = logits @ logit_weight + scaled ctx @ ctx_weight + bias``; no net counts backwards."""

    logit_weight: np.ndarray  # float64 [M], >= 0
    ctx_scale: Scale
    ctx_weight: np.ndarray  # float64 [8]
    bias: float

    def __call__(self, logits: np.ndarray, ctx: np.ndarray) -> np.ndarray:
        """Logits [N, M] (or [N] of a single net) and context [N, 8] -> scores float64 [N]."""
        return member_columns(logits) @ self.logit_weight + self.ctx_scale(ctx) @ self.ctx_weight + self.bias


def member_columns(logits: np.ndarray) -> np.ndarray:
    """Logits as float64 [N, M]; [N] is one member's.

    Raises
    ------
    InputError
        Another number of dimensions, values that are not finite, no member, or more than `MAX_MEMBERS`.
    """
    columns = np.asarray(logits, float)
    columns = columns[:, None] if columns.ndim == 1 else columns
    if columns.ndim != 2 or not 1 <= columns.shape[1] <= MAX_MEMBERS or not np.isfinite(columns).all():
        raise InputError(
            f"logits of shape {np.shape(logits)}{'' if np.isfinite(columns).all() else ' that are not all finite'}",
            f"finite values [N, M], one column for each of 1 to {MAX_MEMBERS} nets",
            "Pass every net's out-of-fold logits, rows without one left out",
        )
    return columns


def simplex(members: int, steps: int) -> np.ndarray:
    """All weights >= 0 with sum 1 in multiples of ``1 / steps``: float64 [K, members], the even ones first.

    The nearer to equal weights the earlier, then in lexical order, so that the first of several equally good ones is
    the least opinionated.
    """
    bars = np.array(list(combinations(range(steps + members - 1), members - 1)), int)  # of stars and bars
    edges = np.column_stack([np.full(len(bars), -1), bars.astype(int), np.full(len(bars), steps + members - 1)])
    counts = np.diff(edges, axis=1) - 1
    return counts[np.argsort((counts**2).sum(axis=1), kind="stable")] / steps


def fit_average(
    logits: np.ndarray, ctx: np.ndarray, y: np.ndarray, weight: np.ndarray, names: tuple[str, ...]
) -> Stack:
    """Convex combination of the members' own Platt scores with the least weighted log loss; the context has no say.

    The loss is convex in the weights; every point of the grid is looked at. Averaging scores, not probabilities, is the
    logarithmic opinion pool, and linear in the logits: ``logit_weight = w * slope``, ``bias = w @ offset``.

    Parameters
    ----------
    logits : float [N, M], out of fold
    ctx : float32 [N, 8], for the scale of the stack only
    y : 0/1 [N]
    weight : float [N], >= 0
    names : of the context's columns

    References
    ----------
    Genest, Zidek (1986), Combining Probability Distributions, on the logarithmic pool; van der Laan, Polley, Hubbard
    (2007), Super Learner, on convex weights by out-of-fold loss.
    """
    columns = member_columns(logits)
    lines = [fit_platt(column, y, weight) for column in columns.T]
    slope, offset = np.array([line.slope for line in lines]), np.array([line.offset for line in lines])
    score = columns * slope + offset  # [N, M]
    grid = simplex(columns.shape[1], WEIGHT_STEPS if columns.shape[1] <= 4 else 10)
    sign = np.where(np.asarray(y) == 1, -1.0, 1.0)
    loss = [np.average(np.logaddexp(0.0, sign * (score @ w)), weights=weight) for w in grid]
    best = grid[int(np.argmin(np.round(loss, 12)))]
    scale = fit_scale(ctx, names, CTX_CLIP)
    return Stack(best * slope, scale, np.zeros(ctx.shape[1]), float(best @ offset))


def fit_stack(logits: np.ndarray, ctx: np.ndarray, y: np.ndarray, weight: np.ndarray, names: tuple[str, ...]) -> Stack:
    """Logistic regression on the standardised logits and context (ridge, C = 1 against effective sample size).

    As in `fit_platt`, a net that counts backwards out of fold is left out: the most negative weight goes first, the
    rest is fitted again. With no net left the context answers alone.

    Parameters
    ----------
    logits : float [N, M], or [N] of a single net
    ctx : float32 [N, 8]
    y : 0/1 [N], both classes present
    weight : float [N], >= 0
    names : of the context's columns

    References
    ----------
    Wolpert (1992), Stacked Generalization; Breiman (1996), Stacked Regressions, on non-negative weights.
    """
    columns = member_columns(logits)
    members = columns.shape[1]
    scale = fit_scale(ctx, names, CTX_CLIP)
    centre, spread = np.array([unit(column) for column in columns.T]).T  # so that the ridge treats nets as the rest
    alive = spread > 0
    spread = np.where(alive, spread, 1.0)
    table = np.column_stack([(columns - centre) / spread, _CTX_UNIT * scale(ctx)])
    while True:
        table[:, :members][:, ~alive] = 0.0
        fit = LogisticRegression(C=_RIDGE, solver=SOLVER, tol=1e-8).fit(table, y, sample_weight=weight)
        weights = np.where(alive, fit.coef_[0, :members], 0.0)
        if weights.min() >= 0:
            break
        alive[weights.argmin()] = False
    weights /= spread
    return Stack(weights, scale, _CTX_UNIT * fit.coef_[0, members:], float(fit.intercept_[0] - weights @ centre))
