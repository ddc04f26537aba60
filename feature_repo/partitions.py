"""The files of the offline store: ``feast_root()/<view>/<symbol>/<YYYY-MM-DD>.parquet``.

A file holds the rows of one symbol whose window lies in that UTC day; the one that ends at midnight belongs to the day
before. So the rows of a day's tape are one file, and writing them never touches the next day's.
"""

from __future__ import annotations

import glob
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .constants import SECOND_NS
from .replaced import locked
from .store import feast_root

__all__ = ["PARTITIONED", "day_name", "day_of", "files_of", "prune", "staged"]

PARTITIONED = {"partitions": "symbol/day"}
"""Tag of a source that is laid out so, and whose key begins with the symbol, up to a colon or the end."""

_DAY_NS = 86_400 * SECOND_NS
_EPOCH = date(1970, 1, 1).toordinal()


def day_of(t_ns: np.ndarray) -> np.ndarray:
    """int64 days since 1970 of the files that hold rows of these times, ns UTC."""
    return (np.asarray(t_ns, np.int64) - 1) // _DAY_NS


def day_name(day: int) -> str:
    """``YYYY-MM-DD``."""
    return date.fromordinal(_EPOCH + int(day)).isoformat()


def _day_file(view: str, symbol: str, day: int) -> Path:
    """Where the rows of one view, symbol and day are kept."""
    return feast_root() / view / symbol / f"{day_name(day)}.parquet"


def files_of(path: Path) -> list[Path]:
    """The Parquet files of a source: itself, all below a folder, or all that match a pattern; none that is hidden."""
    if path.is_file():
        return [path]
    if path.is_dir():
        inside = (p for p in path.rglob("*.parquet") if p.is_file())
        return sorted(p for p in inside if not any(part.startswith(".") for part in p.relative_to(path).parts))
    return sorted(p for p in map(Path, glob.glob(str(path), recursive=True)) if p.is_file())


def prune(
    files: list[Path],
    symbols: pa.ChunkedArray | None = None,
    first_ns: np.ndarray | None = None,
    last_ns: np.ndarray | None = None,
) -> list[Path]:
    """The files of a partitioned source that can hold a row of these keys and times; None: of any.

    Parameters
    ----------
    symbols : values of the key, each of which begins with a symbol, up to a colon or the end
    first_ns, last_ns : int64 [n], n spans of time of which a row may be in any, ns UTC, both ends included
    """
    if symbols is not None:
        heads = pc.list_element(pc.split_pattern(symbols.drop_null().cast(pa.string()), ":", max_splits=1), 0)
        wanted = set(pc.unique(heads).to_pylist())
        files = [f for f in files if f.parent.name in wanted]
    whole = np.iinfo(np.int64)
    lo = day_of(first_ns) if first_ns is not None else np.array([whole.min])
    hi = day_of(last_ns) if last_ns is not None else np.array([whole.max])
    lo, hi = np.unique(np.stack(np.broadcast_arrays(lo, hi)), axis=1)
    return [f for f in files if _may_hold(f, lo, hi)]


def _may_hold(file: Path, lo: np.ndarray, hi: np.ndarray) -> bool:
    try:
        day = date.fromisoformat(file.stem).toordinal() - _EPOCH
    except ValueError:
        return True  # not a file of ours: nothing is known of its times
    return bool(((lo <= day) & (day <= hi)).any())


@contextmanager
def staged(symbol: str, views: Sequence[str], days: Iterable[int], marks: Mapping[str, str]) -> Iterator[Path]:
    """A folder to write ``<view>/<day>.parquet`` in; at the end its files take their places, if nothing was raised.

    Every file moves whole, so that a reader sees an old one or a new one. The other days of the symbol stay, unless
    they are of another origin: they go then. A second writer of the symbol waits for the first, or its days would lie
    among those of the other; what a killed writer left is removed.

    Parameters
    ----------
    days : a file of each must have been written for each view
    marks : origin of the rows, kept in the metadata of the files
    """
    root = feast_root()
    beside = root / ".staging" / symbol
    beside.parent.mkdir(parents=True, exist_ok=True)
    with locked(beside.with_name(f".{symbol}.lock")):
        try:
            shutil.rmtree(beside, ignore_errors=True)
            for view in views:
                (beside / view).mkdir(parents=True)
            yield beside
            for view in views:
                folder = root / view / symbol
                folder.mkdir(parents=True, exist_ok=True)
                for old in folder.glob("*.parquet"):
                    if not _is_of(old, marks):
                        old.unlink()
                for day in days:
                    (beside / view / f"{day_name(day)}.parquet").replace(_day_file(view, symbol, day))
                # One file a symbol, as earlier versions wrote.
                (root / view / f"{symbol}.parquet").unlink(missing_ok=True)
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def _is_of(file: Path, marks: Mapping[str, str]) -> bool:
    try:
        found = pq.read_schema(file).metadata or {}
    except (OSError, pa.ArrowException):
        return False  # unreadable, so nobody loses it
    return all(found.get(name.encode()) == value.encode() for name, value in marks.items())
