"""Features and labels: the days of each market joined, its 100 ms rows, its labelled candidates, the feature store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from .environment import configure

configure()

# ruff: noqa: E402  prefect reads its settings when it is imported
from prefect import flow, task
from pydantic import Field

from feature_repo.constants import MODEL
from feature_repo.errors import InputError

from .artifacts import outcome_table, rows_table
from .cached import HEAVY, not_hopeless
from .days import MadeDay, contract_of_market, made_days
from .fan_out import Outcome, fan_out, sentence_of
from .market_steps import MarketMade, make_market, one_at_a_time
from .markets import DayParameters
from .outcomes import end_with
from .runner import runner

__all__ = ["FeatureParameters", "contracts", "features_flow", "prepare_all"]

Contract = tuple[str, str]
"""Venue and symbol."""


class FeatureParameters(DayParameters):
    """Which markets and days, and how their candidates are labelled."""

    fee_tier: str | None = Field(None, description="A tier of the markets' venue; none: its regular one")
    max_candidates: int = Field(MODEL.max_candidates, ge=1, le=500_000, description="Of a market, from all of its days")
    t: int = Field(MODEL.T, ge=20, le=100, description="Steps of a window")


@task(name="features and labels", retries=1, retry_delay_seconds=10, retry_condition_fn=not_hopeless, tags=[HEAVY])
def prepare(market: tuple[Contract, list[MadeDay]], settings: dict[str, Any]) -> MarketMade:
    """One market; nothing is made again from the same days and settings."""
    (venue, symbol), days = market
    with one_at_a_time(venue, symbol):
        return make_market(days, **settings)


def contracts(parameters: DayParameters) -> tuple[dict[Contract, list[MadeDay]], list[Outcome[str, Any]]]:
    """The days that are there of each contract that is meant, and an outcome for each market that cannot be built.

    Of a symbol on several venues only the first is built: the feature store, the folders of the reports and those of
    the releases know it by its symbol alone.
    """
    found: dict[Contract, list[MadeDay]] = {}
    missing: list[Outcome[str, Any]] = []
    for market in parameters.markets:
        try:
            venue, symbol = contract_of_market(market)
        except Exception as error:  # one market must not stop the others, whatever lies at its source
            missing.append(Outcome(market.name, None, sentence_of(error)))
            continue
        other = next((c for c in found if c[1] == symbol and c[0] != venue), None)
        if other is not None:
            refused = InputError(
                f"{_named((venue, symbol))} beside {_named(other)}",
                "one venue a symbol: the feature store and the releases know it by its symbol",
                "Give it a run with a data folder (OFI_META_DATA) and output folders of its own",
            )
            missing.append(Outcome(market.name, None, str(refused)))
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


def prepare_all(parameters: FeatureParameters) -> list[Outcome[str, MarketMade]]:
    """An outcome for each market, by its name."""
    found, outcomes = contracts(parameters)
    settings = {"fee_tier": parameters.fee_tier, "max_candidates": parameters.max_candidates, "T": parameters.t}
    done = fan_out(prepare, found.items(), name=lambda market: _named(market[0]), settings=settings)
    return outcomes + [Outcome(_named(d.item[0]), d.value, d.error) for d in done]


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


def _named(contract: Contract) -> str:
    return f"{contract[1]} ({contract[0]})"
