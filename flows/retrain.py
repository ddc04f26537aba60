"""Every market's model made anew: walk-forward, stack, calibration, matrix, verdict, and a candidate release."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .environment import configure

configure()

# ruff: noqa: E402  prefect reads its settings when it is imported
from prefect import flow, task
from pydantic import Field
from rich.console import Console

from feature_repo.constants import MODEL

from . import steps
from .artifacts import file_link, outcome_table, page_text
from .by_market import MarketParameters, each_market
from .cached import HEAVY, not_hopeless
from .market_steps import MarketMade, one_at_a_time
from .outcomes import end_with
from .parameters import ShadowParameters
from .progress import Stages
from .runner import runner
from .shadow import Prepared, judge_shadow, matrix_markdown

__all__ = ["RetrainParameters", "retrain_flow"]


class RetrainParameters(MarketParameters):
    """Which markets and days, and how their models are made."""

    model: Literal["tcn", "transformer", "lstm", "stack", "logistic"] = Field(
        "stack", description="One net, or all three and what they make up together"
    )
    folds: int = Field(MODEL.folds, ge=1, le=20)
    train_minutes: float = Field(MODEL.train_minutes, gt=0, le=24 * 60, description="Of each market")
    seed: int = Field(MODEL.seed, ge=0, lt=2**31)
    models: Path = Field(Path("models/export"), description="Folder of the single nets; with several markets likewise")


@dataclass(frozen=True, slots=True)
class Retrained:
    """What a market's training came to.

    Attributes
    ----------
    release : tag of the candidate; None where there was too little data for a model
    verdict : GO or NO-GO, with ``reasons`` against it
    text : the matrix, as markdown
    """

    symbol: str
    simulated: bool
    out: Path
    release: str | None
    verdict: str
    reasons: tuple[str, ...]
    text: str


@task(name="retrain", retries=1, retry_delay_seconds=30, retry_condition_fn=not_hopeless, tags=[HEAVY])
def retrain(made: MarketMade, parameters: RetrainParameters) -> Retrained:
    """One market. Fits that an interrupted training had finished are not made again."""
    told = ShadowParameters(
        tape=Path(made.tape),
        symbol=made.symbol,
        out=parameters.place(parameters.out, made),
        releases=parameters.place(parameters.releases, made),
        models=parameters.place(parameters.models, made),
        fee_tier=parameters.fee_tier,
        seed=parameters.seed,
        folds=parameters.folds,
        max_candidates=parameters.max_candidates,
        draw="even",
        train_minutes=parameters.train_minutes,
        model=parameters.model,
        t=parameters.t,
    )
    labelled = steps.LabelStep(Path(made.labels), made.found, made.candidates)
    prepared = Prepared(Path(made.tape), Path(made.features), labelled)
    with one_at_a_time(made.venue, made.symbol):
        report, bundle = judge_shadow(told, prepared, Stages(Console(stderr=True)))
    verdict = report.metrics["verdict"]
    return Retrained(
        made.symbol,
        made.simulated,
        told.out,
        None if bundle is None else bundle.name,
        verdict["word"],
        tuple(verdict["reasons"]),
        matrix_markdown(report, bundle),
    )


@flow(
    name="retrain",
    description="Walk-forward, stack, calibration, matrix and a candidate release.",
    task_runner=runner(),
    timeout_seconds=8 * 3600,
)
def retrain_flow(parameters: RetrainParameters | None = None) -> Any:
    """Make each market's model anew. Fails at the end if one could not be made; a NO-GO is no failure."""
    outcomes = each_market(retrain, parameters or RetrainParameters())
    for done in outcomes:
        if done.value is not None:
            page_text(f"matrix-{done.value.symbol}", f"Experiment matrix of {done.item}", done.value.text)
            file_link(f"report-{done.value.symbol}", f"Report of {done.item}", done.value.out / "index.html")
    outcome_table(
        "retrain",
        "Models made",
        outcomes,
        lambda r: {
            "data": "SIMULATED" if r.simulated else "recorded",
            "verdict": r.verdict,
            "reasons against it": len(r.reasons),
            "candidate": r.release or "none: too little data",
        },
    )
    return end_with(outcomes, "models made", lambda r: f"{r.verdict}, {r.release or 'too little data'}")
