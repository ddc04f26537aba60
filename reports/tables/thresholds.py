"""What the gate asked of P in each fold, and what that rests on."""

from __future__ import annotations

from collections.abc import Mapping

from runtime.profiles import PROFILES

from .cell import Table, number
from .training import fold_name, no_model_reason

__all__ = ["threshold_table"]


def threshold_table(metrics: Mapping) -> Table:
    """Payoff of targets and misses in the training span, and the tau of each profile, a row a fold."""
    rows = []
    for fold in (metrics.get("training") or {"folds": ()})["folds"]:
        found = (fold.get("fit") or {}).get("thresholds")
        if not found:
            continue
        rows.append(
            (
                fold_name(fold),
                f"{found['n_target']:,}",
                number(found["target_R"], "+.2f"),
                f"{found['n_miss']:,}",
                number(found["miss_R"], "+.2f"),
                *(number(found["taus"].get(name), ".3f") for name in PROFILES),
            )
        )
    own = ", ".join(f"{name} {profile.tau:.2f}" for name, profile in PROFILES.items())
    return Table(
        "Thresholds on P",
        ("fold", "targets", "pay R", "misses", "pay R", *(f"tau {name}" for name in PROFILES)),
        (False, *(True,) * (4 + len(PROFILES))),
        tuple(rows),
        ("",) * len(rows),
        "pay: mean gross result of the training span's labels in units of R; tau: the P that earns, at these payoffs, "
        f"what the profile's own tau ({own}) would earn if every miss were stopped at -1.1 R; P must also earn the "
        "candidate's own cost; 0 targets: not fitted"
        if rows
        else f"N/A: {no_model_reason(metrics) or 'the thresholds were not reported'}",
    )
