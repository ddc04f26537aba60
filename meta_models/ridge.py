"""Ridge regression in closed form: a plain linear ranker that costs milliseconds, for checks that run in every fit."""

from __future__ import annotations

import numpy as np

from .normalise import fit_scale

__all__ = ["RIDGE", "ridge", "window_columns"]

RIDGE = 0.05
"""Added to the diagonal of the columns' covariance; they have a variance of about one."""


def window_columns(x: np.ndarray, *more: np.ndarray) -> np.ndarray:
    """Each channel's newest row, each channel's mean over the window, and more columns, all standardised and clipped.

    Parameters
    ----------
    x : float32 [N, T, C], finite
    more : float32 [N, K] each

    Returns
    -------
    float64 [N, 2 C + ...]: newest rows, means, the others
    """
    columns = np.concatenate([x[:, -1], x.mean(axis=1), *more], axis=1)
    return fit_scale(columns, tuple(map(str, range(columns.shape[1]))))(columns).astype(float)


def ridge(columns: np.ndarray, labels: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted least squares with a ridge, many label columns in one solve. No intercept: it moves no rank.

    Parameters
    ----------
    columns : float64 [N, F]
    labels : [N, K]
    weight : float [N], > 0

    Returns
    -------
    coefficients : float64 [F, K]
    inverse : float64 [F, F], of the covariance with the ridge on its diagonal
    """
    share = weight / weight.sum()
    centred = columns - share @ columns
    weighted = centred * share[:, None]
    inverse = np.linalg.inv(centred.T @ weighted + RIDGE * np.eye(columns.shape[1]))
    return inverse @ (weighted.T @ labels), inverse
