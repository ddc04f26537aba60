"""The control experiment: what the same folds and features show when the labels mean nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from feature_repo.constants import JUDGE, SECOND_NS

from .auc import weighted_auc
from .own_skill import LeakError
from .ridge import ridge, window_columns
from .splits import InnerPurgedFolds, sample_spans

__all__ = ["PERMUTATIONS", "permute_in_blocks", "shuffled_control"]

PERMUTATIONS = 99
_LEVEL = 0.05
_MIN_BLOCKS = 20
_MARGIN, _SIGMAS = 0.02, 4.0  # above 0.5, and of the mean's own deviation


def permute_in_blocks(
    y: np.ndarray, t_start: np.ndarray, t_end: np.ndarray, rng: np.random.Generator, n: int
) -> np.ndarray:
    """Labels laid out anew, block of time by block of time.

    Labels that overlap are alike, and so are those of one quiet or busy spell. Blocks of ten minutes (shorter ones
    where the span holds fewer than 20) change places as a whole, and within them the labels keep their order: shuffled
    labels come in the same clusters as real ones.

    Parameters
    ----------
    y : [N]
    t_start, t_end : int64 [N], ns
    rng : source of the order
    n : how many

    Returns
    -------
    like y, [N, n]; every column holds the values of y
    """
    start, _, order = sample_spans(t_start, t_end)
    at = start[order] - start[order[0]]
    length = max(1, min(JUDGE.block_s * SECOND_NS, int(at[-1]) // _MIN_BLOCKS))
    parts = np.split(order, np.flatnonzero(np.diff(at // length)) + 1)
    out = np.empty((len(y), n), np.asarray(y).dtype)
    for k in range(n):
        out[order, k] = y[np.concatenate([parts[i] for i in rng.permutation(len(parts))])]
    return out


def shuffled_control(
    x: np.ndarray,
    ctx: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    t_start: np.ndarray,
    t_end: np.ndarray,
    folds: InnerPurgedFolds,
    *,
    seed: int,
) -> dict[str, Any]:
    """Skill of a plain linear model on the labels beside its skill on the labels in another order.

    Ridge regression on the newest row, the window's mean and the context, fitted and judged by the same purged folds.
    Its skill is the area under the ROC curve over pairs within a fold.

    Parameters
    ----------
    x : float32 [N, T, C], side-aligned, finite
    ctx : float32 [N, 8]
    y : 0/1 [N]
    weight : float [N], > 0, average uniqueness
    t_start, t_end : int64 [N], ns
    folds : gives (train, test), `InnerPurgedFolds`
    seed : of the permutations

    Returns
    -------
    dict
        auc (real labels), shuffled_mean, shuffled_std, shuffled_max, permutations, p_value (share of permutations that
        do as well, the real order among them), no_skill (p_value > 0.05); None where no fold can be judged.

    Raises
    ------
    LeakError
        When shuffled labels show skill: rows of the test side are known to the training side.
    """
    labels = np.column_stack(
        [y, permute_in_blocks(np.asarray(y), t_start, t_end, np.random.default_rng(seed), PERMUTATIONS)]
    )
    columns = window_columns(x, ctx)
    area, pairs = [], []
    for train, test in folds.split(y, t_start=t_start, t_end=t_end):
        if len(train) == 0:
            continue
        score = columns[test] @ ridge(columns[train], labels[train], weight[train])[0]
        hits = weight[test] @ labels[test]
        area.append(weighted_auc(score, labels[test], weight[test]))
        pairs.append(hits * (weight[test].sum() - hits))
    if not area:
        return _unknown()
    # A block of one class has no pairs, save for what rounding leaves of them.
    judged = np.isfinite(area)
    area, pairs = np.where(judged, area, 0.0), np.where(judged, pairs, 0.0)
    total = pairs.sum(axis=0)
    if not (total > 0).all():
        return _unknown()
    real, *shuffled = (area * pairs).sum(axis=0) / total
    shuffled = np.array(shuffled)
    mean, std = shuffled.mean(), shuffled.std(ddof=1)
    if mean > 0.5 + _MARGIN + _SIGMAS * std / np.sqrt(len(shuffled)):
        raise LeakError(
            f"labels in shuffled order that are ranked with an area under the ROC curve of {mean:.3f} on average",
            "about 0.5: nothing can be learned from them",
            "Check that the folds are purged and that no row stands in both sides (docs/leaks.md)",
        )
    p_value = (1 + int((shuffled >= real).sum())) / (1 + len(shuffled))
    return {
        "auc": round(float(real), 6),
        "shuffled_mean": round(float(mean), 6),
        "shuffled_std": round(float(std), 6),
        "shuffled_max": round(float(shuffled.max()), 6),
        "permutations": len(shuffled),
        "p_value": round(p_value, 6),
        "no_skill": p_value > _LEVEL,
    }


def _unknown() -> dict[str, Any]:
    keys = ("auc", "shuffled_mean", "shuffled_std", "shuffled_max", "p_value", "no_skill")
    return dict.fromkeys(keys) | {"permutations": PERMUTATIONS}
