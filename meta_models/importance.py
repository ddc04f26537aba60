"""What each channel is worth out of sample: permuted, held still, and missing from the logistic baseline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from feature_repo.errors import InputError
from runtime.quality import brier

from .baseline import fit_logistic, flat_weights, line_p, paired_columns

__all__ = ["MOST_ROWS", "REPEATS", "channel_importance", "logistic_ablation"]

MOST_ROWS = 600
"""Of more test rows as many, evenly spread in time, are asked: a hundred forecasts of a net each are not free."""
REPEATS = 3


def channel_importance(
    predict: Callable[[np.ndarray, np.ndarray], np.ndarray],
    x: np.ndarray,
    ctx: np.ndarray,
    y: np.ndarray,
    neutral: np.ndarray,
    names: Sequence[str],
    *,
    seed: int,
    repeats: int = REPEATS,
) -> list[dict[str, Any]]:
    """How much the Brier score rises on test rows when a channel tells nothing.

    Permutation: the channel's whole window comes from another test row, so that its own course in time stays whole and
    only its tie to the row is cut. All channels are permuted alike, which makes their rises comparable.
    Ablation: the channel stands at its training mean in all rows and all steps (normalised: zero).

    Parameters
    ----------
    predict : (x, ctx) -> p float [N]; asked 1 + C (repeats + 1) times, with at most `MOST_ROWS` rows
    x : float32 [N, T, C], side-aligned, in time order
    ctx : float32 [N, 8]
    y : 0/1 [N]
    neutral : float [C], each channel's training mean in the units of x
    names : C channel names
    seed : of the permutations
    repeats : permutations a channel, >= 1

    Returns
    -------
    list of C dicts, in the order of the channels
        channel; permutation: mean rise over the repeats; permutation_std: its standard deviation over the repeats
        (n - 1; None with one repeat); ablation: the rise. All three None where the rows hold one class only (or none):
        a forecast cannot lose what it could not show. A channel that the model does not use has exactly 0.

    Raises
    ------
    InputError
        Arrays that do not belong together, or repeats below 1.

    References
    ----------
    Breiman (2001), Random Forests, section 10; Fisher, Rudin, Dominici (2019), JMLR 20 (177), for any model.
    """
    _check_shapes(x, ctx, y, neutral, names)
    if repeats < 1:
        raise InputError(f"repeats = {repeats}", "an integer >= 1", "Permute each channel at least once")
    if not _both_classes(y):
        return [{"channel": n, "permutation": None, "permutation_std": None, "ablation": None} for n in names]
    some = np.unique(np.linspace(0, len(y) - 1, MOST_ROWS).astype(np.int64)) if len(y) > MOST_ROWS else slice(None)
    x, ctx, y = x[some], ctx[some], y[some]
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(y)) for _ in range(repeats)]
    whole = brier(predict(x, ctx), y)
    changed, out = x.copy(), []
    for c, name in enumerate(names):
        rises = np.empty(repeats)
        for i, order in enumerate(orders):
            changed[:, :, c] = x[order, :, c]
            rises[i] = brier(predict(changed, ctx), y) - whole
        changed[:, :, c] = neutral[c]
        held = brier(predict(changed, ctx), y) - whole
        changed[:, :, c] = x[:, :, c]
        out.append(
            {
                "channel": name,
                "permutation": float(rises.mean()),
                "permutation_std": float(rises.std(ddof=1)) if repeats > 1 else None,
                "ablation": float(held),
            }
        )
    return out


def logistic_ablation(
    x: np.ndarray,
    ctx: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    x_new: np.ndarray,
    ctx_new: np.ndarray,
    y_new: np.ndarray,
    names: Sequence[str],
) -> list[float | None]:
    """Rise of the Brier score when the logistic baseline is fitted anew without a channel.

    Unlike `channel_importance` the model may make up for the loss from channels that say much the same: what is left is
    what no other channel knows. Below zero: the baseline is better off without it.

    Parameters
    ----------
    x, ctx, y, weight : training rows, as `meta_models.baseline.logistic_p`
    x_new, ctx_new, y_new : test rows, y 0/1
    names : C channel names

    Returns
    -------
    list of C floats, in the order of the channels; None each where the test rows hold one class only
    """
    _check_shapes(x, ctx, y, np.empty(x.shape[-1]), names)
    _check_shapes(x_new, ctx_new, y_new, np.empty(x_new.shape[-1]), names)
    if not _both_classes(y_new):
        return [None] * len(names)
    columns, new = paired_columns(x, ctx, x_new, ctx_new)
    whole = brier(line_p(fit_logistic(columns, y, weight), new), y_new)
    windows, out = len(flat_weights(x.shape[1])) * len(names), []
    for c in range(len(names)):
        without = columns.copy()
        without[:, c : windows : len(names)] = 0.0  # still in training: exactly no coefficient, and the same ridge
        out.append(brier(line_p(fit_logistic(without, y, weight), new), y_new) - whole)
    return out


def _both_classes(y: np.ndarray) -> bool:
    return bool((y == 1).any() and (y == 0).any())


def _check_shapes(x: np.ndarray, ctx: np.ndarray, y: np.ndarray, neutral: np.ndarray, names: Sequence[str]) -> None:
    if x.ndim != 3 or {len(x), len(ctx)} != {len(y)} or {x.shape[2], len(neutral)} != {len(names)}:
        raise InputError(
            f"windows {x.shape}, {len(ctx)} contexts, {len(y)} targets, {len(neutral)} means and {len(names)} names",
            "windows [N, T, C], N contexts and targets, C means and names",
            "Pass columns of the same rows",
        )
