"""What the flows over whole markets share: a task for each prepared market, its folders, its day and its releases."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import Field

from feature_repo.errors import InputError
from runtime.bundle import read_release

from .fan_out import Outcome, fan_out
from .market_steps import MarketMade
from .prepare import FeatureParameters, prepare_all

if TYPE_CHECKING:
    from prefect import Task

__all__ = ["MarketParameters", "each_market", "judged_day", "newest_candidate"]

Value = TypeVar("Value")


class MarketParameters(FeatureParameters):
    """Which markets and days, and where what is made of each of them goes."""

    out: Path = Field(Path("reports"), description="Folder of the reports; with several markets one in it for each")
    releases: Path = Field(Path("releases"), description="Folder of the releases; with several markets likewise")

    def place(self, folder: Path, made: MarketMade) -> Path:
        """A market's part of an output folder: the folder itself where it is the only market."""
        return folder if len(self.markets) == 1 else folder / made.symbol


def each_market(task: Task[..., Value], parameters: MarketParameters) -> list[Outcome[str, Value]]:
    """Prepare the markets and submit ``task(made, parameters)`` for each that is ready; all are waited for.

    Returns
    -------
    list
        An outcome for each market by its name, "<symbol> (<venue>)" where that is known: those that cannot be prepared
        first, as failed ones.
    """
    prepared = prepare_all(parameters)
    failed = [Outcome(o.item, None, o.error) for o in prepared if not o.ok]
    ready = [o.value for o in prepared if o.value is not None]
    done = fan_out(task, ready, name=lambda m: m.symbol, parameters=parameters)
    return [*failed, *(Outcome(d.item.name, d.value, d.error) for d in done)]


def judged_day(made: MarketMade, asked: date | None, *, today: date | None = None) -> date:
    """The day by which a market is judged: the one that was asked for, or the last one that is over.

    A recording that goes on has a few hours of the day on which the night runs: judged by those, most of every day
    would never be looked at. Where no day is over, the last one there is.

    Parameters
    ----------
    today : UTC; None: by the clock
    """
    if asked is not None:
        return asked
    today = datetime.now(UTC).date() if today is None else today
    days = [date.fromisoformat(d.day) for d in made.days]
    return max((d for d in days if d < today), default=days[-1])


def newest_candidate(releases: Path, made: MarketMade) -> str | None:
    """Tag of the release of a market's contract that was trained last and never rolled out; None without one."""
    found = []
    for folder in releases.glob("*"):
        manifest_file = folder / "manifest.json"
        if folder.is_symlink() or not manifest_file.is_file():
            continue
        try:
            manifest = read_release(folder).manifest
        except InputError:
            continue  # damaged: `ofi-meta release list` tells of it
        if manifest.rollout is None and (manifest.venue, manifest.symbol) == (made.venue, made.symbol):
            found.append((manifest_file.stat().st_mtime_ns, manifest.tag))
    return max(found)[1] if found else None
