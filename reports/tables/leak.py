"""What the checks against leaks saw in every training."""

from __future__ import annotations

from collections.abc import Mapping

from .cell import DASH, Table, number
from .training import no_model_reason

__all__ = ["leak_table"]


def leak_table(metrics: Mapping) -> Table:
    """Largest skill of one channel and of the model beside what is refused, and the shuffled labels; a row a fold."""
    found = (metrics.get("training") or {}).get("leak") or ()
    rows = tuple(_row(checks) for checks in found)
    return Table(
        "Leak checks, area under the ROC curve",
        (
            *("fold", "best channel", "view", "its AUC", "at most", "alone", "model AUC", "at most", "linear AUC"),
            *("shuffled mean", "shuffled max", "p-value", "skill"),
        ),
        (False, False, False, *(True,) * 9, False),
        rows,
        tuple("na" if row[-1] == "none" else "" for row in rows),
        "channel: its newest row, mean or change over the window; alone: what it takes of what all others leave "
        "to be won, which an outstanding one must not have to itself; model: purged out-of-fold; linear: ridge "
        "regression through the same folds, on the labels and on shuffled ones. More than what is believed at most, or "
        "skill on shuffled labels, ends the training with an error. Skill none: p-value above 0.05, no better than on "
        "shuffled labels"
        if rows
        else f"N/A: {no_model_reason(metrics) or 'no check was reported'}",
    )


def _row(checks: Mapping) -> tuple[str, ...]:
    channels, skill, shuffled = (checks.get(name) or {} for name in ("channels", "skill", "shuffled"))
    highest = channels.get("highest") or {}
    told = {True: "none", False: "yes"}.get(shuffled.get("no_skill"), DASH)
    return (
        f"fold {checks['fold']}",
        highest.get("channel") or DASH,
        highest.get("view") or DASH,
        number(highest.get("auc"), ".3f"),
        number(channels.get("limit"), ".3f"),
        number(((channels.get("channels") or {}).get(highest.get("channel")) or {}).get("share"), ".0%"),
        number(skill.get("auc"), ".3f"),
        number(skill.get("limit"), ".3f"),
        *(number(shuffled.get(key), ".3f") for key in ("auc", "shuffled_mean", "shuffled_max", "p_value")),
        told,
    )
