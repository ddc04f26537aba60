"""What every source of market data gives: event rows in chunks, and an account of the rows that it could not use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..constants import SECOND_NS
from ..errors import InputError

__all__ = ["MAX_BAD_SHARE", "OVERLAP_NS", "BadRows", "EventStream", "Reader"]

MAX_BAD_SHARE = 0.01
"""With a larger share of unusable rows a file is refused."""
OVERLAP_NS = SECOND_NS
"""What follows may begin so much before the end of what it follows, and is held at that end: clocks differ by a little.
More is refused."""


@dataclass
class BadRows:
    """Rows that were left out, by reason, and the first of them of each file; refuses a file that has too many.

    A row is what the source calls one: a line of a recording or CSV, an event of an array.
    """

    max_share: float = MAX_BAD_SHARE
    rows: int = 0  # of all finished files, usable or not
    reasons: Counter[str] = field(default_factory=Counter)
    first: dict[str, Any] | None = None
    _file_bad: int = 0
    _file_first: tuple[int, str] | None = None

    def add(self, path: Path, row: int, reason: str, n: int = 1, *, judged: bool = True) -> None:
        """Count ``n`` unusable rows of the file that is being read; ``row`` is the number of the first, from 1.

        ``judged`` False: not towards the share that refuses a file. Of a file that is cut off only the end is missing,
        however short it is.
        """
        self.reasons[reason] += n
        self._file_bad += n * judged
        if self._file_first is None and judged:
            self._file_first = (row, reason)
        if self.first is None:
            self.first = {"file": path.name, "line": row, "reason": reason}

    def end_file(self, path: Path, rows: int, what: str) -> None:
        """Judge a file that was read to its end.

        Parameters
        ----------
        rows : rows in the file, usable or not
        what : what a row should have been, for the message

        Raises
        ------
        InputError
            When more than ``max_share`` of its rows are unusable; names the file, the first such row and its reason.
        """
        bad, first = self._file_bad, self._file_first
        self._file_bad, self._file_first = 0, None
        self.rows += rows
        if first is not None and bad > self.max_share * rows:
            raise InputError(
                f"{path}, line {first[0]}: {first[1]} (the first of {bad} unusable rows among {rows})",
                f"{what}, with at most {self.max_share:g} of them unusable",
                "Repair or cut the file",
            )


class Reader(Protocol):
    """One source of one contract, as its recorder saw it.

    Attributes
    ----------
    kind : ``binance``, ``tardis`` or ``hftbacktest``
    venue, symbol : known once the first chunk has been given
    files : what is read, for messages
    bad : the account of unusable rows
    size : bytes on disk of all files; ``done`` bytes of them are read
    """

    kind: str
    venue: str
    symbol: str
    files: Sequence[Path]
    bad: BadRows
    size: int
    done: int

    def chunks(self) -> Iterator[np.ndarray]:
        """EVENT_DTYPE [n] in the order received, n >= 1, about a million rows at most; once only.

        local_ts is the recorder's own clock, not yet corrected, and never falls; a row that came with an earlier time
        is held at the latest one seen and counted. exch_ts is 0 where no message so far has told the exchange's time.
        ev has its side and the LOCAL and EXCH flags. A message may be cut by a chunk's end. New arrays, which the taker
        may change.
        """
        ...

    def facts(self) -> dict[str, Any]:
        """Manifest fields of this source beside those that follow from the rows; after the last chunk only.

        ``sources`` (list of {name, size, sha256, lines}) is always there.
        """
        ...


class EventStream(Protocol):
    """A tape on its way: what `write_stream` writes. An import, a simulation, a stored tape."""

    @property
    def venue(self) -> str:
        """Known once the first chunk has been given, and so is the symbol."""
        ...

    @property
    def symbol(self) -> str: ...

    @property
    def simulated(self) -> bool:
        """Whether the market is made up."""
        ...

    def chunks(self) -> Iterator[np.ndarray]:
        """EVENT_DTYPE [n], n >= 1, sorted by local_ts within and across chunks, on the corrected clock."""
        ...

    def facts(self) -> dict[str, Any]:
        """Manifest fields beside those that follow from the rows; after the last chunk only."""
        ...
