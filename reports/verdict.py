"""GO or NO-GO, with every reason that stands against it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from feature_repo.constants import JUDGE

from .kpis import Kpi, kpi_text
from .records import EXITS, JUDGED_EXIT, ArmInput, RunFacts
from .statistics import PairedDifference

__all__ = ["BIG_TICK_TIMEOUTS", "SIMULATED_REASON", "Headline", "Verdict", "big_tick_note", "timeout_share", "verdict"]

BIG_TICK_TIMEOUTS = 0.90
"""Share of time-outs among resolved labels from which the barriers measure the clock, not the market."""
SIMULATED_REASON = "The data is simulated with a planted edge: it says nothing about a real market."


@dataclass(frozen=True)
class Headline:
    """One arm the verdict rests on.

    Attributes
    ----------
    kpis : of the exit the verdict rests on; empty when the arm was not run
    paired : exit -> model minus no model; empty when there is nothing to compare
    """

    arm: ArmInput
    kpis: Sequence[Kpi] = ()
    paired: Mapping[str, PairedDifference] | None = None


@dataclass(frozen=True)
class Verdict:
    """``go`` is true only when ``reasons`` is empty; a reason is one sentence."""

    go: bool
    reasons: tuple[str, ...]

    @property
    def word(self) -> str:
        return "GO" if self.go else "NO-GO"


def timeout_share(outcomes: Sequence[int]) -> float:
    """Share of time-outs among targets, stops and time-outs; NaN without any of them."""
    resolved = sum(outcomes[:3])
    return outcomes[2] / resolved if resolved else math.nan


def big_tick_note(facts: RunFacts) -> str:
    """The sentence about a tick that is too large for the barriers, or nothing."""
    share = timeout_share(facts.label_outcomes)
    if not share >= BIG_TICK_TIMEOUTS:
        return ""
    tick = f"{facts.tick_bps:.3g} bps" if math.isfinite(facts.tick_bps) else "of unknown size"
    return f"The tick is {tick}: {100 * share:.1f} % of labels are time-outs."


def verdict(facts: RunFacts, headlines: Sequence[Headline], unbeaten: str = "") -> Verdict:
    """Judge the headline arms.

    GO needs real data, a fee tier that was named, every KPI of every headline arm at PASS (N/A blocks), and a model
    that beats no model with either exit: the lower bounds of the difference and of its own net mean above 0.

    Parameters
    ----------
    unbeaten : the sentence that no net beats the logistic baseline, the first reason; empty when one does
    """
    reasons: list[str] = [unbeaten] if unbeaten else []
    if facts.simulated:
        reasons.append(SIMULATED_REASON)
    if facts.fee_tier_given is None:
        reasons.append("No fee tier was named: a GO holds for one tier, the reader's own.")
    if tick := big_tick_note(facts):
        reasons.append(tick)
    if not headlines:
        reasons.append("No headline arm was run.")
    for head in headlines:
        reasons += _arm_reasons(head)
    return Verdict(not reasons, tuple(reasons))


def _arm_reasons(head: Headline) -> list[str]:
    name = f"Arm {head.arm.name}"
    if head.arm.reason_na:
        return [f"{name} could not be run: {head.arm.reason_na.rstrip('.')}."]
    reasons = []
    trades = next((k for k in head.kpis if k.key == "trades"), None)
    few = trades is not None and trades.status != "PASS"
    if few:
        reasons.append(f"{name}: too little data to judge, {trades.n} trades of {JUDGE.min_trades} needed.")
    judged = [k for k in head.kpis if not (few and k.key == "trades")]
    reasons += [f"{name}: {_failed(k)}." for k in judged if k.status == "FAIL"]
    missing = "; ".join(f"{k.title} ({k.note})" for k in judged if k.status == "N/A")
    if missing:
        reasons.append(f"{name}: not available ({JUDGED_EXIT} exit): {missing}.")
    if not head.kpis:
        reasons.append(f"{name}: no KPI was computed.")
    if not head.arm.model:
        reasons.append(f"{name} has no model: there is nothing to roll out.")
    elif not head.paired:
        reasons.append(f"{name}: there is no arm without the model to compare it with.")
    else:
        for exit_ in EXITS:
            if not head.paired[exit_].beats:
                reasons.append(f"{name}: {_not_better(exit_, head.paired[exit_])}.")
    return reasons


def _failed(kpi: Kpi) -> str:
    # A measured number would make the sentence differ from run to run.
    value = (
        "see the measured section"
        if kpi.measured
        else f"{kpi_text(kpi.key, kpi.threshold, kpi.value)} with n = {kpi.n}"
    )
    return f"{kpi.title} ({JUDGED_EXIT} exit) fails, {value}, wanted {kpi.threshold}"


def _not_better(exit_: str, d: PairedDifference) -> str:
    if not math.isfinite(d.difference.low) or not math.isfinite(d.model_mean.low):
        return (
            f"too little data to say that the model beats no model ({exit_} exit): {d.n_model} model trades, "
            f"{d.n_none} without it, in {d.blocks} blocks of {JUDGE.block_s // 60} min"
        )
    return (
        f"the model is not shown to beat no model ({exit_} exit): lower bound of the difference "
        f"{d.difference.low:+.3g} bps a candidate, of the model's own mean {d.model_mean.low:+.3g} bps a trade"
    )
