"""From a score to a probability: a linear stack over the net's logit and the context, then Platt or isotonic.

Everything here is fitted on out-of-fold scores, weighted by uniqueness, and is a few numbers that the graph carries.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from feature_repo.constants import MODEL
from feature_repo.errors import InputError

from .normalise import Scale, fit_scale
from .splits import InnerPurgedFolds

__all__ = [
    "CTX_CLIP",
    "Calibration",
    "Isotonic",
    "Platt",
    "Stack",
    "calibrate",
    "fit_isotonic",
    "fit_platt",
    "fit_stack",
    "sigmoid",
]

CTX_CLIP = 5.0
P_MIN = 1e-3
"""No block of a few hundred labels supports a probability closer to 0 or 1 than this."""
_SCORE_CLIP = 30.0
_SOLVER = "newton-cholesky"  # few columns: a handful of exact steps, where lbfgs takes hundreds


def sigmoid(score: np.ndarray) -> np.ndarray:
    """Logistic function, float64, without overflow."""
    return 1.0 / (1.0 + np.exp(-np.clip(np.asarray(score, float), -_SCORE_CLIP, _SCORE_CLIP)))


@dataclass(frozen=True, slots=True)
class Platt:
    """``sigmoid(slope * score + offset)``, slope >= 0."""

    slope: float
    offset: float

    def __call__(self, score: np.ndarray) -> np.ndarray:
        """Scores [N] -> probabilities float64 [N]."""
        return sigmoid(self.slope * np.asarray(score, float) + self.offset)


@dataclass(frozen=True, slots=True)
class Isotonic:
    """Straight lines between block centres of ``sigmoid(score)``, flat outside; x strictly rising, y non-decreasing."""

    x: np.ndarray  # float64 [K], K <= 64
    y: np.ndarray  # float64 [K], probabilities

    def __call__(self, score: np.ndarray) -> np.ndarray:
        """Scores [N] -> probabilities float64 [N]."""
        return np.interp(sigmoid(score), self.x, self.y)


@dataclass(frozen=True, slots=True)
class Stack:
    """``score = logit_weight * logit + scaled ctx @ ctx_weight + bias``."""

    logit_weight: float
    ctx_scale: Scale
    ctx_weight: np.ndarray  # float64 [8]
    bias: float

    def __call__(self, logit: np.ndarray, ctx: np.ndarray) -> np.ndarray:
        """Logits [N] and context [N, 8] -> scores float64 [N]."""
        return self.logit_weight * np.asarray(logit, float) + self.ctx_scale(ctx) @ self.ctx_weight + self.bias


@dataclass(frozen=True, slots=True)
class Calibration:
    """What `calibrate` found.

    Attributes
    ----------
    brier : cross-fitted, uniqueness-weighted Brier scores: platt, isotonic, and base (the base rate alone)
    chosen : "platt" or "isotonic"
    """

    stack: Stack
    calibrator: Platt | Isotonic
    chosen: str
    brier: dict[str, float]

    def __call__(self, logit: np.ndarray, ctx: np.ndarray) -> np.ndarray:
        """Logits [N] and context [N, 8] -> probabilities float64 [N]."""
        return self.calibrator(self.stack(logit, ctx))


def fit_platt(score: np.ndarray, y: np.ndarray, weight: np.ndarray) -> Platt:
    """Platt's line, with his smoothed targets.

    A slope below zero means that the score ranks backwards out of fold. That is noise, not knowledge turned round: the
    slope becomes 0 and the answer the base rate.

    Parameters
    ----------
    score : float [N]
    y : 0/1 [N]
    weight : float [N], >= 0

    References
    ----------
    Platt (1999), Probabilistic Outputs for Support Vector Machines.
    """
    y, weight, score = np.asarray(y, float), np.asarray(weight, float), np.asarray(score, float)
    positive, negative = float(weight[y == 1].sum()), float(weight[y == 0].sum())
    target = np.where(y == 1, (positive + 1) / (positive + 2), 1 / (negative + 2))
    base = float(np.average(target, weights=weight))
    flat = Platt(0.0, float(np.log(base / (1 - base))))
    centre, spread = _unit(score)
    if spread == 0 or not positive or not negative:
        return flat
    unit = (score - centre) / spread
    # Soft targets as two weighted copies of each row.
    line = LogisticRegression(C=np.inf, solver=_SOLVER, tol=1e-8).fit(
        np.concatenate([unit, unit])[:, None],
        np.repeat([1, 0], len(y)),
        sample_weight=np.concatenate([weight * target, weight * (1 - target)]),
    )
    slope = float(line.coef_[0, 0]) / spread
    return Platt(slope, float(line.intercept_[0]) - slope * centre) if slope > 0 else flat


def fit_isotonic(
    score: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    *,
    knots: int = MODEL.calibration_knots,
    min_share: float = 0.01,
    min_gap: float = 1 / 128,
) -> Isotonic:
    """Isotonic regression, one knot per block centre.

    Blocks lighter than ``min_share`` of the weight, or whose centre lies within ``min_gap`` of the one before, are
    merged into a neighbour: the first would be 0 or 1 by one label's luck, the second a cliff that turns float32 noise
    into a different answer.

    Parameters
    ----------
    score : float [N]
    y : 0/1 [N]
    weight : float [N], >= 0, not all 0
    knots : at most this many
    """
    x, y, weight = sigmoid(score), np.asarray(y, float), np.asarray(weight, float)
    kept = weight > 0
    x, y, weight = x[kept], y[kept], weight[kept]
    fitted = IsotonicRegression(out_of_bounds="clip").fit(x, y, sample_weight=weight).predict(x)
    _, block = np.unique(fitted, return_inverse=True)
    mass = np.bincount(block, weight)
    centre, level = np.bincount(block, weight * x) / mass, np.bincount(block, weight * y) / mass
    blocks = [list(b) for b in zip(mass, centre, level, strict=True)]
    while len(blocks) > 1:
        i = min(range(len(blocks)), key=lambda j: blocks[j][0])
        if blocks[i][0] >= min_share * mass.sum() and len(blocks) <= knots:
            gaps = np.diff([b[1] for b in blocks])
            if gaps.min() >= min_gap:
                break
            i = int(gaps.argmin())
            _merge(blocks, i, i + 1)
        else:
            sides = [j for j in (i - 1, i + 1) if 0 <= j < len(blocks)]
            _merge(blocks, i, min(sides, key=lambda j: abs(blocks[j][2] - blocks[i][2])))
    return Isotonic(np.array([b[1] for b in blocks]), np.clip([b[2] for b in blocks], P_MIN, 1 - P_MIN))


def _merge(blocks: list[list[float]], i: int, j: int) -> None:
    i, j = sorted((i, j))
    (m, c, v), (n, d, w) = blocks[i], blocks[j]
    blocks[i : j + 1] = [[m + n, (m * c + n * d) / (m + n), (m * v + n * w) / (m + n)]]


def fit_stack(logit: np.ndarray, ctx: np.ndarray, y: np.ndarray, weight: np.ndarray, names: tuple[str, ...]) -> Stack:
    """Logistic regression on the logit and the standardised context (ridge, C = 1 against effective sample size).

    As in `fit_platt`, a net that ranks backwards out of fold gets a weight of 0 and the context answers alone.

    Parameters
    ----------
    logit : float [N]
    ctx : float32 [N, 8]
    y : 0/1 [N], both classes present
    weight : float [N]
    names : of the context's columns
    """
    scale = fit_scale(ctx, names, CTX_CLIP)
    logit = np.asarray(logit, float)
    centre, spread = _unit(logit)  # so that the ridge treats it as it does the rest
    columns = np.column_stack([(logit - centre) / (spread or 1.0), scale(ctx)])
    columns[:, 0] *= spread > 0
    fit = LogisticRegression(C=1.0, solver=_SOLVER).fit(columns, y, sample_weight=weight)
    if fit.coef_[0, 0] < 0:
        columns[:, 0] = 0.0
        fit = LogisticRegression(C=1.0, solver=_SOLVER).fit(columns, y, sample_weight=weight)
    first = float(fit.coef_[0, 0]) / (spread or 1.0)
    return Stack(first, scale, fit.coef_[0, 1:].copy(), float(fit.intercept_[0]) - first * centre)


def _unit(score: np.ndarray) -> tuple[float, float]:
    """Mean and deviation; a deviation that is only rounding is 0."""
    centre, spread = float(score.mean()), float(score.std())
    return centre, spread if spread > 1e-6 * (1 + abs(centre)) else 0.0


def calibrate(
    logit: np.ndarray,
    ctx: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    t_start: np.ndarray,
    t_end: np.ndarray,
    names: tuple[str, ...],
    folds: InnerPurgedFolds,
) -> Calibration:
    """Fit the stack on out-of-fold logits, choose the calibrator by Brier score, fit it on the stack's scores.

    The choice is cross-fitted: for every purged block, stack and calibrator come from the other blocks, so neither is
    judged on labels it has seen.

    The calibrator is fitted on the scores of the stack it follows, over the same out-of-fold rows: nine coefficients on
    some hundred labels leave little to flatter. Scores of stacks fitted on the other blocks are no substitute: without
    a block of many targets the rest has fewer, and the other way round, so their bias runs against the labels, and a
    line through them shrinks a second time what the stack has already shrunk.

    Parameters
    ----------
    logit : float [N], out of fold
    ctx : float32 [N, 8]
    y : 0/1 [N]
    weight : float [N], uniqueness
    t_start, t_end : int64 [N], ns
    names : of the context's columns
    folds : how to cut the rows

    Raises
    ------
    InputError
        When the rows are all of one class.
    """
    if not _both(y):
        raise InputError("out-of-fold predictions of one class only", "both classes", "Use a longer recording")
    kinds = {"platt": fit_platt, "isotonic": fit_isotonic}
    squared: dict[str, list[np.ndarray]] = {"platt": [], "isotonic": [], "base": []}
    mass: list[np.ndarray] = []
    for train, test in folds.split(y, t_start=t_start, t_end=t_end):
        if not _both(y[train]):
            continue
        fit_on = (y[train], weight[train])
        part = fit_stack(logit[train], ctx[train], *fit_on, names)
        score, unseen = part(logit[train], ctx[train]), part(logit[test], ctx[test])
        for kind, fit in kinds.items():
            squared[kind].append((fit(score, *fit_on)(unseen) - y[test]) ** 2)
        squared["base"].append((np.average(y[train], weights=weight[train]) - y[test]) ** 2)
        mass.append(weight[test])
    brier = {k: float(np.average(np.concatenate(v), weights=np.concatenate(mass))) for k, v in squared.items() if v}
    # Without an honest comparison the calibrator with two numbers is the one to trust.
    chosen = min(kinds, key=lambda k: brier[k]) if brier else "platt"
    stack = fit_stack(logit, ctx, y, weight, names)
    return Calibration(stack, kinds[chosen](stack(logit, ctx), y, weight), chosen, brier)


def _both(y: np.ndarray) -> bool:
    return 0 < int((y == 1).sum()) < len(y)
