"""The whole report as one JSON-able dictionary, from the arms of the experiment matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from feature_repo.constants import JUDGE
from runtime.buckets import BucketEdges

from .buckets import BucketRow, bucket_rows
from .calibration_report import CalibrationReport, calibration_report
from .fold_results import fold_rows
from .judged import JudgedArm, Judging, headline, judge_arms, pairs_of
from .latency import latency_rows
from .matrix_rows import (
    arm_dict,
    bucket_summary,
    funnel_dict,
    key_of,
    kpi_dict,
    labels_dict,
    paired_dict,
    plain,
    run_dict,
)
from .records import JUDGED_EXIT, ArmInput, CalibrationInput, RunFacts
from .selection import overfitting_by_tier, selection_dict
from .sensitivity import SensitivityPoint, sensitivity_rows
from .tiers import tier_rows
from .training_rows import training_dict, unbeaten_line
from .transfer import Judged, transfer_rows
from .verdict import verdict

__all__ = ["BANNER", "HEADLINE_PROFILE", "SCHEMA", "Curve", "Report", "build_report"]

SCHEMA = "ofi-meta/metrics/3"
HEADLINE_PROFILE = "B"
BANNER = "SIMULATED DATA with a planted edge: says nothing about a real market"
_SENSITIVITY_NOTE = "each point moves one knob and leaves everything else as in the run"


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


def build_report(
    arms: Sequence[ArmInput],
    facts: RunFacts,
    *,
    ladder: Sequence[ArmInput] = (),
    latency: Mapping[tuple[str, bool], np.ndarray] | None = None,
    sensitivity: Sequence[SensitivityPoint] = (),
    calibration: CalibrationInput | None = None,
    edges: BucketEdges | None = None,
    n_trials: int = 0,
    training: Mapping | None = None,
    fold_of: np.ndarray | None = None,
    transfer: Sequence[Judged] = (),
    seed: int = 7,
    draws: int = JUDGE.bootstrap_draws,
    progress: Callable[[float], None] | None = None,
) -> Report:
    """Judge every arm and put the result together.

    Parameters
    ----------
    arms : in the order in which they are shown; fee tier x profile x (no model, model)
    ladder : the headline profile, no model and model, at every fee tier of the venue; an arm that is one of ``arms``
        is judged once
    latency : (profile, model) -> rows with ``sig_type``, ``asked`` and ``e2e_us``; measured, not reproducible
    sensitivity : results with one knob moved
    calibration : out-of-sample forecasts of all candidates, None when no model was trained
    edges : bucket edges fitted on training data; None: buckets know signal type and session only
    n_trials : strategies tried so far, earlier runs included; the arms of this run are counted anyway
    training : metrics of the walk-forward, None when no model was trained
    fold_of : int [N], fold of each row of the decisions, negative outside any
    transfer : of a simulated tape, the model on this mechanism and on the other
    progress : gets the fraction done

    Raises
    ------
    ValueError
        When two arms share a name, the ladder holds another profile, arms that are compared did not judge the same
        candidates, or ``fold_of`` does not belong to the decisions.
    """
    _one_of_a_name(arms)
    _one_of_a_name(ladder)
    if other := {a.profile for a in ladder} - {HEADLINE_PROFILE}:
        raise ValueError(f"the ladder is of profile {HEADLINE_PROFILE}, it got {', '.join(sorted(other))}")
    tell = progress or (lambda _: None)
    told = calibration_report(calibration)
    if not told.n and calibration is None:
        told = _say_why(told, arms)
    timed = latency or {}
    overfitting = overfitting_by_tier(arms, ladder)
    judging = Judging(told, timed, n_trials, overfitting, seed, draws)
    judged, steps, tried = judge_arms(arms, ladder, judging, lambda done: tell(0.7 * done))
    pairs = pairs_of(judged, seed, draws)
    ladder_pairs = pairs | pairs_of([s for s in steps if (s.arm.fee.name, s.arm.profile) not in pairs], seed, draws)
    tell(0.8)
    heads = [
        headline(j, pairs)
        for j in judged
        if j.arm.profile == HEADLINE_PROFILE and j.arm.model and facts.fee_tier_given in (None, j.arm.fee.name)
    ]
    learned = training_dict(training)
    unbeaten = unbeaten_line(learned)
    decision = verdict(facts, heads, unbeaten)
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
        "run": run_dict(facts, tried),
        "labels": labels_dict(facts),
        "matrix": [arm_dict(j) for j in judged],
        "funnel": [funnel_dict(j.arm) for j in judged],
        "kpis": [
            {**key_of(j.arm), "exit": e, "rows": [kpi_dict(k) for k in j.kpis[e]]} for j in judged for e in j.kpis
        ],
        "model_vs_none": [
            {"fee_tier": fee, "profile": profile, "exit": e, **paired_dict(d)}
            for (fee, profile), both in pairs.items()
            for e, d in both.items()
        ],
        "tiers": tier_rows(steps, ladder_pairs, facts, unbeaten),
        "sensitivity": {
            "note": _SENSITIVITY_NOTE if sensitivity else "not computed",
            "points": sensitivity_rows(sensitivity),
        },
        "calibration": told.to_dict(),
        "transfer": transfer_rows(transfer, draws=draws, seed=seed),
        "training": learned,
        "fold_results": fold_rows(arms, fold_of, seed=seed, draws=draws),
        "selection": selection_dict(arms, overfitting, tried, draws=draws, seed=seed),
        "buckets": bucket_summary(rows),
        "measured": {
            "reproducible": False,
            "note": "depends on the machine and its load; everything outside this section is a function of the inputs",
            "stage_s": dict(facts.stage_s),
            "latency": latency_rows(timed),
            "kpis": [{**key_of(j.arm), **asdict(k)} for j in judged for k in j.kpis.get(JUDGED_EXIT, ()) if k.measured],
        },
    }
    tell(1.0)
    curves = tuple(_curve(j) for j in judged if j.stats)
    return Report(plain(metrics), rows, told, curves)


def _one_of_a_name(arms: Sequence[ArmInput]) -> None:
    names = [a.name for a in arms]
    if len(set(names)) != len(names):
        raise ValueError(f"two arms share a name: {', '.join(sorted({n for n in names if names.count(n) > 1}))}")


def _say_why(told: CalibrationReport, arms: Iterable[ArmInput]) -> CalibrationReport:
    reasons = [a.reason_na for a in arms if a.model and a.reason_na]
    return replace(told, reason_na=reasons[0]) if reasons else told


def _curve(j: JudgedArm) -> Curve:
    s = j.stats[JUDGED_EXIT]
    return Curve(j.arm.fee.name, j.arm.profile, j.arm.model, s.t_end_ns, np.cumsum(s.net))
