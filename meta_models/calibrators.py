"""From one score to a probability: Platt's line, or isotonic steps joined by straight lines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from feature_repo.constants import MODEL

__all__ = ["P_MIN", "SOLVER", "Isotonic", "Platt", "even_weight", "fit_isotonic", "fit_platt", "sigmoid", "unit"]

P_MIN = 1e-3
"""No block of a few hundred labels supports a probability closer to 0 or 1 than this."""
SOLVER = "newton-cholesky"
"""Few columns: a handful of exact steps, where lbfgs takes hundreds."""
_SCORE_CLIP = 30.0
_MIN_SHARE, _MIN_GAP = 0.01, 1 / 128
"""Of an isotonic block, in the weight of all and from the centre before."""


def sigmoid(score: np.ndarray) -> np.ndarray:
    """Logistic function, float64, without overflow."""
    return 1.0 / (1.0 + np.exp(-np.clip(np.asarray(score, float), -_SCORE_CLIP, _SCORE_CLIP)))


def even_weight(weight: np.ndarray) -> np.ndarray:
    """Every label alike, and together as much as the uniqueness weights sum up to: float64 [N].

    Overlap says how much a set of labels knows, and so how far a fit is to be held back. It does not say which of them
    to believe: candidates come in clusters where a move goes on, so that winners overlap most, and a probability
    weighted by uniqueness is too low for the candidates that are asked about.

    Parameters
    ----------
    weight : float [N], average uniqueness; rows of weight 0 keep it
    """
    used = np.asarray(weight, float) > 0
    return np.where(used, np.sum(weight) / max(used.sum(), 1), 0.0)


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
    centre, spread = unit(score)
    if spread == 0 or not positive or not negative:
        return flat
    scaled = (score - centre) / spread
    # Soft targets as two weighted copies of each row.
    line = LogisticRegression(C=np.inf, solver=SOLVER, tol=1e-8).fit(
        np.concatenate([scaled, scaled])[:, None],
        np.repeat([1, 0], len(y)),
        sample_weight=np.concatenate([weight * target, weight * (1 - target)]),
    )
    slope = float(line.coef_[0, 0]) / spread
    return Platt(slope, float(line.intercept_[0]) - slope * centre) if slope > 0 else flat


def fit_isotonic(score: np.ndarray, y: np.ndarray, weight: np.ndarray) -> Isotonic:
    """Isotonic regression, one knot per block centre, at most ``MODEL.calibration_knots``.

    Blocks lighter than a hundredth of the weight, or whose centre lies within 1 / 128 of the one before, are merged
    into a neighbour: the first would be 0 or 1 by one label's luck, the second a cliff that turns float32 noise into a
    different answer.

    Parameters
    ----------
    score : float [N]
    y : 0/1 [N]
    weight : float [N], >= 0, not all 0
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
        if blocks[i][0] >= _MIN_SHARE * mass.sum() and len(blocks) <= MODEL.calibration_knots:
            gaps = np.diff([b[1] for b in blocks])
            if gaps.min() >= _MIN_GAP:
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


def unit(score: np.ndarray) -> tuple[float, float]:
    """Mean and deviation of a score; a deviation that is only rounding is 0."""
    centre, spread = float(score.mean()), float(score.std())
    return centre, spread if spread > 1e-6 * (1 + abs(centre)) else 0.0
