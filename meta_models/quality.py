"""How good probabilities are, each figure beside what knowing nothing would give."""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.quality import brier, brier_parts, ece_debiased, reliability_bins

__all__ = ["auc_pr", "log_loss", "quality"]

_P_FLOOR = 1e-7


def auc_pr(p: np.ndarray, y: np.ndarray) -> float:
    """Average precision: the step sum of precision over recall; ties share one step.

    Parameters
    ----------
    p : float [N]
    y : 0/1 [N]

    Returns
    -------
    float in (0, 1], NaN without a positive; knowing nothing gives the base rate
    """
    p, y = np.asarray(p, float), np.asarray(y, float)
    if not y.any():
        return float("nan")
    order = np.argsort(-p, kind="stable")
    last = np.flatnonzero(np.append(np.diff(p[order]) != 0, True))  # a threshold can only lie between unequal values
    hits = np.cumsum(y[order])[last]
    precision, recall = hits / (last + 1), hits / hits[-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def log_loss(p: np.ndarray, y: np.ndarray) -> float:
    """Mean negative log likelihood in nats; p is kept 1e-7 away from 0 and 1. NaN without rows."""
    p, y = np.clip(np.asarray(p, float), _P_FLOOR, 1 - _P_FLOOR), np.asarray(y, float)
    return float(-(y * np.log(p) + (1 - y) * np.log1p(-p)).mean()) if len(p) else float("nan")


def quality(p: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """All figures of one set of predictions.

    Parameters
    ----------
    p : float [N] in [0, 1]
    y : 0/1 [N]

    Returns
    -------
    dict
        n, base_rate, auc_pr, brier, brier_base (answering this set's own base rate, which no forecaster knows
        beforehand), log_loss, ece (15 equal-mass bins, debiased); brier_reliability, brier_resolution,
        brier_uncertainty, brier_within over the same bins (`runtime.quality.brier_parts`): the first less the second
        plus the other two is brier. None where a figure does not exist, so that it can go into JSON as it is.
        bins: list of {n, p_mean, y_rate} in ascending order of p, empty without rows.
    """
    p, y = np.asarray(p, float), np.asarray(y, float)
    base = float(y.mean()) if len(y) else float("nan")
    figures = {
        "base_rate": base,
        "auc_pr": auc_pr(p, y),
        "brier": brier(p, y),
        "brier_base": base * (1 - base),
        "log_loss": log_loss(p, y),
        "ece": ece_debiased(p, y),
    }
    figures |= {f"brier_{name}": part for name, part in brier_parts(p, y)._asdict().items()}
    bins = reliability_bins(p, y)
    rows = [
        {"n": int(n), "p_mean": float(p_mean), "y_rate": float(y_rate)}
        for n, p_mean, y_rate in zip(bins.n, bins.p_mean, bins.y_rate, strict=True)
    ]
    return {"n": len(y)} | {k: v if np.isfinite(v) else None for k, v in figures.items()} | {"bins": rows}
