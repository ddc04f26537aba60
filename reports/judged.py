"""Arms with everything computed from them: statistics of both exits, KPIs, and the comparison with no model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .arm_stats import ExitStats, exit_stats, paired
from .calibration_report import CalibrationReport
from .funnel import rejection
from .kpis import MIN_JUDGED, Kpi, KpiContext, kpis
from .latency import latency_stats
from .overfitting import Overfitting
from .records import EXITS, JUDGED_EXIT, ArmInput
from .statistics import PairedDifference
from .verdict import Headline

__all__ = ["JudgedArm", "Judging", "headline", "judge_arms", "pairs_of"]

Pairs = Mapping[tuple[str, str], Mapping[str, PairedDifference]]


@dataclass(frozen=True)
class JudgedArm:
    """``stats`` and ``kpis`` by exit; empty where the arm was not run."""

    arm: ArmInput
    stats: Mapping[str, ExitStats]
    kpis: Mapping[str, tuple[Kpi, ...]]


@dataclass(frozen=True)
class Judging:
    """What is the same for every arm of a report.

    Attributes
    ----------
    latency : (profile, model) -> rows with ``sig_type``, ``asked``, ``e2e_us``
    n_trials : strategies tried so far, earlier runs included; the arms of this run are counted anyway
    pbo : by fee tier
    """

    calibration: CalibrationReport
    latency: Mapping[tuple[str, bool], np.ndarray]
    n_trials: int
    pbo: Mapping[str, Overfitting]
    seed: int
    draws: int


def judge_arms(
    arms: Sequence[ArmInput],
    ladder: Sequence[ArmInput],
    judging: Judging,
    tell: Callable[[float], None],
) -> tuple[list[JudgedArm], list[JudgedArm], int]:
    """Judge the arms of the matrix and of the ladder; an arm that is in both is computed once.

    Trials are the strategies of one fee tier: another tier is no other strategy, only another price. The ladder adds
    none, for it is one profile of the matrix at other prices.

    Parameters
    ----------
    tell : gets the fraction done

    Returns
    -------
    arms, ladder, and the trials counted
    """
    known = {id(a) for a in arms}
    every = [*arms, *(a for a in ladder if id(a) not in known)]
    stats: dict[int, dict[str, ExitStats]] = {}
    for i, arm in enumerate(every):
        stats[id(arm)] = (
            {} if arm.reason_na else {e: exit_stats(arm, e, seed=judging.seed, draws=judging.draws) for e in EXITS}
        )
        tell((i + 1) / len(every))
    run = [a.fee.name for a in arms if not a.reason_na for _ in EXITS]
    tried = max([judging.n_trials, *(run.count(t) for t in set(run))])
    judged = {}
    for arm in every:
        # At a tier that the matrix has too, the trials are the matrix's: its verdict and the ladder's must agree.
        peers = [a for a in arms if a.fee.name == arm.fee.name] or [a for a in ladder if a.fee.name == arm.fee.name]
        sharpes = [s.ir_trade.value for a in peers for s in stats[id(a)].values() if s.trades >= MIN_JUDGED]
        context = KpiContext(judging.calibration, sharpes, tried, judging.pbo.get(arm.fee.name))
        rejected, latency = rejection(arm), latency_stats(judging.latency.get((arm.profile, arm.model)))
        judged[id(arm)] = JudgedArm(
            arm,
            stats[id(arm)],
            {e: kpis(arm.profile, arm.model, s, rejected, latency, context) for e, s in stats[id(arm)].items()},
        )
    return [judged[id(a)] for a in arms], [judged[id(a)] for a in ladder], tried


def pairs_of(judged: Sequence[JudgedArm], seed: int, draws: int) -> dict[tuple[str, str], dict[str, PairedDifference]]:
    """Model minus no model by (fee tier, profile), where both were run."""
    run = {(j.arm.fee.name, j.arm.profile, j.arm.model): j.arm for j in judged if j.stats}
    return {
        (fee, profile): paired(arm, run[fee, profile, False], seed=seed, draws=draws)
        for (fee, profile, model), arm in run.items()
        if model and (fee, profile, False) in run
    }


def headline(judged: JudgedArm, pairs: Pairs) -> Headline:
    """The arm as the verdict looks at it."""
    arm = judged.arm
    both = pairs.get((arm.fee.name, arm.profile)) if arm.model else None
    return Headline(arm, judged.kpis.get(JUDGED_EXIT, ()), both)
