"""The whole report as one JSON-able dictionary, from the arms of the experiment matrix."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from feature_repo.constants import JUDGE

from .arm_stats import ExitStats, exit_stats, latency_stats, paired
from .buckets import BucketEdges, BucketRow, bucket_rows
from .calibration_report import CalibrationReport, calibration_report
from .funnel import STAGES, funnel, reason_counts, rejection
from .kpis import MIN_JUDGED, Kpi, KpiContext, kpis
from .records import EXITS, JUDGED_EXIT, OUTCOMES, ArmInput, CalibrationInput, RunFacts, candidate_facts
from .statistics import PairedDifference
from .transfer import Judged, transfer_rows
from .verdict import Headline, big_tick_note, timeout_share, verdict

__all__ = [
    "BANNER",
    "HEADLINE_PROFILE",
    "SCHEMA",
    "ArmInput",
    "CalibrationInput",
    "Curve",
    "Report",
    "RunFacts",
    "build_report",
    "candidate_facts",
    "plain",
]

SCHEMA = "ofi-meta/metrics/1"
HEADLINE_PROFILE = "B"
BANNER = "SIMULATED DATA with a planted edge: says nothing about a real market"

_NOT_IN_JSON = ("net", "t_end_ns", "exit")


@dataclass(frozen=True)
class Curve:
    """Equity of one arm with the judged exit: cumulated net bps at the end of each trade."""

    fee_tier: str
    profile: str
    model: bool
    t_ns: np.ndarray
    cum_bps: np.ndarray


@dataclass(frozen=True)
class Report:
    """``metrics`` is metrics.json: no NaN, no clock outside its "measured" part. The rest is for pictures and CSV."""

    metrics: dict[str, object]
    buckets: tuple[BucketRow, ...]
    calibration: CalibrationReport
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class _Judged:
    """An arm with everything computed from it."""

    arm: ArmInput
    stats: Mapping[str, ExitStats]
    latency: dict[str, dict]
    kpis: Mapping[str, tuple[Kpi, ...]]


def build_report(
    arms: Sequence[ArmInput],
    facts: RunFacts,
    *,
    calibration: CalibrationInput | None = None,
    edges: BucketEdges | None = None,
    n_trials: int = 0,
    pbo: float | None = None,
    transfer: Sequence[Judged] = (),
    seed: int = 7,
    draws: int = JUDGE.bootstrap_draws,
    progress: Callable[[float], None] | None = None,
) -> Report:
    """Judge every arm and put the result together.

    Parameters
    ----------
    arms : in the order in which they are shown; fee tier x profile x (no model, model)
    calibration : out-of-sample forecasts of all candidates, None when no model was trained
    edges : bucket edges fitted on training data; None: buckets know signal type and session only
    n_trials : strategies tried so far, earlier runs included; the arms of this run are counted anyway
    pbo : probability of backtest overfitting, where it was computed
    transfer : of a simulated tape, the model on this mechanism and on the other
    progress : gets the fraction done

    Raises
    ------
    ValueError
        When two arms share a name, or arms that are compared did not judge the same candidates.
    """
    names = [a.name for a in arms]
    if len(set(names)) != len(names):
        raise ValueError(f"two arms share a name: {', '.join(sorted({n for n in names if names.count(n) > 1}))}")
    tell = progress or (lambda _: None)
    stats: list[dict[str, ExitStats]] = []
    for i, arm in enumerate(arms):
        stats.append({} if arm.reason_na else {e: exit_stats(arm, e, seed=seed, draws=draws) for e in EXITS})
        tell(0.8 * (i + 1) / len(arms))
    told = calibration_report(calibration)
    if not told.n and calibration is None:
        told = _say_why(told, arms)
    tiers = [a.fee.name for a, s in zip(arms, stats, strict=True) for _ in s]
    tried = max([n_trials, *(tiers.count(t) for t in set(tiers))])
    judged = [
        _judge(arm, s, KpiContext(told, _sharpes(arms, stats, arm.fee.name), tried, pbo))
        for arm, s in zip(arms, stats, strict=True)
    ]
    pairs = _pairs(judged, seed, draws)
    tell(0.95)
    heads = [
        Headline(j.arm, j.kpis.get(JUDGED_EXIT, ()), pairs.get((j.arm.fee.name, j.arm.profile)))
        for j in judged
        if j.arm.profile == HEADLINE_PROFILE and j.arm.model and facts.fee_tier_given in (None, j.arm.fee.name)
    ]
    decision = verdict(facts, heads)
    rows = tuple(
        row
        for j in judged
        if j.arm.profile == HEADLINE_PROFILE
        for row in bucket_rows(j.arm, edges, simulated=facts.simulated)
    )
    metrics = {
        "schema": SCHEMA,
        "simulated": facts.simulated,
        "banner": BANNER if facts.simulated else None,
        "verdict": {
            "word": decision.word,
            "go": decision.go,
            "reasons": decision.reasons,
            "judged_exit": JUDGED_EXIT,
            "headline": [h.arm.name for h in heads],
        },
        "run": _run(facts, tried),
        "labels": {
            "outcomes": dict(zip(OUTCOMES, facts.label_outcomes, strict=False)),
            "timeout_share": timeout_share(facts.label_outcomes),
            "note": big_tick_note(facts),
        },
        "matrix": [_arm_dict(j) for j in judged],
        "funnel": [_funnel_dict(j.arm) for j in judged],
        "kpis": [{**_key(j.arm), "exit": e, "rows": [_kpi_dict(k) for k in j.kpis[e]]} for j in judged for e in j.kpis],
        "model_vs_none": [
            {"fee_tier": fee, "profile": profile, "exit": e, **_paired_dict(d)}
            for (fee, profile), both in pairs.items()
            for e, d in both.items()
        ],
        "calibration": told.to_dict(),
        "transfer": transfer_rows(transfer, draws=draws, seed=seed),
        "buckets": _bucket_summary(rows),
        "measured": {
            "reproducible": False,
            "note": "depends on the machine and its load; everything outside this section is a function of the inputs",
            "stage_s": dict(facts.stage_s),
            "latency": [{**_key(j.arm), "by_type": j.latency} for j in judged if j.latency],
            "kpis": [{**_key(j.arm), **asdict(k)} for j in judged for k in j.kpis.get(JUDGED_EXIT, ()) if k.measured],
        },
    }
    tell(1.0)
    curves = tuple(_curve(j) for j in judged if j.stats)
    return Report(plain(metrics), rows, told, curves)


def _say_why(told: CalibrationReport, arms: Iterable[ArmInput]) -> CalibrationReport:
    reasons = [a.reason_na for a in arms if a.model and a.reason_na]
    return CalibrationReport(**{**told.__dict__, "reason_na": reasons[0]}) if reasons else told


def _sharpes(arms: Sequence[ArmInput], stats: Sequence[Mapping[str, ExitStats]], fee: str) -> list[float]:
    """IR a trade of every arm and exit at the same fees: another tier is no other strategy, only another price."""
    return [
        s.ir_trade.value
        for arm, both in zip(arms, stats, strict=True)
        for s in both.values()
        if arm.fee.name == fee and s.trades >= MIN_JUDGED
    ]


def _judge(arm: ArmInput, stats: dict[str, ExitStats], context: KpiContext) -> _Judged:
    latency = latency_stats(arm)
    rejected = rejection(arm)
    return _Judged(
        arm, stats, latency, {e: kpis(arm.profile, arm.model, s, rejected, latency, context) for e, s in stats.items()}
    )


def _pairs(judged: Sequence[_Judged], seed: int, draws: int) -> dict[tuple[str, str], dict[str, PairedDifference]]:
    run = {(j.arm.fee.name, j.arm.profile, j.arm.model): j.arm for j in judged if j.stats}
    return {
        (fee, profile): paired(arm, run[fee, profile, False], seed=seed, draws=draws)
        for (fee, profile, model), arm in run.items()
        if model and (fee, profile, False) in run
    }


def _curve(j: _Judged) -> Curve:
    s = j.stats[JUDGED_EXIT]
    return Curve(j.arm.fee.name, j.arm.profile, j.arm.model, s.t_end_ns, np.cumsum(s.net))


def _key(arm: ArmInput) -> dict[str, object]:
    return {"fee_tier": arm.fee.name, "profile": arm.profile, "model": arm.model}


def _run(facts: RunFacts, tried: int) -> dict[str, object]:
    out = asdict(facts)
    for elsewhere in ("stage_s", "label_outcomes", "simulated"):
        out.pop(elsewhere)
    out["trials"] = tried
    return out


def _arm_dict(j: _Judged) -> dict[str, object]:
    arm = j.arm
    head = {**_key(arm), "maker_bps": arm.fee.maker_bps, "taker_bps": arm.fee.taker_bps, "na": arm.reason_na or None}
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
        "allowed_below_breakeven": float(below.sum() / asked.sum()) if asked.any() else math.nan,
        "mean_size": float(d["size"][allowed].mean()) if allowed.any() else math.nan,
        "exits": {e: _stats_dict(s) for e, s in j.stats.items()},
    }


def _stats_dict(s: ExitStats) -> dict[str, object]:
    out = {name: getattr(s, name) for name in s.__dataclass_fields__ if name not in _NOT_IN_JSON}
    for name in ("net_bps", "ir_trade"):
        out[name] = out[name]._asdict()
    out["by_type"] = [asdict(t) for t in s.by_type]
    return out


def _funnel_dict(arm: ArmInput) -> dict[str, object]:
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
    return {**_key(arm), "na": arm.reason_na or None, "rows": rows}


def _kpi_dict(k: Kpi) -> dict[str, object]:
    out = asdict(k)
    if k.measured:
        out.update(value=None, note="value in the measured section")
    return out


def _paired_dict(d: PairedDifference) -> dict[str, object]:
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


def _bucket_summary(rows: Sequence[BucketRow]) -> dict[str, object]:
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
