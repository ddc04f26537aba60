"""Raw data to the tapes of its days: every market and day by itself, side by side, none of them twice."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from .environment import configure

configure()

# ruff: noqa: E402  prefect reads its settings when it is imported
from prefect import flow, task

from .artifacts import outcome_table
from .cached import HEAVY, cached_by, not_hopeless
from .days import DayItem, MadeDay, cached_day, ingest_day, market_days
from .fan_out import Outcome, fan_out, sentence_of
from .markets import DayParameters
from .outcomes import end_with
from .runner import runner

__all__ = ["ingest_flow"]


@task(
    name="ingest",
    retries=2,
    retry_delay_seconds=[5, 30],
    retry_condition_fn=not_hopeless,
    tags=[HEAVY],
    **cached_by(cached_day),
)
def ingest(item: DayItem) -> dict[str, Any]:
    """The tape of one day of one market."""
    return asdict(ingest_day(item))


def ingest_all(parameters: DayParameters) -> list[Outcome[Any, MadeDay]]:
    """An outcome for each day of each market; for a market whose source cannot be used, one for the market."""
    outcomes: list[Outcome[Any, MadeDay]] = []
    items: list[DayItem] = []
    for market in parameters.markets:
        try:
            items += market_days(market, parameters)
        except Exception as error:  # one market must not stop the others, whatever lies at its source
            outcomes.append(Outcome(market.name, None, sentence_of(error)))
    for done in fan_out(ingest, items):
        outcomes.append(Outcome(done.item, None if done.value is None else MadeDay.of(done.value), done.error))
    return outcomes


@flow(
    name="ingest",
    description="Raw data to the tapes of its days.",
    task_runner=runner(),
    timeout_seconds=6 * 3600,
)
def ingest_flow(parameters: DayParameters | None = None) -> Any:
    """Make the tape of each day that is new, or whose files changed. Fails at the end if a day could not be made."""
    outcomes = ingest_all(parameters or DayParameters())
    outcome_table(
        "ingest",
        "Days and their tapes",
        outcomes,
        lambda m: {
            "symbol": f"{m.symbol} ({m.venue})",
            "rows": f"{m.rows:,}",
            "gaps": m.gaps,
            "data": "SIMULATED" if m.simulated else "recorded",
            "told": "; ".join(m.warnings),
        },
    )
    return end_with(outcomes, "days ingested")
