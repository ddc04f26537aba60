"""What every net is measured against: the training span's base rate, and a logistic regression."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression

from .calibration import CTX_CLIP
from .normalise import fit_scale

__all__ = ["LAST_ROWS", "base_rate_p", "logistic_p"]

LAST_ROWS = 4
_RIDGE = 0.05


def base_rate_p(y: np.ndarray, weight: np.ndarray, n: int) -> np.ndarray:
    """The weighted share of targets in training, for each of n rows: float64 [n]."""
    return np.full(n, np.average(y, weights=weight))


def logistic_p(
    x: np.ndarray, ctx: np.ndarray, y: np.ndarray, weight: np.ndarray, x_new: np.ndarray, ctx_new: np.ndarray
) -> np.ndarray:
    """Ridge logistic regression on the last four rows of the window, flattened, and the context.

    Parameters
    ----------
    x, x_new : float32 [N, T, C] and [M, T, C], side-aligned
    ctx, ctx_new : float32 [N, 8] and [M, 8]
    y : 0/1 [N], both classes
    weight : float [N], average uniqueness

    Returns
    -------
    float64 [M]
    """

    def flat(windows: np.ndarray, context: np.ndarray) -> np.ndarray:
        return np.concatenate([windows[:, -LAST_ROWS:].reshape(len(windows), -1), context], axis=1)

    columns = flat(x, ctx)
    scale = fit_scale(columns, tuple(map(str, range(columns.shape[1]))), CTX_CLIP)
    model = LogisticRegression(C=_RIDGE, solver="newton-cholesky").fit(scale(columns), y, sample_weight=weight)
    return model.predict_proba(scale(flat(x_new, ctx_new)))[:, 1]
