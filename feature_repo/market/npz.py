"""Event arrays of hftbacktest on disk (.npz, .npy), of both layouts, read in pieces and given as tape rows."""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from ..constants import SECOND_NS
from ..errors import InputError
from ..events import GAP, LOCAL
from .npz_rows import NpzRows
from .sources import CUT_OFF, sha256_of
from .stream import OVERLAP_NS, BadRows

__all__ = ["NpzHead", "NpzReader", "head_of"]

_ZIP, _NPY = b"PK", b"\x93NUMPY"
_ROWS = 1 << 16
_FIELDS = {"ev": "iu", "exch_ts": "iu", "local_ts": "iu", "px": "f", "qty": "f"}  # 8 bytes each
_WHAT = "an .npz with one array `data`: hftbacktest's event_dtype [N], or its old layout float64 [N, 6]"
_AGAIN = "Copy it again from its source"
_UNITS = ((10**18, 1), (10**15, 1_000), (10**12, 1_000_000))  # of times as large as this: ns, us, ms
_NAMES = {1: "ns", 1_000: "us", 1_000_000: "ms"}
_PAUSE_NS = 600 * SECOND_NS
_FAR_NS = 86_400 * SECOND_NS


@dataclass(frozen=True)
class NpzHead:
    """How an array begins.

    Attributes
    ----------
    layout : ``event_dtype`` or ``v1``
    rows : as the header says
    first_ns : first local time, ns UTC; 0 for the initial snapshot of a replay, whose rows have no time
    unit_ns : of its times; 1 where it has none
    """

    path: Path
    layout: str
    rows: int
    first_ns: int
    unit_ns: int


class NpzReader:
    """Arrays of one contract, in order of their first local time; a ``stream.Reader``.

    Layouts: hftbacktest's ``event_dtype`` (ns), and the float64 [N, 6] of its first version (event, exchange time,
    local time, side, price, quantity; us), where a time of -1 says that this side of a replay does not see the row.
    The old one is not read through ``migration2.convert``: that multiplies float64 times, which moves them by up to
    128 ns, wants the whole file in memory, and leaves the lost exchange times lost. See ``npz_rows`` for what becomes
    of a row.

    The book goes on from one file into the next, as in a replay of a list of files, unless more than 10 minutes lie
    between them: then a GAP row stands there. An initial snapshot (rows without time) comes first, at the time of the
    first row that has one.

    Parameters
    ----------
    files : paths of .npz or .npy files, at least one
    bad : account of unusable rows
    venue, symbol : of all files; the arrays do not say
    venue_assumed : whether nobody named the venue; the manifest says so

    Attributes
    ----------
    files : as they are read
    size, done : bytes of all files, and those read so far
    """

    kind = "hftbacktest"

    def __init__(
        self, files: Sequence[Path], bad: BadRows, venue: str, symbol: str, *, venue_assumed: bool = False
    ) -> None:
        heads = []
        for path in files:
            head = head_of(Path(path))
            if head is None:
                raise InputError(f"{path} is no array file", _WHAT, "Give another file")
            heads.append(head)
        self._heads = sorted(heads, key=lambda h: (h.first_ns, h.path))
        _refuse_order(self._heads)
        self.files = [h.path for h in self._heads]
        self.venue, self.symbol, self.bad = venue, symbol, bad
        self.size, self.done = sum(h.path.stat().st_size for h in heads), 0
        self._rows = NpzRows(venue, symbol, bad)
        self._entries: list[dict[str, Any]] = []
        self._pauses = 0
        self._venue_assumed = venue_assumed

    def chunks(self) -> Iterator[np.ndarray]:
        """EVENT_DTYPE [n] in the order of local time; see ``stream.Reader``.

        Raises
        ------
        InputError
            For a file that is damaged, has too many unusable rows, or begins before the one before it ends.
        """
        before = 0
        for head in self._heads:
            last_ns = self._rows.last_local_ns
            if last_ns and head.first_ns < last_ns - OVERLAP_NS:
                raise InputError(
                    f"{head.path} begins {(last_ns - head.first_ns) / SECOND_NS:.0f} s before the file before it ends",
                    "files that continue each other",
                    "Put files of the same time into folders of their own",
                )
            if last_ns and head.first_ns > last_ns + _PAUSE_NS:
                self._pauses += 1
                yield self._rows.gap(GAP, head.first_ns)
            self._rows.begin(head.path)
            read = 0
            with _open_array(head.path) as (array, stream, raw):
                for part in _parts(head.path, array, stream):
                    rows = self._rows.take(part, head.unit_ns)
                    read += len(part)
                    self.done = before + min(raw.tell(), head.path.stat().st_size)
                    if len(rows):
                        yield rows
            if read < head.rows:
                self.bad.add(head.path, read + 1, CUT_OFF, judged=False)
            self.bad.end_file(head.path, max(read, 1), "rows of event_dtype or of the old layout")
            before += head.path.stat().st_size
            self.done = before
            self._entries.append(
                {
                    "name": head.path.name,
                    "size": head.path.stat().st_size,
                    "sha256": sha256_of(head.path),
                    "lines": read,
                    "layout": head.layout,
                }
            )
        if self._rows.untimed:
            raise InputError(
                f"{self._heads[0].path} has only rows without a time, an initial snapshot",
                "the events that follow it too",
                "Give both in one folder",
            )

    def facts(self) -> dict[str, Any]:
        """Sources and counts of what was left out; after the last chunk only."""
        out = {
            "sources": self._entries,
            "lines": sum(e["lines"] for e in self._entries),
            "local_ts_unit": _NAMES[self._heads[-1].unit_ns],
            "depth": {},
            **self._rows.facts(),
            "pauses": self._pauses,
        }
        if self._venue_assumed:
            out["venue_assumed"] = True
            out["warnings"] = [f"no venue was given: {self.symbol} is taken for that of {self.venue}"]
        return out


def head_of(path: Path) -> NpzHead | None:
    """How an .npz or .npy begins; None for a file that is neither a zip nor an array, by its first bytes.

    Raises
    ------
    InputError
        When it is one but damaged, cut off, empty, or holds another array.
    """
    with Path(path).open("rb") as handle:
        magic = handle.read(len(_NPY))
    if magic[:2] != _ZIP and magic != _NPY:
        return None
    path = Path(path)
    with _open_array(path) as (array, stream, _):
        structured, timed = bool(array.dtype.names), np.empty(0)
        for part in _parts(path, array, stream):
            seen = part[part["ev"].astype(np.uint64) & np.uint64(LOCAL) != 0] if structured else part
            local = seen["local_ts"] if structured else seen[:, 2]
            timed = local[np.isfinite(local) & (local > 0)]
            if len(timed):
                break
        if array.rows == 0:
            raise InputError(f"{path} has no rows", _WHAT, "Remove it or give another file")
        # A single wild time must not tell the unit, or place the file.
        usual = float(np.median(timed)) if len(timed) else 0.0
        unit_ns = next((u for least, u in _UNITS if usual >= least), 1)
        if 0 < usual < _UNITS[-1][0]:
            raise InputError(f"{path} has the local time {usual:.0f}", "ns, us or ms since 1970", "Convert it again")
        near = timed[np.abs(timed - usual) * unit_ns < _FAR_NS]
        at = int(near[0]) * unit_ns if len(near) else 0
        return NpzHead(path, "event_dtype" if structured else "v1", array.rows, at, unit_ns)


@dataclass(frozen=True)
class _Array:
    """What the header of an array says, once it is known to be one of ours."""

    dtype: np.dtype
    columns: int  # 0: structured
    rows: int


@contextmanager
def _open_array(path: Path) -> Iterator[tuple[_Array, IO[bytes], IO[bytes]]]:
    """The array's header, the stream that continues with its rows, and the raw file, whose ``tell`` is the progress."""
    try:
        with path.open("rb") as raw:
            if raw.read(2) != _ZIP:
                raw.seek(0)
                yield _header(path, raw), raw, raw
                return
            with _archive(path, raw) as archive, _member(path, archive) as stream:
                yield _header(path, stream), stream, raw
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError) as error:
        raise InputError(f"{path} is damaged or cut off ({error})", "a whole .npz", _AGAIN) from error
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror or error})", "a readable file", "Check its rights"
        ) from error


def _archive(path: Path, raw: IO[bytes]) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(raw)
    except (NotImplementedError, ValueError, struct.error) as error:
        raise InputError(f"{path} has a damaged table of contents ({error})", "a whole .npz", _AGAIN) from error


def _member(path: Path, archive: zipfile.ZipFile) -> IO[bytes]:
    names = [n for n in archive.namelist() if n.endswith(".npy")]
    if "data.npy" not in names and len(names) != 1:
        held = ", ".join(archive.namelist()[:5]) or "nothing"
        raise InputError(f"{path} holds {held}", _WHAT, "Give another file")
    try:
        return archive.open("data.npy" if "data.npy" in names else names[0])
    except (RuntimeError, ValueError, struct.error) as error:  # a password, a way of packing that is not built in
        raise InputError(f"{path} cannot be unpacked ({error})", _WHAT, "Save it again") from error


def _header(path: Path, stream: IO[bytes]) -> _Array:
    try:
        version = npy.read_magic(stream)
        if version == (1, 0):
            shape, fortran, dtype = npy.read_array_header_1_0(stream)
        elif version == (2, 0):
            shape, fortran, dtype = npy.read_array_header_2_0(stream)
        else:
            raise ValueError(f"format version {version}")
        if min(shape, default=0) < 0:
            raise ValueError(f"shape {shape}")
    except (ValueError, SyntaxError, TypeError, LookupError, AttributeError, TokenError) as error:
        # The header is a Python literal: a damaged one fails in many ways.
        raise InputError(f"{path} has no readable array header ({error})", _WHAT, _AGAIN) from error
    named = dtype.names is not None and len(shape) == 1 and _FIELDS.keys() <= set(dtype.names)
    if named and all(dtype[n].itemsize == 8 and dtype[n].kind in kinds for n, kinds in _FIELDS.items()):
        return _Array(dtype, 0, shape[0])
    if dtype == np.float64 and len(shape) == 2 and shape[1] == 6 and not fortran:
        return _Array(dtype, 6, shape[0])
    order = " in Fortran order" if fortran else ""
    raise InputError(f"{path} holds an array of {dtype} {list(shape)}{order}", _WHAT, "Convert it again")


def _parts(path: Path, array: _Array, stream: IO[bytes]) -> Iterator[np.ndarray]:
    """The rows in pieces: structured [n], or float64 [n, 6]; ends early where the file does."""
    width = array.dtype.itemsize * max(array.columns, 1)
    left = array.rows
    while left:
        wanted = width * min(left, _ROWS)
        data = stream.read(wanted)
        # A zip's stream may give less at a time than was asked for.
        while len(data) < wanted and (more := stream.read(wanted - len(data))):
            data += more
        n = len(data) // width
        if n:
            flat = np.frombuffer(data, array.dtype, n * max(array.columns, 1))
            yield flat.reshape(n, array.columns) if array.columns else flat
        if len(data) < wanted:
            return
        left -= n
    if stream.read(1):
        raise InputError(f"{path} goes on after its {array.rows} rows", _WHAT, _AGAIN)


def _refuse_order(heads: Sequence[NpzHead]) -> None:
    for before, after in pairwise(heads):
        if after.first_ns == 0:
            raise InputError(
                f"{before.path} and {after.path} have rows without a time only",
                "one initial snapshot, beside the events that follow it",
                "Remove one of them",
            )
