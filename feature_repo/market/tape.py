"""A tape: one contract's exchange events in the order in which they were seen, on disk as Parquet by UTC day.

In memory a tape is a ``Tape``; on disk a ``StoredTape``, read in chunks; on its way to disk any ``EventStream``.
"""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..events import EVENT_DTYPE, KIND_MASK
from ..instruments import Instrument, instrument
from .ahead import ahead
from .day_files import AGAIN, DayFile
from .manifest import MANIFEST_NAME, SCHEMA, RowFacts, derive_manifest, load_manifest
from .sources import ACCEPTED
from .stream import MAX_BAD_SHARE, EventStream
from .tape_writer import RowOrder, write_stream

__all__ = [
    "StoredTape",
    "Tape",
    "open_stream",
    "open_tape",
    "read_tape",
    "stored_tape",
    "write_stream",
]

Advance = Callable[[float], None]

_CHUNK = 1 << 16
"""Rows of a chunk, 4 MiB: written and read while they are in the processor's cache."""
_CHECKED = ("ev", "exch_ts", "local_ts")
_ALL = EVENT_DTYPE.names or ()


class _Named(ABC):
    """What follows from a tape's contract and manifest."""

    venue: str
    symbol: str
    manifest: dict[str, Any]

    @property
    def instrument(self) -> Instrument:
        """Tick, lot and funding interval. InputError for a symbol that the table lacks."""
        return instrument(self.venue, self.symbol)

    @property
    def simulated(self) -> bool:
        """Whether the market is made up; every output made from it says so."""
        return self.venue == "simulated" or bool(self.manifest.get("simulated", False))

    def facts(self) -> dict[str, Any]:
        """The manifest, as of an event stream."""
        return self.manifest

    def of_kind(self, kind: int) -> NDArray[np.void]:
        """Rows of one kind (``events.TRADE`` ...), in memory: EVENT_DTYPE [n]."""
        return np.concatenate([c[(c["ev"] & np.uint64(KIND_MASK)) == kind] for c in self.chunks()])

    @abstractmethod
    def chunks(self, rows: int = _CHUNK, columns: Sequence[str] = _ALL) -> Iterator[NDArray[np.void]]:
        """EVENT_DTYPE [n], 1 <= n <= ``rows``, in order. What ``columns`` does not name is of no use to the taker."""


@dataclass(frozen=True)
class Tape(_Named):
    """Events of one contract, in memory.

    Attributes
    ----------
    events : EVENT_DTYPE [N], sorted by local_ts (stable); the rows of one exchange message are contiguous and share
        both times. The book is invalid until the first DEPTH_SNAPSHOT block, and from each GAP row to the next block.
    manifest : sources, counts, gaps, bad rows, clock; see manifest.py and ingest.py
    """

    venue: str
    symbol: str
    events: NDArray[np.void] = field(repr=False)
    manifest: dict[str, Any] = field(repr=False)

    @property
    def rows(self) -> int:
        """Number of events."""
        return len(self.events)

    @property
    def span_ns(self) -> tuple[int, int]:
        """First and last local_ts, ns UTC."""
        return int(self.events["local_ts"][0]), int(self.events["local_ts"][-1])

    def chunks(self, rows: int = _CHUNK, columns: Sequence[str] = _ALL) -> Iterator[NDArray[np.void]]:
        """EVENT_DTYPE [n], 1 <= n <= ``rows``: views of ``events``, of which every column is there anyway."""
        for at in range(0, len(self.events), rows):
            yield self.events[at : at + rows]


@dataclass(frozen=True)
class StoredTape(_Named):
    """Events of one contract, on disk. What a whole tape must fulfil is checked while it is read.

    Attributes
    ----------
    path : the tape folder, or the one day file
    manifest : as of a ``Tape``
    rows : number of events
    span_ns : first and last local_ts, ns UTC
    """

    path: Path
    venue: str
    symbol: str
    manifest: dict[str, Any] = field(repr=False)
    days: tuple[DayFile, ...] = field(repr=False)

    @property
    def rows(self) -> int:
        """Number of events."""
        return sum(d.rows for d in self.days)

    @property
    def span_ns(self) -> tuple[int, int]:
        """First and last local_ts, ns UTC."""
        return int(self.manifest["first_local_ns"]), int(self.manifest["last_local_ns"])

    def chunks(self, rows: int = _CHUNK, columns: Sequence[str] = _ALL) -> Iterator[NDArray[np.void]]:
        """EVENT_DTYPE [n], 1 <= n <= ``rows``, new arrays.

        A thread reads one row group ahead; no more than two are in memory.

        Parameters
        ----------
        columns : those to be read, each a share of the time; the others are 0. ev and both times are always read

        Raises
        ------
        InputError
            When a file was changed, cannot be read, is out of order, or does not fit the manifest.
        """
        names = [n for n in _ALL if n in columns or n in _CHECKED]
        for group in ahead(self._groups(names)):
            count = len(group["ev"])
            for at in range(0, count, rows):
                size = min(rows, count - at)
                chunk = np.empty(size, EVENT_DTYPE)
                for name in _ALL:
                    chunk[name] = group[name][at : at + size] if name in group else 0
                yield chunk

    def _groups(self, columns: Sequence[str]) -> Generator[dict[str, NDArray[Any]], None, None]:
        """The columns of each row group, once it is checked."""
        facts, order = RowFacts(), RowOrder(str(self.path))
        wanted = self.manifest.get("days", {})
        first_ns, last_ns = self.span_ns
        for day in self.days:
            if day.path.name in wanted:
                day.verify(wanted[day.path.name]["sha256"])
            for group in day.groups(columns):
                local = group["local_ts"]
                order.check_times(local)
                if local[0] < first_ns or local[-1] > last_ns:
                    raise InputError(
                        f"{day.path} has rows from {local[0]} to {local[-1]} ns",
                        f"{first_ns} to {last_ns}, as in {MANIFEST_NAME}",
                        AGAIN,
                    )
                facts.update(group)
                yield group
        if facts.by_name() != self.manifest["counts"]:
            raise InputError(
                f"{self.path} holds {facts.by_name()}", f"{self.manifest['counts']}, as in {MANIFEST_NAME}", AGAIN
            )

    def load(self, progress: Advance | None = None) -> Tape:
        """All of it, in memory."""
        events, at = np.empty(self.rows, EVENT_DTYPE), 0
        for chunk in self.chunks():
            events[at : at + len(chunk)] = chunk
            at += len(chunk)
            if progress is not None:
                progress(at / len(events))
        return Tape(self.venue, self.symbol, events, self.manifest)


def open_tape(path: str | Path, symbol: str | None = None) -> StoredTape:
    """The tape at ``path``, to be read in chunks.

    Parameters
    ----------
    path : a tape folder, a folder that holds exactly one tape, or one day file of a tape
    symbol : picks one tape of a folder of several; otherwise only checked

    Raises
    ------
    InputError
        When no tape is there, or manifest and files do not fit.
    """
    path = Path(path)
    found = _find_tape(path, symbol)
    if found is None:
        raise InputError(f"{path} is no tape", _ACCEPTED_TAPE, "Import it first")
    tape = _open_day(found) if found.is_file() else _open_folder(found)
    if symbol is not None and tape.symbol != symbol:
        raise InputError(f"{path} holds {tape.symbol}", f"symbol {symbol}", "Leave the symbol out or give another path")
    return tape


_ACCEPTED_TAPE = ACCEPTED.split(", a Binance")[0]


def open_stream(
    path: str | Path,
    *,
    symbol: str | None = None,
    venue: str | None = None,
    source: str | None = None,
    max_bad_share: float = MAX_BAD_SHARE,
    progress: Advance | None = None,
) -> EventStream:
    """A tape, or market data of any other source on its way to one: whatever lies at ``path``.

    Parameters
    ----------
    path : see ``sources.ACCEPTED``
    source : binance, tardis or hftbacktest; None: told from the content
    symbol, venue : which contract, where several are there
    max_bad_share : share of unusable rows past which a file is refused
    progress : told how much of a source other than a tape is read, 0..1

    Raises
    ------
    InputError
        When nothing usable is there; the message names the file, and the line or field.
    """
    path = Path(path)
    if source is None and _find_tape(path, symbol) is not None:
        tape = open_tape(path, symbol)
        if venue not in (None, tape.venue):
            raise InputError(f"{path} is of venue {tape.venue}", f"venue {venue}", "Leave the venue out")
        return tape
    # Late: the gate's base install reads tapes but has no JSON parser.
    from .detect import open_source

    return open_source(path, source=source, symbol=symbol, venue=venue, max_bad_share=max_bad_share, progress=progress)


def read_tape(
    path: str | Path,
    *,
    symbol: str | None = None,
    venue: str | None = None,
    source: str | None = None,
    progress: Advance | None = None,
) -> Tape:
    """Read a tape, or import any other source, into memory: 64 bytes an event. Parameters as of ``open_stream``."""
    stream = open_stream(path, symbol=symbol, venue=venue, source=source, progress=progress)
    if isinstance(stream, StoredTape):
        tape = stream.load(progress)
    else:
        events = np.concatenate(list(stream.chunks()))
        derived = derive_manifest(stream.venue, stream.symbol, events, simulated=stream.simulated)
        tape = Tape(stream.venue, stream.symbol, events, {**stream.facts(), **derived})
    if progress is not None:
        progress(1.0)
    return tape


@contextmanager
def stored_tape(
    path: str | Path,
    *,
    symbol: str | None = None,
    venue: str | None = None,
    source: str | None = None,
    progress: Advance | None = None,
) -> Iterator[StoredTape]:
    """The tape at ``path``; any other source is imported to a temporary folder for the length of the block."""
    stream = open_stream(path, symbol=symbol, venue=venue, source=source, progress=progress)
    if isinstance(stream, StoredTape):
        yield stream
        return
    with tempfile.TemporaryDirectory(prefix="ofi-meta-") as folder:
        yield open_tape(write_stream(stream, Path(folder)))


def _find_tape(path: Path, symbol: str | None) -> Path | None:
    """The folder or day file of the one tape at ``path``; None where something else lies."""
    if not path.exists():
        raise InputError(f"{path} does not exist", ACCEPTED, "Check the path")
    try:
        if not path.is_dir():
            with path.open("rb") as handle:
                return path if handle.read(4) == b"PAR1" else None
        if _is_tape(path):
            return path
        if any(path.glob("*.parquet")):
            raise InputError(f"{path} holds .parquet files without {MANIFEST_NAME}", ACCEPTED, AGAIN)
        below = [m.parent for depth in ("*", "*/*") for m in sorted(path.glob(f"{depth}/{MANIFEST_NAME}"))]
        below = [t for t in below if not _hidden(t.relative_to(path)) and _is_tape(t)]
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})", ACCEPTED, "Check its rights") from error
    if symbol is not None:
        below = [t for t in below if t.name == symbol] or below
    if len(below) > 1:
        names = ", ".join(str(t.relative_to(path)) for t in below)
        raise InputError(f"{path} holds {len(below)} tapes ({names})", "exactly one", "Give the folder of one tape")
    return below[0] if below else None


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _is_tape(folder: Path) -> bool:
    """Whether a folder has a manifest that is ours: a download may come with one of its own."""
    manifest = folder / MANIFEST_NAME
    if not manifest.is_file():
        return False
    return any(folder.glob("*.parquet")) or SCHEMA.rsplit(" ", 1)[0].encode() in manifest.read_bytes()


def _open_day(path: Path) -> StoredTape:
    day = DayFile(path)
    instrument(day.venue, day.symbol)
    facts = RowFacts()
    for group in day.groups(_CHECKED):
        facts.update(group)
    manifest = facts.manifest(day.venue, day.symbol, simulated=day.simulated)
    return StoredTape(path, day.venue, day.symbol, manifest, (day,))


def _open_folder(folder: Path) -> StoredTape:
    manifest = load_manifest(folder)
    venue, symbol = manifest["venue"], manifest["symbol"]
    instrument(venue, symbol)
    found = sorted(p.name for p in folder.glob("*.parquet"))
    if found != sorted(manifest["days"]):
        raise InputError(
            f"{folder} holds {', '.join(found) or 'no .parquet'}", f"{', '.join(sorted(manifest['days']))}", AGAIN
        )
    days = tuple(DayFile(folder / name) for name in found)
    for day in days:
        rows = manifest["days"][day.path.name]["rows"]
        if (day.venue, day.symbol) != (venue, symbol):
            raise InputError(f"{day.path} is of {day.symbol}", f"{symbol}, as in {MANIFEST_NAME}", AGAIN)
        if day.rows != rows:
            raise InputError(f"{day.path} has {day.rows} rows", f"{rows}, as in {MANIFEST_NAME}", AGAIN)
    return StoredTape(folder, venue, symbol, manifest, days)
