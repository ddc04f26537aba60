"""A tape as files that hftbacktest replays one after the other: the memory of a replay does not grow with the tape."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..events import DEPTH_BBO, EVENT_DTYPE, KIND_MASK, OWN_KINDS
from .hft import to_hftbacktest

if TYPE_CHECKING:
    from .tape import StoredTape, Tape

__all__ = ["HftFiles", "hft_parts", "write_hft"]

_TIMES = ("ev", "exch_ts", "local_ts")
_PART_ROWS = 1 << 22
"""Rows of a part, 256 MiB in memory. A replay holds one or two parts."""


@dataclass(frozen=True)
class HftFiles:
    """What ``write_hft`` wrote.

    Attributes
    ----------
    paths : .npz files in order of time, each with the key "data"
    span_ns : first and last local_ts of their rows
    """

    paths: tuple[Path, ...]
    span_ns: tuple[int, int]


def write_hft(
    tape: StoredTape | Tape, folder: Path, *, rows: int = _PART_ROWS, progress: Callable[[float], None] | None = None
) -> HftFiles:
    """Write the replay's rows of a tape into ``folder``, 64 bytes a row.

    Raises
    ------
    InputError
        When the tape has neither depth nor trades.
    """
    paths: list[Path] = []
    first, last, done = 0, 0, 0
    for part in hft_parts(tape, rows=rows):
        local = part["local_ts"]
        first, last = first if paths else int(local.min()), int(local.max())
        paths.append(Path(folder) / f"part-{len(paths):05d}.npz")
        np.savez(paths[-1], data=part)
        done += len(part)
        if progress is not None:
            progress(min(1.0, done / tape.rows))
    return HftFiles(tuple(paths), (first, last))


def hft_parts(tape: StoredTape | Tape, *, rows: int = _PART_ROWS) -> Iterator[np.ndarray]:
    """What ``to_hftbacktest`` gives, in pieces that can be replayed one after the other.

    The tape is cut only where every earlier row is earlier at the exchange too, so that no row has to be split over two
    pieces; where no such place is found in ``rows`` rows the piece grows until there is one.

    Raises
    ------
    InputError
        When the tape has neither depth nor trades.
    """
    from .tape import Tape

    held = np.empty(0)
    for chunk, later in zip(_wanted(tape, rows), _later_minima(tape, rows), strict=True):
        held = np.concatenate([held, chunk]) if len(held) else chunk
        cut = _last_cut(held, later)
        if cut:
            yield to_hftbacktest(Tape(tape.venue, tape.symbol, held[:cut], {}))
            held = held[cut:].copy()  # nothing after the last piece, behind which all is cut


def _wanted(tape: StoredTape | Tape, rows: int, columns: Sequence[str] = EVENT_DTYPE.names) -> Iterator[np.ndarray]:
    """The tape's rows that a replay uses, ``rows`` of the tape at a time; pieces without any are left out."""
    gathered: list[np.ndarray] = []
    count = 0
    for chunk in tape.chunks(columns=columns):
        kept = chunk[~np.isin(chunk["ev"] & np.uint64(KIND_MASK), (*OWN_KINDS, DEPTH_BBO))]
        if len(kept):
            gathered.append(kept)
            count += len(kept)
        if count >= rows:
            yield np.concatenate(gathered)
            gathered, count = [], 0
    if gathered:
        yield np.concatenate(gathered)


def _later_minima(tape: StoredTape | Tape, rows: int) -> list[int]:
    """For each piece of ``_wanted`` the smallest exchange time of all later ones."""
    least = [int(np.minimum(c["exch_ts"], c["local_ts"]).min()) for c in _wanted(tape, rows, _TIMES)]
    if not least:
        raise InputError(
            f"the tape of {tape.symbol} has neither depth nor trades",
            "both in a replay",
            "Give a recording with both streams",
        )
    after = np.minimum.accumulate([np.iinfo(np.int64).max, *least[:0:-1]])
    return after[::-1].tolist()


def _last_cut(events: np.ndarray, later: int) -> int:
    """Largest i such that rows [0, i) left the exchange before rows [i, n) and before ``later``; 0 without one."""
    exch = np.minimum(events["exch_ts"], events["local_ts"])
    after = np.minimum(np.minimum.accumulate(exch[::-1])[::-1], later)
    ends = np.append(after[1:], later)  # smallest exchange time from row i + 1 on
    good = np.flatnonzero(np.maximum.accumulate(exch) < ends)
    return int(good[-1]) + 1 if len(good) else 0
