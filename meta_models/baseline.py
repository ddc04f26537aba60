"""What every net is measured against: base rate, logistic regression and gradient boosting on the flattened window.

How the window is flattened, the ridge and the trees were chosen by measurement: docs/baselines.md.
"""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from .calibrators import sigmoid
from .normalise import Scale, fit_scale
from .stack import CTX_CLIP

__all__ = [
    "BLOCK_ROWS",
    "NEWEST_ROWS",
    "Line",
    "base_rate_p",
    "boosting_p",
    "fit_logistic",
    "flat_weights",
    "flatten",
    "line_p",
    "logistic_p",
    "paired_columns",
]

NEWEST_ROWS = 4
BLOCK_ROWS = 8
_RIDGE = 0.9
"""scikit-learn's C times the number of columns: what they may explain together is fixed, not what each may."""
_TOLERANCE = 1e-6  # of the gradient; differences of Brier scores between two fits are read to the fifth decimal
_LEVELS = 64
_TREES = {
    "learning_rate": 0.05,
    "max_iter": 100,
    "max_depth": 4,
    "max_features": 0.1,
    "min_samples_leaf": 50,
    "l2_regularization": 10.0,
}

Line = tuple[Scale, np.ndarray, float]
"""Of one logistic regression: the columns' scale, float64 [F] coefficients, intercept."""


def flat_weights(T: int) -> np.ndarray:
    """Averaging weights over time that flatten a window: means of eight older rows each, then the four newest rows.

    Returns
    -------
    float32 [R, T], oldest first, each row sums to 1; the oldest block holds what is left when eights are taken off
    """
    newest = range(max(0, T - NEWEST_ROWS), T)
    older = [(max(0, end - BLOCK_ROWS), end) for end in range(newest.start, 0, -BLOCK_ROWS)]
    spans = [*reversed(older), *((t, t + 1) for t in newest)]
    weights = np.zeros((len(spans), T), np.float32)
    for row, (begin, end) in zip(weights, spans, strict=True):
        row[begin:end] = 1.0 / (end - begin)
    return weights


def flatten(x: np.ndarray) -> np.ndarray:
    """Windows float [N, T, C] -> columns float32 [N, R x C]: per row of `flat_weights` all channels side by side."""
    n, T, C = x.shape
    weights = flat_weights(T)
    means = np.einsum("rt,ntc->nrc", weights, x, optimize=True)
    return means.reshape(n, len(weights) * C).astype(np.float32, copy=False)


def base_rate_p(y: np.ndarray, weight: np.ndarray, n: int) -> np.ndarray:
    """The weighted share of targets in training, for each of n rows: float64 [n]."""
    return np.full(n, np.average(y, weights=weight))


def fit_logistic(columns: np.ndarray, y: np.ndarray, weight: np.ndarray) -> Line:
    """Ridge logistic regression on standardised columns.

    Parameters
    ----------
    columns : float32 [N, F], finite
    y : 0/1 [N], both classes
    weight : float [N], average uniqueness

    Returns
    -------
    scale, coef float64 [F], intercept
        logit = scale(columns) @ coef + intercept. The scale cuts nothing, so that the logit is linear in the columns
        and a net can carry it exactly.
    """
    scale = fit_scale(columns, _names(columns), np.inf)
    model = LogisticRegression(C=_RIDGE / columns.shape[1], tol=_TOLERANCE, max_iter=1_000)
    with threadpool_limits(1):  # sums are split by thread, and with them the last bits
        # In float32 the gradient's own noise is above the tolerance, and the solver ends in a failed line search.
        model.fit(scale(columns).astype(np.float64), y, sample_weight=weight)
    return scale, model.coef_[0].astype(np.float64), float(model.intercept_[0])


def line_p(line: Line, columns: np.ndarray) -> np.ndarray:
    """Probabilities float64 [N] of a fitted logistic regression for columns float32 [N, F]."""
    scale, coef, intercept = line
    return sigmoid(scale(columns) @ coef + intercept)


def logistic_p(
    x: np.ndarray, ctx: np.ndarray, y: np.ndarray, weight: np.ndarray, x_new: np.ndarray, ctx_new: np.ndarray
) -> np.ndarray:
    """Ridge logistic regression on the flattened window and the context.

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
    columns, new = paired_columns(x, ctx, x_new, ctx_new)
    return line_p(fit_logistic(columns, y, weight), new)


def boosting_p(
    x: np.ndarray,
    ctx: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    x_new: np.ndarray,
    ctx_new: np.ndarray,
    *,
    seed: int = 0,
) -> np.ndarray:
    """Gradient-boosted trees on the flattened window and the context, in a fixed number of rounds.

    Nothing stops early: the part of the training rows that would watch is the newest.

    Parameters
    ----------
    x, ctx, y, weight, x_new, ctx_new : as `logistic_p`
    seed : of the columns that each split may choose from

    Returns
    -------
    float64 [M]

    References
    ----------
    Friedman (2001), Greedy Function Approximation; in scikit-learn by histograms (Ke et al. 2017).
    """
    columns, new = paired_columns(x, ctx, x_new, ctx_new)
    # Levels first: with sample weights scikit-learn sorts every column anew for each of its bins, 7 s for 104 columns.
    edges = np.quantile(columns, np.arange(1, _LEVELS) / _LEVELS, axis=0)
    model = HistGradientBoostingClassifier(**_TREES, max_bins=_LEVELS, early_stopping=False, random_state=seed)
    with threadpool_limits(1):
        return model.fit(_levels(columns, edges), y, sample_weight=weight).predict_proba(_levels(new, edges))[:, 1]


def paired_columns(
    x: np.ndarray, ctx: np.ndarray, x_new: np.ndarray, ctx_new: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Columns of the training rows and of the new ones, both on the scale of the training rows.

    Returns
    -------
    float32 [N, R x C + 8] and [M, R x C + 8]: normalised windows, cut as the nets' are, flattened; then the context
    """
    windows, context = fit_scale(x, _names(x)), fit_scale(ctx, _names(ctx), CTX_CLIP)
    fitted = np.concatenate([flatten(windows(x)), context(ctx)], axis=1)
    return fitted, np.concatenate([flatten(windows(x_new)), context(ctx_new)], axis=1)


def _levels(columns: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Number of the quantile bin of each value, float32 [N, F]: at most `_LEVELS` distinct ones a column."""
    found = [np.searchsorted(e, c, side="right") for e, c in zip(edges.T, columns.T, strict=True)]
    return np.stack(found, axis=1).astype(np.float32)


def _names(values: np.ndarray) -> tuple[str, ...]:
    return tuple(map(str, range(values.shape[-1])))
