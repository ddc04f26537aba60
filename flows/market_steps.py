"""From the days of a market to what a training needs: the joined tape, its features, its labels, the feature store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from feature_repo.constants import MODEL
from feature_repo.market.tape import open_tape
from feature_repo.partitions import day_name, day_of
from feature_repo.paths import data_root
from feature_repo.replaced import locked
from feature_repo.store import feast_root
from feature_repo.table import FeatureTable
from meta_models.label_io import labels_from_parquet
from reports.records import OUTCOMES

from . import steps
from .days import MadeDay, join_days, stored_key, tape_key
from .made import unless_made
from .progress import parts

__all__ = ["DayRows", "MarketMade", "make_market", "one_at_a_time"]

Advance = Callable[[float], None]
_VIEWS = ("window_sequence", "candidate_context")
"""What a training reads of the feature store."""


@dataclass(frozen=True, slots=True)
class DayRows:
    """What one UTC day came to.

    Attributes
    ----------
    rows : 100 ms rows, of which ``valid`` have a valid book
    candidates, targets : found there, and labelled so
    """

    day: str
    rows: int
    valid: int
    candidates: int
    targets: int


@dataclass(frozen=True, slots=True)
class MarketMade:
    """Where a market's tape, features and labels lie; plain values.

    Attributes
    ----------
    found : candidates of its days, of which ``candidates`` were labelled
    """

    venue: str
    symbol: str
    simulated: bool
    tape: str
    features: str
    labels: str
    fee_tier: str
    found: int
    days: tuple[DayRows, ...]
    fresh: bool

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.symbol} ({self.venue})"

    @property
    def candidates(self) -> int:
        """Labelled ones, of all days."""
        return sum(d.candidates for d in self.days)


@contextmanager
def one_at_a_time(venue: str, symbol: str) -> Iterator[None]:
    """Hold a market: whoever makes its features or reads them waits for whoever does so already.

    Else the hourly features would be joined anew under a training of the night.
    """
    folder = data_root() / "busy"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / f"{venue}-{symbol}.lock"):
        yield


def make_market(
    days: Sequence[MadeDay],
    *,
    fee_tier: str | None = None,
    max_candidates: int = MODEL.max_candidates,
    draw: str = "even",
    T: int = MODEL.T,
    progress: Advance | None = None,
) -> MarketMade:
    """Join the days of one contract, build features, find and label the candidates, fill the store.

    Nothing is made again from the same days and settings.

    Parameters
    ----------
    days : of one contract
    fee_tier, max_candidates, draw, T : see ``steps.make_labels`` and ``steps.fill_store``

    Raises
    ------
    InputError
        When the days cannot be used together, or the tier is none of the venue's.
    """
    bars = parts(progress, (0.2, 0.4, 0.3, 0.1))
    tape = join_days(days, progress=next(bars))
    stored, key = open_tape(tape), tape_key(tape)
    fee = steps.fee_of(stored.venue, fee_tier)
    told, _ = unless_made(
        data_root() / "features" / stored.venue / f".{stored.symbol}.made.json",
        key,
        lambda: {"features": str(steps.make_features(tape, progress=next(bars)))},
        outputs=lambda m: _files(Path(m["features"])),
    )
    features = Path(told["features"])

    def label() -> dict[str, object]:
        made = steps.make_labels(
            tape, features, fee, max_candidates=max_candidates, draw=draw, progress=next(bars)
        )  # fmt: skip
        steps.fill_store(features, made.path, fee, T=T, progress=next(bars))
        return {
            "labels": str(made.path),
            "found": made.found,
            "days": [asdict(d) for d in _by_day(features, made.path)],
        }

    told, fresh = unless_made(
        data_root() / "labels" / stored.venue / f".{stored.symbol}.made.json",
        stored_key(key, asdict(fee), max_candidates, draw, T),
        label,
        outputs=lambda m: [*_files(Path(m["labels"])), *_files(*(feast_root() / v / stored.symbol for v in _VIEWS))],
    )
    return MarketMade(
        stored.venue,
        stored.symbol,
        stored.simulated,
        str(tape),
        str(features),
        told["labels"],
        fee.name,
        told["found"],
        tuple(DayRows(**d) for d in told["days"]),
        fresh,
    )


def _files(*places: Path) -> list[Path]:
    """Files, and all files of folders, that are there."""
    return [file for place in places for file in (place, *place.rglob("*")) if file.is_file()]


def _by_day(features: Path, labels: Path) -> list[DayRows]:
    """Counts of each day that has a row; a candidate belongs to the day of the window that fired it."""
    market, file = FeatureTable.load(features).market, labels_from_parquet(labels)
    rows, asked = day_of(market["t_ns"]), day_of(file.labels["ts_ns"])
    target = file.labels["outcome"] == OUTCOMES.index("target")
    return [
        DayRows(
            day_name(day),
            int((rows == day).sum()),
            int(market["valid"][rows == day].sum()),
            int((asked == day).sum()),
            int(target[asked == day].sum()),
        )
        for day in np.unique(rows).tolist()
    ]
