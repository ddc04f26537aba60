"""Does a run that claims something deserve it? Rates over many simulated runs with and without a planted edge.

What an interval should hold is here the expectation over simulated days, not the mean of the one day that it was made
from. Nobody can write it down, so each interval is held against the pooled mean of the other seeds: day-to-day
variation counts, as it does for a person who asks about tomorrow. The other seeds' mean is itself an estimate; with 20
of them its own error lowers the coverage by one or two points.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from feature_repo.errors import InputError
from runtime.quality import ece_debiased

from .honesty_record import PARTS, HonestModel, HonestRun
from .statistics import Interval, PairedDifference

__all__ = ["DECIDING_EXIT", "DECIDING_TIER", "GOALS", "MIN_RUNS", "SCHEMA", "rate", "summarise"]

SCHEMA = "ofi-meta/honesty/1"
DECIDING_TIER, DECIDING_EXIT = "regular", "label"
"""The default of every report decides; the rest stands beside it."""
MIN_RUNS = 20
"""Runs of one edge below which a goal is not judged."""
GOALS = {"claims_edge_0": 0.10, "claims_edge_1": 0.90, "ece": 0.03}
"""At most 2 of 20, at least 18 of 20, at most 0.03."""
_EDGES = (0.0, 1.0)
_WEIGHT_OF = dict(zip(PARTS, ("n", "n_model", "n_none"), strict=True))
"""What the rows of each mean are: candidates, trades of the model, trades without it."""


def summarise(runs: Sequence[HonestRun], *, planned: int | None = None) -> dict[str, Any]:
    """Everything that is shown, from the results of the runs and nothing else.

    Parameters
    ----------
    runs : any order; edge 0 and edge 1, each seed of an edge once
    planned : runs wanted; by default as many as there are

    Returns
    -------
    dict
        JSON-able, without a NaN: "runs", "claims" (a row a model, tier and exit), "coverage" (likewise, an edge each),
        "calibration" (a row a model and edge), "intervals" (all that the picture shows) and "notes" of the runs.

    Raises
    ------
    InputError
        No run, a seed twice, another edge, or runs that do not hold the same models and arms.
    """
    runs = sorted(runs, key=lambda r: (r.edge, r.seed))
    _check(runs)
    names = list(runs[0].models)
    keys = [(name, *arm) for name in names for arm in runs[0].models[name].arms]
    return {
        "schema": SCHEMA,
        "simulated": True,
        "deciding": {"fee_tier": DECIDING_TIER, "exit": DECIDING_EXIT, "profile": "B"},
        "runs": {
            "planned": len(runs) if planned is None else planned,
            "done": len(runs),
            "seeds": {f"{edge:g}": [r.seed for r in runs if r.edge == edge] for edge in _EDGES},
        },
        "claims": [_claims(runs, *key) for key in keys],
        "coverage": [_coverage(runs, edge, *key) for key in keys for edge in _EDGES],
        "calibration": [_calibration(runs, edge, name) for name in names for edge in _EDGES],
        "intervals": [_shown(run, *key) for run in runs for key in keys],
        "notes": [
            f"edge {run.edge:g} seed {run.seed} {name}: {note}"
            for run in runs
            for name, model in run.models.items()
            for note in model.notes
        ],
    }


def _check(runs: Sequence[HonestRun]) -> None:
    if not runs:
        raise InputError("no run", "at least one", "Let one of them finish")
    seen = [(r.edge, r.seed) for r in runs]
    if len(set(seen)) < len(seen):
        twice = next(k for k in seen if seen.count(k) > 1)
        raise InputError(f"edge {twice[0]:g} seed {twice[1]} twice", "each seed of an edge once", "Leave one out")
    if strange := {r.edge for r in runs} - set(_EDGES):
        raise InputError(f"edge {strange.pop():g}", "0 or 1", "Leave it out")
    for run in runs:
        held = {name: set(m.arms) for name, m in run.models.items()}
        if held != {name: set(m.arms) for name, m in runs[0].models.items()}:
            raise InputError(
                f"edge {run.edge:g} seed {run.seed} with other models or arms than the rest",
                "runs of one plan",
                "Run it again",
            )


def rate(hits: int, n: int) -> dict[str, Any]:
    """A share with its 95 % band (Wilson 1927); None without a run."""
    if not n:
        return {"hits": 0, "n": 0, "rate": None, "low": None, "high": None}
    z = NormalDist().inv_cdf(0.975)
    p, wide = hits / n, 1.0 + z * z / n
    centre = (p + z * z / (2 * n)) / wide
    half = z / wide * math.sqrt(p * (1.0 - p) / n + z * z / (4 * n * n))
    # At 0 and at n the band ends there; rounding must not say otherwise.
    low, high = (0.0 if hits == 0 else centre - half), (1.0 if hits == n else centre + half)
    return {"hits": hits, "n": n, "rate": p, "low": low, "high": high}


def _claims(runs: Sequence[HonestRun], model: str, tier: str, exit_: str) -> dict[str, Any]:
    row: dict[str, Any] = {"model": model, "fee_tier": tier, "exit": exit_, "decides": _decides(tier, exit_)}
    for edge in _EDGES:
        found = [r.models[model].arms[tier, exit_] for r in runs if r.edge == edge]
        row[f"edge_{edge:g}"] = rate(sum(d.beats for d in found), len(found)) | {
            "no_interval": sum(not (_bounded(d.difference) and _bounded(d.model_mean)) for d in found),
            "trades_median": float(np.median([d.n_model for d in found])) if found else None,
            "met": _met(f"claims_edge_{edge:g}", [d.beats for d in found]) if row["decides"] else None,
        }
    return row


def _met(goal: str, claims: Sequence[bool]) -> bool | None:
    if len(claims) < MIN_RUNS:
        return None
    share = sum(claims) / len(claims)
    return share <= GOALS[goal] if goal == "claims_edge_0" else share >= GOALS[goal]


def _decides(tier: str, exit_: str) -> bool:
    return (tier, exit_) == (DECIDING_TIER, DECIDING_EXIT)


def _bounded(interval: Interval) -> bool:
    return math.isfinite(interval.low)


def _coverage(runs: Sequence[HonestRun], edge: float, model: str, tier: str, exit_: str) -> dict[str, Any]:
    found = [r.models[model].arms[tier, exit_] for r in runs if r.edge == edge]
    return {"model": model, "fee_tier": tier, "exit": exit_, "edge": edge} | {
        part: _held(found, part) for part in PARTS
    }


def _held(found: Sequence[PairedDifference], part: str) -> dict[str, Any]:
    """How many of the intervals hold the pooled mean of the other seeds."""
    weight = np.array([getattr(d, _WEIGHT_OF[part]) for d in found], np.float64)
    value = np.array([getattr(d, part).value for d in found])
    total = np.where(weight > 0, value, 0.0) * weight  # a run without a trade has no mean, and adds none
    held = asked = without = 0
    for i, d in enumerate(found):
        others = weight.sum() - weight[i]
        interval = getattr(d, part)
        if not _bounded(interval):
            without += 1
        elif others > 0:
            asked += 1
            held += bool(interval.low <= (total.sum() - total[i]) / others <= interval.high)
    pooled = float(total.sum() / weight.sum()) if weight.sum() > 0 else None
    return rate(held, asked) | {"no_interval": without, "pooled_bps": pooled, "rows": int(weight.sum())}


def _calibration(runs: Sequence[HonestRun], edge: float, name: str) -> dict[str, Any]:
    """Figures over the labelled candidates of all seeds, each candidate counted once."""
    found = [r.models[name] for r in runs if r.edge == edge and len(r.models[name].y)]
    row: dict[str, Any] = {"model": name, "edge": edge, "runs": len(found), "n": sum(len(m.y) for m in found)}
    if not found:
        return row | dict.fromkeys(("base_rate", "ece", "brier", "brier_logistic", "brier_base", "met"))
    p, y = np.concatenate([m.p for m in found]), np.concatenate([m.y for m in found])
    ece = ece_debiased(p, y)
    judged = edge == 1.0 and len(found) >= MIN_RUNS and math.isfinite(ece)
    return row | {
        "base_rate": float(y.mean()),
        "ece": float(ece) if math.isfinite(ece) else None,
        "brier": float(np.mean((p - y) ** 2)),
        "brier_logistic": _pooled(found, "brier_logistic"),
        "brier_base": _pooled(found, "brier_base"),
        "met": bool(ece <= GOALS["ece"]) if judged else None,
    }


def _pooled(found: Sequence[HonestModel], name: str) -> float | None:
    values = [getattr(m, name) for m in found]
    if any(v is None for v in values):
        return None
    return float(np.average(values, weights=[len(m.y) for m in found]))


def _shown(run: HonestRun, model: str, tier: str, exit_: str) -> dict[str, Any]:
    found = run.models[model].arms[tier, exit_]
    parts = {part: [float(v) if math.isfinite(v) else None for v in getattr(found, part)] for part in PARTS}
    named = {"edge": run.edge, "seed": run.seed, "model": model, "fee_tier": tier, "exit": exit_}
    counts = {"candidates": found.n, "trades": found.n_model, "trades_none": found.n_none}
    return named | parts | counts | {"claim": found.beats}
