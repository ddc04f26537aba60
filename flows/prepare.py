"""Features and labels: the days of each market joined, its 100 ms rows, its labelled candidates, the feature store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from typing import Any

from .environment import configure

configure()

# ruff: noqa: E402  prefect reads its settings when it is imported
from prefect import flow, get_run_logger, task
from pydantic import Field

from feature_repo.constants import MODEL

from .artifacts import outcome_table, rows_table
from .cached import HEAVY, not_hopeless
from .days import MadeDay, contract_of_market, made_days
from .fan_out import Outcome, fan_out, sentence_of
from .market_steps import DayRows, MarketMade, make_market
from .markets import DayParameters
from .outcomes import end_with
from .runner import runner

__all__ = ["FeatureParameters", "contracts", "features_flow", "market_of", "prepare_all"]


class FeatureParameters(DayParameters):
    """Which markets and days, and how their candidates are labelled."""

    fee_tier: str | None = Field(None, description="A tier of the markets' venue; none: its regular one")
    max_candidates: int = Field(MODEL.max_candidates, ge=1, le=500_000, description="Of a market, from all of its days")
    t: int = Field(MODEL.T, ge=20, le=100, description="Steps of a window")


@task(name="features and labels", retries=1, retry_delay_seconds=10, retry_condition_fn=not_hopeless, tags=[HEAVY])
def prepare(
    contract: tuple[str, str], days: dict[tuple[str, str], list[dict[str, Any]]], settings: dict[str, Any]
) -> dict[str, Any]:
    """One market; nothing is made again from the same days and settings."""
    made = make_market([MadeDay(**{**d, "warnings": tuple(d["warnings"])}) for d in days[contract]], **settings)
    return asdict(made)


def contracts(parameters: DayParameters) -> tuple[dict[tuple[str, str], list[MadeDay]], list[Outcome[Any, Any]]]:
    """The days that are there of each contract that is meant, and an outcome for each market of which none is there."""
    found: dict[tuple[str, str], list[MadeDay]] = {}
    missing: list[Outcome[Any, Any]] = []
    for market in parameters.markets:
        try:
            venue, symbol = contract_of_market(market)
        except Exception as error:  # one market must not stop the others, whatever lies at its source
            missing.append(Outcome(market.name, None, sentence_of(error)))
            continue
        there = {m.day: m for m in made_days(venue, symbol)}
        had = {d.isoformat() for d in parameters.simulated()} if market.source is None else there.keys()
        chosen = parameters.chosen([date.fromisoformat(d) for d in there if d in had])
        wanted = [there[d.isoformat()] for d in chosen]
        if wanted:
            found[venue, symbol] = wanted
        else:
            missing.append(Outcome(market.name, None, f"no day of {symbol} on {venue} was ingested: run ingest first"))
    return found, missing


def prepare_all(parameters: FeatureParameters) -> list[Outcome[Any, MarketMade]]:
    """An outcome for each market."""
    found, outcomes = contracts(parameters)
    settings = {"fee_tier": parameters.fee_tier, "max_candidates": parameters.max_candidates, "T": parameters.t}
    days = {contract: [asdict(m) for m in made] for contract, made in found.items()}
    for done in fan_out(prepare, list(found), name=lambda c: f"{c[1]} ({c[0]})", days=days, settings=settings):
        made = None if done.value is None else _market_made(done.value)
        outcomes.append(Outcome(f"{done.item[1]} ({done.item[0]})", made, done.error))
    return outcomes


def market_of(made: MarketMade) -> str:
    """What a market is called in the outcomes."""
    return f"{made.symbol} ({made.venue})"


@flow(
    name="features",
    description="Features, candidates, labels and the feature store.",
    task_runner=runner(),
    timeout_seconds=6 * 3600,
)
def features_flow(parameters: FeatureParameters | None = None) -> Any:
    """Build what is new of each market. Fails at the end if one could not be built."""
    outcomes = prepare_all(parameters or FeatureParameters())
    outcome_table(
        "features",
        "Markets",
        outcomes,
        lambda m: {
            "data": "SIMULATED" if m.simulated else "recorded",
            "days": len(m.days),
            "candidates": f"{m.candidates:,}",
            "fee tier": m.fee_tier,
        },
    )
    rows_table("features-by-day", "Rows and candidates by day", _by_day(outcomes))
    for done in outcomes:
        if not done.ok:
            get_run_logger().error("%s: %s", done.item, done.error)
    return end_with(outcomes, "markets built")


def _by_day(outcomes: Sequence[Outcome[Any, MarketMade]]) -> list[dict[str, Any]]:
    return [
        {
            "market": str(o.item),
            "day": d.day,
            "rows": f"{d.rows:,}",
            "valid": f"{100 * d.valid / max(d.rows, 1):.1f} %",
            "candidates": d.candidates,
            "targets": d.targets,
        }
        for o in outcomes
        if o.value is not None
        for d in o.value.days
    ]


def _market_made(told: dict[str, Any]) -> MarketMade:
    return MarketMade(**{**told, "days": tuple(DayRows(**d) for d in told["days"])})
