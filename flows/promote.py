"""Promotion and rollback: what the reports of the night mean for the releases of each market."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from .environment import configure

configure()

# ruff: noqa: E402  prefect reads its settings when it is imported
from prefect import flow, get_run_logger, task
from pydantic import Field

from feature_repo.errors import InputError
from reports.promotion import promotion_dict
from runtime.release_state import state

from .artifacts import file_link, outcome_table, page_text
from .by_market import MarketParameters, each_market, judged_day, newest_candidate
from .cached import HEAVY, not_hopeless
from .day_trades import DayTrade, day_trades
from .days import made_days
from .market_steps import MarketMade, one_at_a_time
from .outcomes import end_with
from .promotion import decide_releases
from .runner import runner

__all__ = ["PromoteParameters", "promote_flow"]


class PromoteParameters(MarketParameters):
    """Which markets, and what a promotion takes."""

    day: date | None = Field(
        None, description="Day by which the serving release is judged; none: the last one that is over"
    )
    allow_simulated: bool = Field(
        False, description="Rehearsal: let a release made of SIMULATED data pass that rule; everything says SIMULATED"
    )


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of a market's releases.

    Attributes
    ----------
    headlines : ``told`` without the reasons that keep a candidate back
    rules : those of promotion.json
    """

    symbol: str
    simulated: bool
    before: str
    after: str
    told: tuple[str, ...]
    headlines: tuple[str, ...]
    rolled_back: str | None
    rules: tuple[dict[str, Any], ...]
    out: Path


@task(name="promote or roll back", retries=1, retry_delay_seconds=10, retry_condition_fn=not_hopeless, tags=[HEAVY])
def promote(made: MarketMade, parameters: PromoteParameters) -> Moved:
    """One market. The candidate is its newest release, and its drift that of the day's report.

    Running it twice changes nothing the second time.
    """
    releases, out = (parameters.place(folder, made) for folder in (parameters.releases, parameters.out))
    day = judged_day(made, parameters.day)
    with one_at_a_time(made.venue, made.symbol):
        trades, why = _trades(made, releases, day)
    decided = decide_releases(
        releases,
        out,
        now_ns=time.time_ns(),
        candidate=newest_candidate(releases, made),
        day=None if trades is None else day,
        trades=trades,
        drift_status=_drift_status(out, made.symbol, day),
        allow_simulated=parameters.allow_simulated,
    )
    promotion = decided.promotion
    told = (*([why] if why else []), *decided.told)
    return Moved(
        made.symbol,
        made.simulated,
        decided.before,
        decided.after,
        told,
        told if promotion is None else tuple(t for t in told if t not in promotion.reasons),
        decided.rolled_back,
        () if promotion is None else tuple(promotion_dict(promotion)["rules"]),
        out,
    )


@flow(
    name="promote",
    description="Promotion by rule, steps of the roll-out, rollback.",
    task_runner=runner(),
    timeout_seconds=2 * 3600,
)
def promote_flow(parameters: PromoteParameters | None = None) -> Any:
    """Decide for each market. 'Stays a candidate' is a result; only what could not be decided fails the run."""
    outcomes = each_market(promote, parameters or PromoteParameters())
    for done in outcomes:
        if done.value is not None:
            page_text(f"promotion-{done.value.symbol}", f"Releases of {done.item}", _markdown(done.value))
            file_link(f"page-{done.value.symbol}", f"Page of {done.item}", done.value.out / "index.html")
    outcome_table(
        "promote",
        "Releases",
        outcomes,
        lambda m: {
            "before": m.before,
            "after": m.after,
            "rolled back": m.rolled_back or "",
            "told": "; ".join(m.headlines),
        },
    )
    for done in outcomes:
        if done.value is not None and done.value.rolled_back:
            get_run_logger().error("%s rolled back: %s", done.item, done.value.rolled_back)
    return end_with(outcomes, "markets decided", _came_to)


def _trades(made: MarketMade, releases: Path, day: date) -> tuple[list[DayTrade] | None, str]:
    """The day's trades of what serves, and why there are none to judge by."""
    now = state(releases) if releases.is_dir() else None
    if now is None:
        return None, ""
    tape = next((m.path for m in made_days(made.venue, made.symbol) if m.day == day.isoformat()), None)
    if tape is None:
        return None, f"no tape of {day}"
    try:
        return (
            day_trades(
                releases / now.tag, day, tape=Path(tape), features=Path(made.features), labels=Path(made.labels)
            ),
            "",
        )
    except InputError as error:
        return None, str(error)


def _drift_status(out: Path, symbol: str, day: date) -> str | None:
    """Of the day's report; None where there is none that can be read."""
    try:
        told = json.loads((out / "drift" / symbol / day.isoformat() / "drift.json").read_text(encoding="utf-8"))
        return str(told["status"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _came_to(moved: Moved) -> str:
    serves = f"{moved.after} serves" if moved.before == moved.after else f"{moved.before} → {moved.after}"
    return "; ".join([serves, *moved.headlines])


def _markdown(moved: Moved) -> str:
    lines = ["**SIMULATED DATA: says nothing about a real market**\n"] if moved.simulated else []
    lines += [f"{moved.before} → **{moved.after}**\n", *(f"- {sentence}" for sentence in moved.told)]
    if moved.rules:
        lines += ["", "| rule | status | value | wanted | note |", "|---|---|--:|---|---|"]
        for rule in moved.rules:
            value = "-" if rule["value"] is None else f"{rule['value']:.4g}"
            lines.append(f"| {rule['title']} | {rule['status']} | {value} | {rule['threshold']} | {rule['note']} |")
    return "\n".join(lines)
