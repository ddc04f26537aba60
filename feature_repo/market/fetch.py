"""Download days of Tardis CSV: each file whole and checked, or not there at all."""

from __future__ import annotations

import asyncio
import datetime as dt
import fcntl
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..instruments import instrument
from ..paths import atomic_path
from .fetch_file import API_KEY, Day, download, look, size_told
from .sources import sha256_of
from .tardis_head import VENUES

__all__ = ["SUMS_NAME", "TYPES", "Fetched", "default_types", "fetch"]

_EXCHANGES = {venue: exchange for exchange, venue in VENUES.items()}
"""Tardis' name of each venue."""

TYPES = (
    "incremental_book_L2",
    "trades",
    "quotes",
    "liquidations",
    "derivative_ticker",
    "book_snapshot_25",
    "book_snapshot_5",
    "book_ticker",
)
"""Data types that an import reads."""

SUMS_NAME = "SHA256SUMS.json"
"""Beside the files: name -> {size, sha256}, and {empty: true} for a file that Tardis has without rows."""

_SPOT_TYPES = TYPES[:3]
_PERPETUAL_TYPES = TYPES[:5]
_STAGING = ".fetching"  # hidden: an import passes over it
_ENDPOINT = "OFI_META_TARDIS_ENDPOINT"

Progress = Callable[[str, int, "int | None"], None]


@dataclass(frozen=True)
class Fetched:
    """One file of the day.

    Attributes
    ----------
    path : where it lies; nothing lies there when it is ``empty``
    sha256, size : of the .gz; "" and 0 when it is ``empty``
    fetched : whether this call downloaded it; False: it was there, and its sha256 fits
    data_type : Tardis' name of it
    empty : Tardis has no row of this type on this day, which is common for liquidations
    """

    path: Path
    sha256: str
    size: int
    fetched: bool
    data_type: str
    empty: bool = False


def default_types(venue: str) -> tuple[str, ...]:
    """Data types of a day that an import makes use of; a spot venue has neither liquidations nor funding."""
    return _SPOT_TYPES if venue.endswith("_spot") else _PERPETUAL_TYPES


def fetch(
    symbol: str,
    date: str,
    *,
    venue: str = "binance_usdm",
    types: Sequence[str] | None = None,
    folder: str | Path,
    endpoint: str | None = None,
    progress: Progress | None = None,
    force: bool = False,
    patience_s: float = 60.0,
) -> list[Fetched]:
    """Download one day of one symbol to ``folder/<venue>/<symbol>/``, through tardis-dev.

    Tardis gives the first day of every month to anybody; other days need a key in ``$TARDIS_API_KEY``. A file that is
    there with the sha256 of ``SHA256SUMS.json`` is not fetched again, so that a run that was cut goes on with the file
    it was at; that file starts again from its first byte, because tardis-dev resumes whole files only. A file gets
    its name after it was unpacked to its end and found to hold rows of this symbol and day.

    Parameters
    ----------
    date : YYYY-MM-DD, UTC
    types : of ``TYPES``; None: ``default_types``
    endpoint : of Tardis' datasets; None: ``$OFI_META_TARDIS_ENDPOINT``, else Tardis itself
    progress : called with the data type, the bytes so far, and how many there will be or None where unknown
    force : replace a file that was changed since it was fetched, or is damaged; otherwise such a file is an error
    patience_s : seconds without a single byte after which the server is given up

    Returns
    -------
    One entry a type, in the order asked for

    Raises
    ------
    InputError
        For a venue, symbol, date or type that Tardis does not give, a server that cannot be reached, refuses or goes
        on failing, a file that is damaged or of something else, and a file of before that no longer fits. What was
        fetched until then stays.
    """
    day = _asked(symbol, date, venue, endpoint, patience_s)
    types = _checked_types(default_types(venue) if types is None else types)
    target = Path(folder) / venue / day.symbol
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{target} cannot be made ({error.strerror})", "a writable folder", "Give another") from error
    with _alone(target):
        shutil.rmtree(target / _STAGING, ignore_errors=True)  # what a killed run left
        try:
            done = [_one(day, data_type, target, progress, force) for data_type in types]
        finally:
            shutil.rmtree(target / _STAGING, ignore_errors=True)
    if all(f.empty for f in done):
        raise InputError(
            f"{day.endpoint} has no row of {day.symbol} on {day.exchange}, {day.date}",
            "a day on which the symbol traded",
            "Give another DATE",
        )
    return done


def _asked(symbol: str, date: str, venue: str, endpoint: str | None, patience_s: float) -> Day:
    if venue not in _EXCHANGES:
        raise InputError(f"venue {venue!r}", f"one of {', '.join(_EXCHANGES)}", "Give one of these as VENUE")
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", symbol):
        raise InputError(f"symbol {symbol!r}", "a name like ETHUSDT or ETH-USDT-SWAP", "Give the exchange's own name")
    symbol = symbol.upper()
    instrument(venue, symbol)  # before a gigabyte comes that no import would take
    # fromisoformat alone also takes 20240801 and 2024-W31-4.
    try:
        day = dt.date.fromisoformat(date if re.fullmatch(r"\d{4}-\d{2}-\d{2}", date) else "")
    except ValueError as error:
        raise InputError(f"date {date!r}", "YYYY-MM-DD", "Give a day like 2024-08-01") from error
    key = os.environ.get(API_KEY, "").strip()
    if day.day != 1 and not key:
        raise InputError(
            f"{day} is not the first of a month",
            f"a first of a month, which Tardis gives to anybody, or an API key in {API_KEY}",
            f"Take {day.replace(day=1)} or set {API_KEY}",
        )
    endpoint = endpoint or os.environ.get(_ENDPOINT)
    if not endpoint:
        from tardis_dev import DEFAULT_DATASETS_ENDPOINT as endpoint
    if not re.match(r"https?://[^/\s]+", endpoint):
        raise InputError(f"endpoint {endpoint!r}", "an http or https address", f"Check {_ENDPOINT}")
    return Day(_EXCHANGES[venue], symbol, day, endpoint.rstrip("/"), key, patience_s)


def _checked_types(types: Sequence[str]) -> tuple[str, ...]:
    types = tuple(dict.fromkeys(types))
    unknown = [t for t in types if t not in TYPES]
    if unknown or not types:
        raise InputError(
            f"data type {unknown[0]!r}" if unknown else "no data type", f"some of {', '.join(TYPES)}", "Correct TYPES"
        )
    return types


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder: the leftovers that a run removes must not be another's work."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"{folder} is being fetched into", "one run at a time", "Wait for it to end") from error
        yield
    finally:
        os.close(handle)


def _one(day: Day, data_type: str, target: Path, progress: Progress | None, force: bool) -> Fetched:
    name = day.name(data_type)
    path = target / name
    known = _there(day, data_type, path, force)
    if known is not None:
        if progress is not None:
            progress(data_type, known.size, known.size)
        return known
    staging = target / _STAGING
    staging.mkdir(exist_ok=True)
    total = size_told(day, data_type)
    asyncio.run(download(day, data_type, staging, lambda n: progress and progress(data_type, n, total)))
    beside = staging / name
    wrong, rows = look(beside, day)
    if wrong is not None:
        raise InputError(
            f"{day.url(data_type)}: {wrong}", "a complete .gz of that day's rows", "Nothing was kept; try again later"
        )
    if not rows:
        _note(target, name, {"empty": True})
        return Fetched(path, "", 0, True, data_type, empty=True)
    sha256, size = sha256_of(beside), beside.stat().st_size
    # The note first: killed between the two, the next run fetches again, and never trusts what it should not.
    _note(target, name, {"size": size, "sha256": sha256})
    os.replace(beside, path)
    if progress is not None:
        progress(data_type, size, size)
    return Fetched(path, sha256, size, True, data_type)


def _there(day: Day, data_type: str, path: Path, force: bool) -> Fetched | None:
    """The file of an earlier run if it can stay; None: to be fetched."""
    noted = _sums(path.parent).get(path.name)
    if not path.exists():
        return Fetched(path, "", 0, False, data_type, empty=True) if noted and noted.get("empty") else None
    sha256, size = sha256_of(path), path.stat().st_size
    if noted and noted.get("sha256") == sha256:
        return Fetched(path, sha256, size, False, data_type)
    if noted and "sha256" in noted:
        wrong: str | None = f"its sha256 is {sha256[:12]}..., and was {noted['sha256'][:12]}... when it was fetched"
    else:
        # Put there by hand, or the notes are gone: it may stay if it is what it is called.
        wrong, rows = look(path, day)
        wrong = wrong or (None if rows else "it has no rows")
    if wrong is None:
        _note(path.parent, path.name, {"size": size, "sha256": sha256})
        return Fetched(path, sha256, size, False, data_type)
    if force:
        return None
    raise InputError(
        f"{path} was changed or is damaged: {wrong}",
        f"{day.shown(data_type)}, as it was fetched",
        "Move it away, or replace it with FORCE=1 (--force)",
    )


def _sums(folder: Path) -> dict[str, dict]:
    path = folder / SUMS_NAME
    if not path.exists():
        return {}
    try:
        sums = json.loads(path.read_text())
        if not all(isinstance(v, dict) for v in sums.values()):
            raise ValueError("an entry is no object")
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path} cannot be read ({error})",
            "the file that an earlier fetch left there",
            "Remove it: the files beside it are then checked and noted anew",
        ) from error
    return sums


def _note(folder: Path, name: str, entry: dict) -> None:
    sums = {**_sums(folder), name: entry}
    with atomic_path(folder / SUMS_NAME) as beside:
        beside.write_text(json.dumps(dict(sorted(sums.items())), indent=2) + "\n")
