"""How good probabilities are, each figure beside what knowing nothing would give."""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.quality import auc_pr, brier, brier_parts, ece_debiased, log_loss, reliability_bins

__all__ = ["quality"]


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
