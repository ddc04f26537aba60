"""Sections of metrics.json, each from what was computed for it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np

from .arm_stats import ExitStats
from .buckets import BucketRow
from .funnel import STAGES, funnel, reason_counts, reason_rates, rejection
from .judged import JudgedArm
from .kpis import Kpi
from .records import OUTCOMES, ArmInput, RunFacts
from .statistics import Interval, PairedDifference
from .verdict import big_tick_note, timeout_share

__all__ = [
    "arm_dict",
    "bucket_summary",
    "funnel_dict",
    "key_of",
    "kpi_dict",
    "labels_dict",
    "paired_dict",
    "plain",
    "run_dict",
]

_NOT_IN_JSON = ("net", "t_end_ns", "exit", "by_type")


def key_of(arm: ArmInput) -> dict[str, object]:
    """What names an arm in every section."""
    return {"fee_tier": arm.fee.name, "profile": arm.profile, "model": arm.model}


def run_dict(facts: RunFacts, tried: int) -> dict[str, object]:
    """Where the numbers come from."""
    out = asdict(facts)
    for elsewhere in ("stage_s", "label_outcomes", "simulated"):
        out.pop(elsewhere)
    out["trials"] = tried
    return out


def labels_dict(facts: RunFacts) -> dict[str, object]:
    """Outcomes of all labels, and what they say of the tick."""
    return {
        "outcomes": dict(zip(OUTCOMES, facts.label_outcomes, strict=False)),
        "timeout_share": timeout_share(facts.label_outcomes),
        "note": big_tick_note(facts),
    }


def arm_dict(j: JudgedArm) -> dict[str, object]:
    """One row of the matrix; without numbers where the arm was not run."""
    arm = j.arm
    head = {**key_of(arm), "maker_bps": arm.fee.maker_bps, "taker_bps": arm.fee.taker_bps, "na": arm.reason_na or None}
    d, mine, r = arm.decisions, arm.in_tier, rejection(arm)
    if d is None:
        return {**head, "candidates": 0, "allowed": 0}
    allowed = d["allow"]
    below = allowed & np.isfinite(d["p"]) & (d["p"] < d["p_breakeven"])
    asked = allowed & np.isfinite(d["p"])
    return {
        **head,
        "candidates": int(mine.sum()),
        "allowed": int(allowed.sum()),
        "rejection": r.rate,
        "rejection_total": r.total_rate,
        "passed_liquidity": r.passed_liquidity,
        "reasons": reason_counts(arm),
        "reason_rates": reason_rates(arm),
        "allowed_below_breakeven": float(below.sum() / asked.sum()) if asked.any() else math.nan,
        "mean_size": float(d["size"][allowed].mean()) if allowed.any() else math.nan,
        "exits": {e: _stats_dict(s) for e, s in j.stats.items()},
    }


def _stats_dict(s: ExitStats) -> dict[str, object]:
    named = {name: getattr(s, name) for name in s.__dataclass_fields__ if name not in _NOT_IN_JSON}
    out = {name: v._asdict() if isinstance(v, Interval) else v for name, v in named.items()}
    return {**out, "by_type": [asdict(t) for t in s.by_type]}


def funnel_dict(arm: ArmInput) -> dict[str, object]:
    """Survivors of each check by signal type."""
    rows = [
        {
            "sig_type": r.sig_type,
            **dict(zip(STAGES, r.survivors, strict=True)),
            "filled_runner": r.filled_runner,
            "busy": r.busy,
            "unfilled": r.unfilled,
            "no_data": r.no_data,
        }
        for r in funnel(arm)
    ]
    return {**key_of(arm), "na": arm.reason_na or None, "rows": rows}


def kpi_dict(k: Kpi) -> dict[str, object]:
    """A KPI outside the measured section: a measured value stays out, its status and why it is N/A do not."""
    out = asdict(k)
    if k.measured:
        out.update(value=None, note=k.note if k.status == "N/A" else "value in the measured section")
    return out


def paired_dict(d: PairedDifference) -> dict[str, object]:
    """Model minus no model with its intervals."""
    return {
        "difference": d.difference._asdict(),
        "model_mean": d.model_mean._asdict(),
        "none_mean": d.none_mean._asdict(),
        "blocks": d.blocks,
        "candidates": d.n,
        "model_trades": d.n_model,
        "none_trades": d.n_none,
        "model_beats_none": d.beats,
    }


def bucket_summary(rows: Sequence[BucketRow]) -> dict[str, object]:
    """Counts of what buckets.csv holds."""
    cells = [r for r in rows if r.ofi_z != "all"]
    return {
        "file": "buckets.csv",
        "rows": len(rows),
        "buckets": len(cells),
        "with_enough_trades": sum(r.judged_by == "bucket" for r in cells),
        "positive": sum(r.positive for r in cells),
    }


def plain(value: object) -> object:
    """Python's own types, sorted nowhere, NaN and infinities as None, floats at ten significant digits."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return [plain(v) for v in value.tolist()]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(f"{value:.10g}") if math.isfinite(value) else None
    return value
