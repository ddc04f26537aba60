"""A Binance recording, `<local_ts> <json>` a line: files, blocks of lines, and the account of those unused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from .binance import NO_JSON, BinanceParser
from .binance_lines import BinanceLines
from .sources import CUT_OFF, CutOffError, Source, head_of, open_blocks
from .stream import OVERLAP_NS, BadRows

__all__ = ["BinanceReader"]

_WHAT = "`<local_ts> <json>` a line"


class BinanceReader:
    """Files that continue each other, read as one recording; see ``stream.Reader``.

    A file that is cut off (a .gz without its end, or a last line without its end that cannot be read) gives what can be
    read of it and counts as one bad row, for which it is not refused.

    Parameters
    ----------
    files : in any order
    bad : gets the account of unusable lines

    Raises
    ------
    InputError
        For a file that does not begin like a recording. While reading: for a file that begins over a second before the
        one before it ends, a damaged .gz, a second symbol, one that the instrument table lacks, and a file with too
        many bad rows; each names the file, and the line where there is one.
    """

    kind = "binance"

    def __init__(self, files: Sequence[Path], bad: BadRows) -> None:
        self.bad = bad
        self._sources = sorted((_source(Path(f)) for f in files), key=lambda s: s.first_ns)
        self.files = [s.path for s in self._sources]
        self.size = sum(s.size for s in self._sources)
        self.done = 0
        self._parser = BinanceParser()
        self._lines = [0] * len(self._sources)

    @property
    def venue(self) -> str:
        """ "" until a message tells it."""
        return self._parser.venue or ""

    @property
    def symbol(self) -> str:
        """ "" until a message tells it."""
        return self._parser.symbol or ""

    def chunks(self) -> Iterator[np.ndarray]:
        """EVENT_DTYPE [n] of a block of lines each; once only."""
        reader, latest_ns, before = BinanceLines(self._parser), 0, ""
        for k, source in enumerate(self._sources):
            if source.first_ns < latest_ns - OVERLAP_NS:
                raise InputError(
                    f"{source.path} begins before {before} ends",
                    "files that continue each other",
                    "Put recordings of the same time into folders of their own",
                )
            for rows in self._file(source, k, reader):
                latest_ns = int(rows["local_ts"][-1])
                yield rows
            before = str(source.path)

    def _file(self, source: Source, k: int, reader: BinanceLines) -> Iterator[np.ndarray]:
        """Rows of one file, block by block."""
        path, n, start = source.path, 0, self.done
        unit_ns, digits = source.unit_ns, source.digits
        with open_blocks(path) as blocks:
            try:
                for block in blocks:
                    try:
                        report = reader.feed(block, unit_ns=unit_ns, digits=digits)
                    except InputError as error:
                        raise InputError(
                            f"{path}, line {n + reader.line}: {error.got}", error.accepts, error.do
                        ) from error
                    for at, reason in report.bad:
                        last = at == report.lines and not block.endswith(b"\n")
                        cut = last and _halved(reason)
                        self.bad.add(path, n + at, CUT_OFF if cut else reason, judged=not cut)
                    n += report.lines
                    self.done = start + blocks.done
                    rows = reader.take()
                    if len(rows):
                        yield rows
            except CutOffError:
                n += 1
                self.bad.add(path, n, CUT_OFF, judged=False)
        self._lines[k], self.done = n, start + source.size
        self.bad.end_file(path, n, _WHAT)

    def facts(self) -> dict[str, Any]:
        """sources, lines, messages, skipped, depth, trade_ids_missing, local_backwards, local_ts_unit."""
        parser = self._parser
        return {
            "sources": [
                {"name": s.path.name, "size": s.size, "sha256": s.sha256, "lines": n}
                for s, n in zip(self._sources, self._lines, strict=True)
            ],
            "lines": sum(self._lines),
            "messages": dict(parser.messages),
            "skipped": dict(parser.skipped),
            "depth": dict(parser.depth),
            "trade_ids_missing": parser.trade_ids_missing,
            "local_backwards": parser.local_backwards,
            "local_ts_unit": self._sources[0].unit,
        }


def _halved(reason: str) -> bool:
    """Whether a line that is unusable for this reason may be the first part of a good one."""
    return reason == NO_JSON or reason.startswith("local_ts ")


def _source(path: Path) -> Source:
    source = head_of(path)
    if source is None:
        raise InputError(f"{path} is no recording", _WHAT, "Give another file, or leave --source out")
    return source
