"""One day of one market at a time: raw data to a tape of its own, and days joined to the tape of the market.

::

    data/days/<YYYY-MM-DD>/<venue>/<symbol>/    the tape of a day, which opens with its book
                           .<symbol>.made.json  what it was made from
    data/tape/<venue>/<symbol>/                 the days joined: what features, labels and replays are made from

Each step tells by a hash of what it reads whether there is anything to do.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from feature_repo.errors import InputError
from feature_repo.fields import CATALOGUE_HASH
from feature_repo.paths import data_root

from .made import read_mark, write_mark
from .markets import SIMULATED_START, DayParameters, Market

__all__ = [
    "DayItem",
    "MadeDay",
    "cached_day",
    "contract_of_market",
    "ingest_day",
    "join_days",
    "made_days",
    "market_days",
    "stored_key",
    "tape_key",
]

Advance = Callable[[float], None]
_HOURS = 24.0
_CODE = version("ofi-meta")


@dataclass(frozen=True, slots=True)
class DayItem:
    """One day of one market."""

    market: Market
    day: date

    def __str__(self) -> str:
        return f"{self.market.name} {self.day.isoformat()}"


@dataclass(frozen=True, slots=True)
class MadeDay:
    """A day's tape, as plain values.

    Attributes
    ----------
    key : hash of what it was made from
    gaps : sequence breaks in it
    warnings : what a person should know of it
    fresh : whether this call made it
    """

    venue: str
    symbol: str
    day: str
    path: str
    key: str
    rows: int
    gaps: int
    simulated: bool
    warnings: tuple[str, ...]
    fresh: bool

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """From JSON."""
        return cls(**{**told, "warnings": tuple(told["warnings"])})


def days_root() -> Path:
    """Folder of the days' tapes."""
    return data_root() / "days"


def market_days(market: Market, parameters: DayParameters) -> list[DayItem]:
    """The days of a market that a run looks at.

    Raises
    ------
    InputError
        When nothing usable lies at its source, or none of its days is meant.
    """
    if market.source is None:
        days = parameters.simulated()
    else:
        from feature_repo.market.detect import choose_files
        from feature_repo.market.source_days import days_of

        days = days_of(choose_files(market.source, symbol=market.symbol, venue=market.venue))
    chosen = parameters.chosen(days)
    if not chosen:
        span = f"{days[0]} to {days[-1]}" if days else "no day"
        raise InputError(
            f"{market.name} has {span}, none from {parameters.first_day or 'the first'} to "
            f"{parameters.last_day or 'the last'}",
            "at least one day of it",
            "Give other days, or record these",
        )
    return [DayItem(market, day) for day in chosen]


def contract_of_market(market: Market) -> tuple[str, str]:
    """Venue and symbol, which files are asked for where they are not told.

    Raises
    ------
    InputError
        When nothing usable lies at its source.
    """
    if market.source is None:
        from feature_repo.market.simulator import Simulation

        return Simulation.venue, Simulation.symbol
    if market.venue is not None and market.symbol is not None:
        return market.venue, market.symbol
    from feature_repo.market.detect import choose_files

    named = [f for f in choose_files(market.source, symbol=market.symbol, venue=market.venue) if f.symbol]
    if not named or not named[0].venue:
        raise InputError(
            f"{market.source}, whose files do not name their contract in full", "symbol and venue", "Give both"
        )
    return named[0].venue, named[0].symbol


def day_key(item: DayItem) -> str:
    """Hash of what a day's tape is made from: the files' bytes, or the simulator's settings."""
    market = item.market
    read: Any
    if market.source is None:
        read = market.model_dump(mode="json", include={"seed", "edge", "mechanism", "rate"})
    else:
        from feature_repo.market.detect import choose_files
        from feature_repo.market.source_days import files_for
        from feature_repo.market.sources import file_sha256

        files = files_for(choose_files(market.source, symbol=market.symbol, venue=market.venue), item.day)
        read = [[f.path.name, file_sha256(f.path)] for f in files]
    text = json.dumps([read, item.day.isoformat(), market.symbol, market.venue, _CODE], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def ingest_day(item: DayItem, *, progress: Advance | None = None) -> MadeDay:
    """The tape of one day, made unless one of the same bytes is there.

    Raises
    ------
    InputError
        When the day's data cannot be used, or there is none.
    """
    from feature_repo.market.day_cut import DayCut
    from feature_repo.market.detect import choose_files
    from feature_repo.market.simulator import Simulation
    from feature_repo.market.source_days import day_stream
    from feature_repo.market.tape import open_tape, write_stream

    key, market = day_key(item), item.market
    if (before := _made_with(key, item.day)) is not None:
        return before
    if market.source is None:
        # A shorter simulation is the beginning of a longer one: the day is the same however many follow it.
        longer = Simulation(
            seed=market.seed,
            hours=_HOURS * ((item.day - SIMULATED_START).days + 1),
            edge=market.edge,
            mechanism=market.mechanism,
            rate=market.rate,
            start=SIMULATED_START.isoformat(),
            progress=progress,
        )
        stream = DayCut(longer, item.day)
    else:
        files = choose_files(market.source, symbol=market.symbol, venue=market.venue)
        stream = day_stream(files, item.day, venue_assumed=market.venue is None, progress=progress)
    tape = open_tape(write_stream(stream, days_root() / item.day.isoformat()))
    made = MadeDay(
        tape.venue,
        tape.symbol,
        item.day.isoformat(),
        str(tape.path),
        key,
        tape.rows,
        int(tape.manifest.get("gaps", 0)),
        tape.simulated,
        tuple(tape.manifest.get("warnings", ())),
        True,
    )
    write_mark(_mark(tape.path), key, asdict(made))
    return made


def cached_day(item: DayItem) -> list[str] | None:
    """What a result kept for a day is known by: its key and where its tape lies; None while there is none."""
    made = _made_with(day_key(item), item.day)
    return None if made is None else [made.key, made.path]


def made_days(venue: str, symbol: str) -> list[MadeDay]:
    """The days of a contract that are there, in order."""
    found = [_read_mark(mark) for mark in sorted(days_root().glob(f"*/{venue}/.{symbol}.made.json"))]
    return sorted((m for m in found if m is not None and Path(m.path).is_dir()), key=lambda m: m.day)


def join_days(days: Sequence[MadeDay], *, progress: Advance | None = None) -> Path:
    """The market's tape made of these days. One that already is stays as it is.

    Raises
    ------
    InputError
        When there is no day, or they do not follow each other.
    """
    from feature_repo.market.joined import Joined
    from feature_repo.market.tape import open_tape, write_stream

    joined = Joined([open_tape(m.path) for m in days])
    folder = data_root() / "tape" / joined.venue / joined.symbol
    wanted = joined.facts()["joined"]
    with suppress(InputError, OSError):
        if open_tape(folder).manifest.get("joined") == wanted:
            return folder
    return write_stream(joined, data_root() / "tape", progress=progress)


def tape_key(tape: Path) -> str:
    """Hash of a stored tape's rows and of what features depend on beside them."""
    manifest = json.loads((Path(tape) / "manifest.json").read_text())
    text = json.dumps([manifest["venue"], manifest["symbol"], manifest["days"], CATALOGUE_HASH, _CODE], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def stored_key(*parts: object) -> str:
    """One hash of several keys and settings."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _mark(tape: Path) -> Path:
    return tape.with_name(f".{tape.name}.made.json")


def _made_with(key: str, day: date) -> MadeDay | None:
    """A day made from just this, whose tape is still there, whole."""
    from feature_repo.market.tape import open_tape

    for made in _marks_of(day):
        if made.key != key:
            continue
        with suppress(InputError, OSError):
            if open_tape(made.path).rows == made.rows:
                return replace(made, fresh=False)
    return None


def _marks_of(day: date) -> Iterator[MadeDay]:
    for mark in sorted((days_root() / day.isoformat()).glob("*/.*.made.json")):
        made = _read_mark(mark)
        if made is not None:
            yield made


def _read_mark(mark: Path) -> MadeDay | None:
    """What a mark says; None for one that is damaged, so that the day is made again."""
    told = read_mark(mark)
    try:
        return None if told is None else MadeDay.of(told)
    except (TypeError, KeyError):
        return None
