"""How well scores rank: the area under the ROC curve with weights, and how much of it is luck."""

from __future__ import annotations

import numpy as np

__all__ = ["auc_deviation", "weighted_auc"]


def weighted_auc(score: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Chance that a target scores above a miss, both drawn by weight; a tie counts half.

    Parameters
    ----------
    score : float [N, K], finite; K scores of the same rows
    y : 0/1 [N], or [N, K] where each score has its own labels
    weight : float [N], > 0

    Returns
    -------
    float64 [K]; NaN where one class is missing
    """
    score, y = np.atleast_2d(np.asarray(score).T), np.asarray(y, float)
    order = np.argsort(score, axis=1)  # the order of equal scores plays no part
    ranked = np.take_along_axis(score, order, axis=1)
    targets = (y.T if y.ndim == 2 else np.broadcast_to(y, score.shape)) * weight
    hit = np.take_along_axis(targets, order, axis=1)
    miss = np.asarray(weight, float)[order] - hit
    out = np.full(len(score), np.nan)
    for k, (values, p, q) in enumerate(zip(ranked, hit, miss, strict=True)):
        tie = np.cumsum(np.append(True, values[1:] != values[:-1])) - 1
        p, q = np.bincount(tie, p), np.bincount(tie, q)
        if p.any() and q.any():
            out[k] = (p * (np.cumsum(q) - q / 2)).sum() / (p.sum() * q.sum())
    return out


def auc_deviation(auc: float, n_target: float, n_miss: float) -> float:
    """Standard deviation of the area measured on so many independent rows when the true one is `auc`.

    Hanley and McNeil (1982), Radiology 143, 29-36. Counts below one are taken for one.

    Parameters
    ----------
    auc : in [0.5, 1]
    n_target, n_miss : rows of each class; of overlapping labels the sums of their uniqueness
    """
    n_target, n_miss = max(n_target, 1.0), max(n_miss, 1.0)
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    spread = auc * (1 - auc) + (n_target - 1) * (q1 - auc**2) + (n_miss - 1) * (q2 - auc**2)
    return float(np.sqrt(spread / (n_target * n_miss)))
