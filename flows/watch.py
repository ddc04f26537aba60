"""Drift and calibration: each market's last day against the training span of the release that serves."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from .environment import configure

configure()

# ruff: noqa: E402  prefect reads its settings when it is imported
from prefect import flow, get_run_logger, task
from pydantic import Field

from feature_repo.errors import InputError
from reports.page_index import write_index
from runtime.alerts import send_alert
from runtime.release_state import CURRENT_NAME

from .artifacts import file_link, outcome_table
from .cached import HEAVY, not_hopeless
from .drift import run_drift
from .fan_out import Outcome, fan_out
from .market_steps import MarketMade
from .outcomes import end_with
from .prepare import FeatureParameters, market_of, prepare_all
from .retrain import place_of
from .runner import runner

__all__ = ["DriftParameters", "Watched", "drift_flow", "watch_all"]


class DriftParameters(FeatureParameters):
    """Which markets and days, and where the reports go."""

    day: date | None = Field(None, description="Which day is judged, UTC; none: the last one of each market")
    release: str | None = Field(None, description="A tag; none: what serves, or else the newest candidate")
    timed: int = Field(100, ge=0, le=1000, description="Candidates of the day whose decision is timed")
    out: Path = Field(Path("reports"), description="Folder of the reports; with several markets one in it for each")
    releases: Path = Field(Path("releases"), description="Folder of the releases; with several markets likewise")


@dataclass(frozen=True, slots=True)
class Watched:
    """What a market's day looked like; plain values."""

    symbol: str
    venue: str
    simulated: bool
    day: str
    release: str
    status: str
    path: str
    flagged: tuple[str, ...]


@task(name="drift", retries=1, retry_delay_seconds=10, retry_condition_fn=not_hopeless, tags=[HEAVY])
def watch(made: MarketMade, parameters: DriftParameters) -> dict[str, Any]:
    """One market. The release is asked as if it were rolled out in full."""
    several = len(parameters.markets)
    releases = place_of(parameters.releases, made.symbol, several)
    out = place_of(parameters.out, made.symbol, several)
    day = made.days[-1].day if parameters.day is None else parameters.day.isoformat()
    release = releases / (parameters.release or _watched_tag(releases))
    result = run_drift(
        release, Path(made.tape), Path(made.features), Path(made.labels), day, out, time_last=parameters.timed
    )
    write_index(out, releases=releases)
    flagged = tuple(f"{c.name}: {c.status}, {c.note or c.threshold}" for c in result.checks if _loud(c.status))
    return asdict(
        Watched(
            made.symbol,
            made.venue,
            made.simulated,
            day,
            release.resolve().name,
            result.status,
            str(result.path),
            flagged,
        )
    )


def watch_all(parameters: DriftParameters) -> list[Outcome[Any, Watched]]:
    """An outcome for each market; an ALERT is told to the webhook, too."""
    prepared = prepare_all(parameters)
    outcomes: list[Outcome[Any, Watched]] = [Outcome(o.item, None, o.error) for o in prepared if not o.ok]
    ready = [o.value for o in prepared if o.value is not None]
    for done in fan_out(watch, ready, name=lambda m: m.symbol, parameters=parameters):
        value = None if done.value is None else Watched(**{**done.value, "flagged": tuple(done.value["flagged"])})
        outcomes.append(Outcome(market_of(done.item), value, done.error))
    for done in outcomes:
        if done.value is None:
            continue
        file_link(f"drift-{done.value.symbol}", f"Drift report of {done.item}", Path(done.value.path) / "index.html")
        if done.value.status == "ALERT":
            send_alert({"event": "drift alert", **asdict(done.value)})
    return outcomes


@flow(
    name="drift",
    description="The last day against the release's training span: drift, calibration, costs, data quality.",
    task_runner=runner(),
    timeout_seconds=2 * 3600,
)
def drift_flow(parameters: DriftParameters | None = None) -> Any:
    """Write each market's report. Fails at the end where a market could not be judged, and for an ALERT."""
    outcomes = watch_all(parameters or DriftParameters())
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
    for done in outcomes:
        if not done.ok:
            get_run_logger().error("%s: %s", done.item, done.error)
    return end_with([alarm(o) for o in outcomes], "markets without an alert", lambda w: f"{w.status} on {w.day}")


def alarm(outcome: Outcome[Any, Watched]) -> Outcome[Any, Watched]:
    """An ALERT as an error, so that the run is seen to fail and says what to do."""
    if outcome.value is None or outcome.value.status != "ALERT":
        return outcome
    flagged = ", ".join(f.partition(":")[0] for f in outcome.value.flagged if ": ALERT" in f)
    return Outcome(
        outcome.item, outcome.value, f"ALERT on {outcome.value.day} ({flagged}): find out why, and run retrain"
    )


def _loud(status: str) -> bool:
    return status in ("WARN", "ALERT")


def _watched_tag(releases: Path) -> str:
    """What serves, or the newest candidate."""
    if (releases / CURRENT_NAME).exists():
        return CURRENT_NAME
    found = [p for p in releases.glob("*") if (p / "manifest.json").is_file()]
    if not found:
        raise InputError(f"no release in {releases}", "at least a candidate", "Run retrain first")
    return max(found, key=lambda p: (p / "manifest.json").stat().st_mtime_ns).name
