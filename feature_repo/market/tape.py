"""A tape: one contract's exchange events in the order in which they were seen, on disk as Parquet by UTC day."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..constants import SECOND_NS
from ..errors import InputError
from ..events import EVENT_DTYPE
from ..instruments import Instrument, instrument
from .manifest import MANIFEST_NAME, count_kinds, derive_manifest, dump_manifest, load_manifest
from .sources import ACCEPTED

__all__ = ["Tape", "read_tape", "to_hftbacktest", "write_tape"]

_DAY_NS = 86_400 * SECOND_NS
_DAY_FILE = re.compile(r"\d{4}-\d{2}-\d{2}\.parquet")
_ARROW = pa.schema([(n, pa.from_numpy_dtype(EVENT_DTYPE[n])) for n in EVENT_DTYPE.names])
_AGAIN = "Import the source data again"


@dataclass(frozen=True)
class Tape:
    """Events of one contract.

    Attributes
    ----------
    events : EVENT_DTYPE [N], sorted by local_ts (stable); the rows of one exchange message are contiguous and share
        both times. The book is invalid until the first DEPTH_SNAPSHOT block, and from each GAP row to the next block.
    manifest : sources, counts, gaps, bad rows, clock; see manifest.py
    """

    venue: str
    symbol: str
    events: np.ndarray = field(repr=False)
    manifest: dict[str, Any] = field(repr=False)

    @property
    def instrument(self) -> Instrument:
        """Tick, lot and funding interval. InputError for a symbol that the table lacks."""
        return instrument(self.venue, self.symbol)

    @property
    def simulated(self) -> bool:
        """Whether the market is made up; every output made from it says so."""
        return self.venue == "simulated" or bool(self.manifest.get("simulated", False))

    @property
    def span_ns(self) -> tuple[int, int]:
        """First and last local_ts, ns UTC."""
        return int(self.events["local_ts"][0]), int(self.events["local_ts"][-1])


def to_hftbacktest(tape: Tape) -> np.ndarray:
    """The rows that hftbacktest replays; see ``hft.py``."""
    from .hft import to_hftbacktest as convert

    return convert(tape)


def write_tape(tape: Tape, root: Path) -> Path:
    """Write ``root/<venue>/<symbol>/<YYYY-MM-DD>.parquet`` and its manifest.

    The folder is written beside its place and then renamed, so that no reader meets half a tape. A tape that was there
    before is replaced whole. The same tape gives the same bytes.

    Returns
    -------
    Path of the tape folder

    Raises
    ------
    InputError
        For a tape without rows, out of order, or when the folder holds files that are no tape's.
    """
    _check_events(tape.events, f"the tape of {tape.symbol}")
    target = Path(root) / tape.venue / tape.symbol
    _refuse_foreign(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{tape.symbol}.", dir=target.parent))
    try:
        days = _write_days(tape, staging)
        derived = derive_manifest(tape.venue, tape.symbol, tape.events, simulated=tape.simulated)
        dump_manifest({**tape.manifest, **derived, "days": days}, staging / MANIFEST_NAME)
        os.chmod(staging, 0o755)
        _swap(staging, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return target


def read_tape(path: str | Path, *, symbol: str | None = None, progress: Callable[[float], None] | None = None) -> Tape:
    """Read a tape, or import a recording; which of both is decided by what lies at ``path``.

    Parameters
    ----------
    path : see ``sources.ACCEPTED``
    symbol : picks one tape of a folder of several; otherwise only checked
    progress : called with the fraction done, 0..1

    Raises
    ------
    InputError
        When nothing usable is there; the message names the file, and the line or field.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist", ACCEPTED, "Check the path")
    tape = _read_folder(path, symbol, progress) if path.is_dir() else _read_file(path, progress)
    if symbol is not None and tape.symbol != symbol:
        raise InputError(f"{path} holds {tape.symbol}", f"symbol {symbol}", "Leave the symbol out or give another path")
    if progress is not None:
        progress(1.0)
    return tape


def _read_folder(path: Path, symbol: str | None, progress: Callable[[float], None] | None) -> Tape:
    if (path / MANIFEST_NAME).exists():
        return _read_tape_folder(path)
    if any(path.glob("*.parquet")):
        raise InputError(f"{path} holds .parquet files without {MANIFEST_NAME}", ACCEPTED, _AGAIN)
    below = [m.parent for depth in ("*", "*/*") for m in sorted(path.glob(f"{depth}/{MANIFEST_NAME}"))]
    below = [t for t in below if not any(part.startswith(".") for part in t.relative_to(path).parts)]
    if symbol is not None:
        below = [t for t in below if t.name == symbol] or below
    if len(below) == 1:
        return _read_tape_folder(below[0])
    if below:
        names = ", ".join(str(t.relative_to(path)) for t in below)
        raise InputError(f"{path} holds {len(below)} tapes ({names})", "exactly one", "Give the folder of one tape")
    return _import(path, progress)


def _read_file(path: Path, progress: Callable[[float], None] | None) -> Tape:
    try:
        with path.open("rb") as handle:
            magic = handle.read(4)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})", ACCEPTED, "Check its rights") from error
    if magic != b"PAR1":
        return _import(path, progress)
    events, facts = _read_parquet(path)
    venue, symbol = facts["venue"], facts["symbol"]
    instrument(venue, symbol)
    simulated = facts["simulated"] == "true"
    return Tape(venue, symbol, events, derive_manifest(venue, symbol, events, simulated=simulated))


def _import(path: Path, progress: Callable[[float], None] | None) -> Tape:
    # Late: the gate's base install reads tapes but has no JSON parser.
    from .recording import read_recording

    return read_recording(path, progress=progress)


def _read_tape_folder(folder: Path) -> Tape:
    manifest = load_manifest(folder)
    venue, symbol = manifest["venue"], manifest["symbol"]
    instrument(venue, symbol)
    found = sorted(p.name for p in folder.glob("*.parquet"))
    if found != sorted(manifest["days"]):
        raise InputError(
            f"{folder} holds {', '.join(found) or 'no .parquet'}", f"{', '.join(sorted(manifest['days']))}", _AGAIN
        )
    parts = []
    for name in found:
        part, facts = _read_parquet(folder / name)
        wants = manifest["days"][name]
        if (facts["venue"], facts["symbol"]) != (venue, symbol):
            raise InputError(f"{folder / name} is of {facts['symbol']}", f"{symbol}, as in {MANIFEST_NAME}", _AGAIN)
        if len(part) != wants["rows"]:
            raise InputError(f"{folder / name} has {len(part)} rows", f"{wants['rows']}, as in {MANIFEST_NAME}", _AGAIN)
        if _sha256(folder / name) != wants["sha256"]:
            raise InputError(f"{folder / name} was changed: its sha256 is new", f"the one in {MANIFEST_NAME}", _AGAIN)
        parts.append(part)
    events = np.concatenate(parts)
    _check_events(events, str(folder))
    counts = count_kinds(events)
    if counts != manifest["counts"]:
        raise InputError(f"{folder} holds {counts}", f"{manifest['counts']}, as in {MANIFEST_NAME}", _AGAIN)
    return Tape(venue, symbol, events, manifest)


def _read_parquet(path: Path) -> tuple[np.ndarray, dict[str, str]]:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(
            f"{path} cannot be read ({error})", "the Parquet that `write_tape` left there", _AGAIN
        ) from error
    found = [f"{f.name} {f.type}" for f in table.schema]
    wanted = [f"{f.name} {f.type}" for f in _ARROW]
    if found != wanted:
        odd = [f for f in found if f not in wanted] or [f for f in wanted if f not in found] or ["the order of columns"]
        raise InputError(f"{path} is no tape: {odd[0]} differs", f"the columns {', '.join(wanted)}", _AGAIN)
    facts = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
    if not {"venue", "symbol", "simulated"} <= facts.keys():
        raise InputError(
            f"{path} does not say which contract it is of", "venue, symbol and simulated in its metadata", _AGAIN
        )
    if table.num_rows == 0 or any(c.null_count for c in table.columns):
        raise InputError(f"{path} has no rows or empty cells", "at least one row, every cell filled", _AGAIN)
    events = np.empty(table.num_rows, EVENT_DTYPE)
    for name in EVENT_DTYPE.names:
        events[name] = table[name].to_numpy()
    return events, facts


def _write_days(tape: Tape, folder: Path) -> dict[str, dict[str, Any]]:
    events = tape.events
    facts = {"venue": tape.venue, "symbol": tape.symbol, "simulated": "true" if tape.simulated else "false"}
    day = events["local_ts"] // _DAY_NS
    starts = np.concatenate(([0], np.flatnonzero(np.diff(day)) + 1, [len(events)]))
    days: dict[str, dict[str, Any]] = {}
    for lo, hi in pairwise(starts):
        name = f"{datetime.fromtimestamp(int(day[lo]) * 86_400, UTC):%Y-%m-%d}.parquet"
        arrays = [pa.array(np.ascontiguousarray(events[lo:hi][n])) for n in EVENT_DTYPE.names]
        table = pa.Table.from_arrays(arrays, schema=_ARROW.with_metadata(facts))
        pq.write_table(table, folder / name, compression="zstd", row_group_size=1 << 20)
        days[name] = {"rows": int(hi - lo), "sha256": _sha256(folder / name)}
    return days


def _check_events(events: np.ndarray, where: str) -> None:
    if events.dtype != EVENT_DTYPE:
        raise InputError(
            f"{where} has rows of {events.dtype}", f"{EVENT_DTYPE}", "Build the rows with events.EVENT_DTYPE"
        )
    if len(events) == 0:
        raise InputError(f"{where} has no rows", "at least one event", "Give a recording with market data")
    back = np.flatnonzero(np.diff(events["local_ts"]) < 0)
    if len(back):
        raise InputError(
            f"{where} goes back in local_ts at row {back[0] + 1}", "rows sorted by local_ts", "Sort the rows"
        )


def _refuse_foreign(target: Path) -> None:
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise InputError(f"{target} is no folder of its own", "a free place for a tape folder", "Give another root")
    names = sorted(p.name for p in target.iterdir()) if target.exists() else []
    foreign = [n for n in names if n != MANIFEST_NAME and not _DAY_FILE.fullmatch(n)]
    if foreign:
        raise InputError(
            f"{target} also holds {foreign[0]}",
            "only <day>.parquet and manifest.json there",
            "Move it or give another root",
        )


def _swap(staging: Path, target: Path) -> None:
    if not target.exists():
        os.rename(staging, target)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
    os.rename(target, aside)
    try:
        os.rename(staging, target)
    except OSError:
        os.rename(aside, target)
        raise
    shutil.rmtree(aside)


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
