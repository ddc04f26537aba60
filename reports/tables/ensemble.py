"""How the nets were put together and calibrated, and by how much that way won."""

from __future__ import annotations

from collections.abc import Mapping

from .cell import Table, number
from .training import fold_name, no_model_reason

__all__ = ["ensemble_table"]

_WAYS = {
    "average+platt": "average, Platt",
    "average+isotonic": "average, isotonic",
    "logistic+platt": "logistic, Platt",
    "logistic+isotonic": "logistic, isotonic",
    "base": "base rate",
}
_STAR = "* "


def ensemble_table(metrics: Mapping) -> Table:
    """Cross-fitted Brier score of each combiner and calibrator inside the training span, a row a fold."""
    training = metrics.get("training") or {"folds": (), "members": ()}
    nets = training["members"]
    rows = []
    for fold in training["folds"]:
        found = (fold.get("fit") or {}).get("ensemble")
        if not found:
            continue
        winner = f"{found['combiner']}+{found['chosen']}"
        rows.append(
            (
                fold_name(fold),
                *(_STAR * (way == winner) + number(found["brier"].get(way), ".4f") for way in _WAYS),
                number(_won_by(found["gain"]), "+.5f"),
                *(number((found.get("net_share") or {}).get(name), ".0%") for name in nets),
            )
        )
    return Table(
        "Brier score, out of fold",
        ("fold", *_WAYS.values(), "won by", *(f"share {name}" for name in nets)),
        (False, *(True,) * (len(_WAYS) + 1 + len(nets))),
        tuple(rows),
        ("",) * len(rows),
        "* chosen, in the training span alone: each purged block judged by what was fitted on the others; average: "
        "convex weights over the nets, logistic: second-level regression on nets and context; won by: over the next "
        "best of the four; share: what each net has to say, all 0 when none counts"
        if rows
        else f"N/A: {no_model_reason(metrics) or 'the ensemble was not reported'}",
    )


def _won_by(gain: Mapping[str, float]) -> float | None:
    return min((v for way, v in gain.items() if way != "base" and v is not None), default=None)
