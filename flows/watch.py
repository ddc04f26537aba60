"""Drift and calibration: each market's last day against the training span of the release that serves."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from .environment import configure

configure()

# ruff: noqa: E402  prefect reads its settings when it is imported
from prefect import flow, task
from pydantic import Field

from reports.drift import ALERT, NA, WARN
from reports.page_index import write_index
from runtime.alerts import send_alert
from runtime.release_state import CURRENT_NAME

from .artifacts import file_link, outcome_table
from .by_market import MarketParameters, each_market, judged_day, newest_candidate
from .cached import HEAVY, not_hopeless
from .drift import run_drift
from .fan_out import Outcome
from .market_steps import MarketMade, one_at_a_time
from .outcomes import end_with
from .runner import runner

__all__ = ["DriftParameters", "drift_flow"]


class DriftParameters(MarketParameters):
    """Which markets and days, and what of them is judged."""

    day: date | None = Field(
        None, description="Which day is judged, UTC; none: the last one of each market that is over"
    )
    release: str | None = Field(None, description="A tag; none: what serves, or else the newest candidate")
    timed: int = Field(100, ge=0, le=1000, description="Candidates of the day whose decision is timed")


@dataclass(frozen=True, slots=True)
class Watched:
    """What a market's day looked like; plain values. Without a release yet, N/A and no page."""

    symbol: str
    venue: str
    simulated: bool
    day: str
    release: str
    status: str
    path: str
    flagged: tuple[str, ...]


@task(name="drift", retries=1, retry_delay_seconds=10, retry_condition_fn=not_hopeless, tags=[HEAVY])
def watch(made: MarketMade, parameters: DriftParameters) -> Watched:
    """One market. The release is asked as if it were rolled out in full; a market that has none yet is no failure."""
    releases, out = (parameters.place(folder, made) for folder in (parameters.releases, parameters.out))
    day = judged_day(made, parameters.day).isoformat()
    tag = parameters.release or _watched_tag(releases, made)
    if tag is None:
        return Watched(made.symbol, made.venue, made.simulated, day, "", NA, "", ("no release to compare with yet",))
    release = releases / tag
    with one_at_a_time(made.venue, made.symbol):
        result = run_drift(
            release, Path(made.tape), Path(made.features), Path(made.labels), day, out, time_last=parameters.timed
        )
    write_index(out, releases=releases)
    loud = (c for c in result.checks if c.status in (WARN, ALERT))
    return Watched(
        made.symbol,
        made.venue,
        made.simulated,
        day,
        release.resolve().name,
        result.status,
        str(result.path),
        tuple(f"{c.name}: {c.status}, {c.note or c.threshold}" for c in loud),
    )


@flow(
    name="drift",
    description="The last day against the release's training span: drift, calibration, costs, data quality.",
    task_runner=runner(),
    timeout_seconds=2 * 3600,
)
def drift_flow(parameters: DriftParameters | None = None) -> Any:
    """Write each market's report. Fails at the end where a market could not be judged, and for an ALERT.

    An ALERT is told to the webhook, too.
    """
    outcomes = each_market(watch, parameters or DriftParameters())
    for done in outcomes:
        if done.value is None or not done.value.path:
            continue
        file_link(f"drift-{done.value.symbol}", f"Drift report of {done.item}", Path(done.value.path) / "index.html")
        if done.value.status == ALERT:
            send_alert({"event": "drift alert", **asdict(done.value)})
    outcome_table(
        "drift",
        "Drift and calibration",
        outcomes,
        lambda w: {
            "status": w.status,
            "day": w.day,
            "release": w.release,
            "data": "SIMULATED" if w.simulated else "recorded",
            "flagged": "; ".join(w.flagged[:5]) + (f" and {len(w.flagged) - 5} more" if len(w.flagged) > 5 else ""),
        },
    )
    return end_with([_alarm(o) for o in outcomes], "markets without an alert", _told)


def _told(watched: Watched) -> str:
    return f"{watched.status} on {watched.day}" + ("" if watched.release else ", no release to compare with yet")


def _alarm(outcome: Outcome[str, Watched]) -> Outcome[str, Watched]:
    """An ALERT as an error, so that the run is seen to fail and says what to do."""
    if outcome.value is None or outcome.value.status != ALERT:
        return outcome
    flagged = ", ".join(f.partition(":")[0] for f in outcome.value.flagged if f": {ALERT}" in f)
    return Outcome(
        outcome.item, outcome.value, f"ALERT on {outcome.value.day} ({flagged}): find out why, and run retrain"
    )


def _watched_tag(releases: Path, made: MarketMade) -> str | None:
    """What serves, or else the newest candidate. A link to a release that is gone is no missing release."""
    current = releases / CURRENT_NAME
    return CURRENT_NAME if current.is_symlink() or current.exists() else newest_candidate(releases, made)
