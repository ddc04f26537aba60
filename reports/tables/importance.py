"""What the model looks at: how much worse it gets without each channel, fold by fold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from .cell import Table, number
from .training import fold_name, no_model_reason

__all__ = ["IMPORTANCE_KINDS", "IMPORTANCE_UNIT", "importance_order", "importance_table", "importance_values"]

IMPORTANCE_KINDS = {
    "permutation": "permutation: shuffled among the rows",
    "ablation": "ablation: held at its training mean",
    "logistic_ablation": "logistic baseline refitted without",
}
IMPORTANCE_UNIT = 1e-4
"""A channel moves the Brier score in its fourth place: that is what is written."""


def importance_values(metrics: Mapping, kind: str) -> tuple[list[str], dict[str, list[float | None]]]:
    """Names of the folds that were looked at, and of each channel its rise of the Brier score, fold by fold.

    Parameters
    ----------
    kind : one of ``IMPORTANCE_KINDS``
    """
    folds = [f for f in (metrics.get("training") or {}).get("folds", ()) if f.get("importance")]
    by_fold = [{row["channel"]: row.get(kind) for row in fold["importance"]} for fold in folds]
    channels = dict.fromkeys(name for rows in by_fold for name in rows)
    return [fold_name(f) for f in folds], {name: [rows.get(name) for rows in by_fold] for name in channels}


def importance_order(metrics: Mapping) -> list[str]:
    """Channels, the one the model misses most first; those that were not shuffled last."""
    _, values = importance_values(metrics, "permutation")
    return sorted(values, key=lambda name: -_least(_mean(values[name])))


def importance_table(metrics: Mapping) -> Table:
    """A row a channel: rise of the Brier score when it is shuffled, in each fold, and the other two ways as means."""
    title = "Rise of the Brier score, x 0.0001"
    folds, shuffled = importance_values(metrics, "permutation")
    if not shuffled:
        reason = no_model_reason(metrics) or "it was not computed"
        return Table(title, ("channel",), (False,), (), (), f"N/A: {reason}")
    others = [importance_values(metrics, kind)[1] for kind in ("ablation", "logistic_ablation")]
    spread = importance_values(metrics, "permutation_std")[1]
    rows = tuple(
        (
            name,
            _text(_mean(shuffled[name])),
            *(_text(value) for value in shuffled[name]),
            _text(_mean(spread[name]), ".2f"),
            *(_text(_mean(values[name])) for values in others),
        )
        for name in importance_order(metrics)
    )
    return Table(
        title,
        ("channel", "shuffled", *folds, "std", "held", "logistic without"),
        (False, *(True,) * (len(folds) + 4)),
        rows,
        ("",) * len(rows),
        "out of sample, without the channel; shuffled: among the test rows, mean over the folds, then each fold; std: "
        "between shuffles; held: at its training mean; logistic without: the logistic baseline refitted without it. "
        "Below 0: better without. Channels that say the same stand in for each other, and each then looks unimportant.",
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return math.fsum(known) / len(known) if known else None


def _least(value: float | None) -> float:
    return -math.inf if value is None else value


def _text(value: float | None, form: str = "+.2f") -> str:
    return number(None if value is None else value / IMPORTANCE_UNIT, form)
