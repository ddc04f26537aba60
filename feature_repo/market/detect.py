"""What lies at a path: market data of which source, contract and order, told from content and never from names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..instruments import known_instruments
from ..own_instruments import own_path
from ..paths import data_root
from . import npz
from .sources import ACCEPTED, CutOffError, first_bytes, sha256_of
from .stream import MAX_BAD_SHARE, BadRows, Reader

if TYPE_CHECKING:
    from .ingest import Import

__all__ = ["SOURCES", "Found", "choose_files", "find_data", "import_files", "open_source"]

SOURCES = ("binance", "tardis", "hftbacktest")
"""Kinds of source, as `--source` names them."""

_NPZ_VENUE = "binance_usdm"
# Never used to tell what a file is; a file named like data that is none of ours must not be passed over in silence.
_DATA_SUFFIXES = (".gz", ".dat", ".raw", ".log", ".jsonl", ".csv", ".npz", ".npy", ".zip", ".parquet")
_SURE = ("depthUpdate", "forceOrder", "markPriceUpdate")
_PEEK_LINES = 2_000  # a Binance file must name its symbol within these
_PEEK_BYTES = 1 << 26


@dataclass(frozen=True)
class Found:
    """One file of market data.

    Attributes
    ----------
    kind : one of ``SOURCES``
    venue, symbol : "" where the file does not say
    first_ns : its first local time, not corrected; 0 where it has none
    """

    path: Path
    kind: str
    venue: str
    symbol: str
    first_ns: int

    def __str__(self) -> str:
        """What a person chooses by."""
        return f"{self.symbol or 'no symbol'} ({self.venue or 'no venue'}, {self.kind})"


def open_source(
    path: str | Path,
    *,
    source: str | None = None,
    symbol: str | None = None,
    venue: str | None = None,
    max_bad_share: float = MAX_BAD_SHARE,
    progress: Callable[[float], None] | None = None,
) -> Import:
    """Market data that is no tape yet, on its way to one.

    Parameters
    ----------
    path : a file, or a folder with any number of days of any sources, in it or one level below; hidden files and files
        that are plainly no data (a licence, a checksum) are passed over
    source : one of ``SOURCES``: every file must be of this kind
    symbol, venue : which contract, where several are there; arrays of hftbacktest name neither, and need the symbol
    max_bad_share : share of unusable rows from which a file is refused
    progress : called with the fraction of bytes read, 0..1

    Returns
    -------
    ingest.Import: one segment for each run of files of one kind, in order of time

    Raises
    ------
    InputError
        When nothing usable is there, a file is not what it should be or is there twice, or several contracts are there
        and none was chosen.
    """
    found = choose_files(path, source=source, symbol=symbol, venue=venue)
    return import_files(found, max_bad_share=max_bad_share, venue_assumed=venue is None, progress=progress)


def choose_files(
    path: str | Path, *, source: str | None = None, symbol: str | None = None, venue: str | None = None
) -> list[Found]:
    """The files of one contract at ``path``, by their first local time; see ``open_source``."""
    return _choose(find_data(path, source=source), Path(path), symbol, venue)


def import_files(
    found: Sequence[Found],
    *,
    max_bad_share: float = MAX_BAD_SHARE,
    venue_assumed: bool = True,
    progress: Callable[[float], None] | None = None,
) -> Import:
    """Files of one contract on their way to a tape; see ``open_source``.

    Parameters
    ----------
    venue_assumed : the venue of arrays, which name none, was guessed
    """
    from .ingest import Import

    if not 0.0 <= max_bad_share < 1.0:
        raise InputError(f"a share of {max_bad_share:g} bad rows", "0 or more and less than 1", "Give 0.01 for 1 %")
    return Import(_readers(found, max_bad_share, assumed=venue_assumed), progress=progress)


def find_data(path: str | Path, *, source: str | None = None) -> list[Found]:
    """The files of market data at ``path``, at least one, by their first local time; see ``open_source``."""
    path = Path(path)
    if source is not None and source not in SOURCES:
        raise InputError(f"unknown source {source!r}", f"one of {', '.join(SOURCES)}", "Give one of these or leave it")
    if not path.exists():
        raise InputError(f"{path} does not exist", ACCEPTED, "Check the path")
    files = _files(path) if path.is_dir() else [path]
    found = [f for p in files if (f := _look(p, source, required=p == path)) is not None]
    if not found:
        held = ", ".join(p.name for p in sorted(path.iterdir())[:5]) or "nothing"
        raise InputError(f"{path} holds no market data, only {held}", ACCEPTED, "Give one of these")
    _refuse_twins(found)
    return sorted(found, key=lambda f: (f.first_ns, f.path))


def _files(folder: Path) -> list[Path]:
    """Visible files of a folder and of the folders in it."""
    try:
        here = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
        below = [sorted(c for c in p.iterdir() if not c.name.startswith(".")) for p in here if p.is_dir()]
    except OSError as error:
        raise InputError(
            f"{error.filename} cannot be read ({error.strerror})", "a readable folder", "Check its rights"
        ) from error
    return [p for p in (*here, *(c for children in below for c in children)) if p.is_file()]


def _look(path: Path, source: str | None, *, required: bool) -> Found | None:
    """What a file is; None for one that is no data."""
    required = required or path.suffix.lower() in _DATA_SUFFIXES
    try:
        if path.stat().st_size == 0:
            if not required:
                return None
            raise InputError(f"{path} is empty", ACCEPTED, "Give a file with market data, or remove it")
        found = _tell(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})", "a readable file", "Check its rights") from error
    if found is not None and source in (None, found.kind):
        return found
    if found is not None:
        raise InputError(f"{path} is a file of {found.kind}", f"a file of {source}", "Leave --source out or move it")
    if not required:
        return None
    wanted = ACCEPTED if source is None else f"a file of {source}"
    raise InputError(f"{path}{_beginning(path)}", wanted, "Give one of these, or remove the file")


def _tell(path: Path) -> Found | None:
    from . import sources, tardis_head

    array = npz.head_of(path)
    if array is not None:
        return Found(path, "hftbacktest", "", "", array.first_ns)
    table = tardis_head.head_of(path)
    if table is not None:
        venue = tardis_head.VENUES.get(table.exchange, table.exchange)
        return Found(path, "tardis", venue, table.symbol, table.first_ns)
    lines = sources.head_of(path)
    if lines is not None:
        return Found(path, "binance", *_contract_of(path), lines.first_ns)
    return None


def _contract_of(path: Path) -> tuple[str, str]:
    """Venue and symbol that the first messages of a Binance recording name; "" where they name none."""
    from . import sources
    from .binance import BinanceParser

    parser = BinanceParser()
    n = size = 0
    blocks = sources.open_blocks(path)
    try:
        for block in blocks:
            for line in block.splitlines():
                n += 1
                stamp, _, payload = line.partition(b" ")
                if not stamp.isdigit() or len(stamp) > 19:
                    continue
                parser.parse(int(stamp) * 10 ** (19 - len(stamp)), payload)
                # Trades and tickers only hint at the venue.
                if n >= _PEEK_LINES or any(parser.messages[kind] for kind in _SURE):
                    return parser.venue or "", parser.symbol or ""
            size += len(block)
            if size > _PEEK_BYTES:
                break
    except InputError as error:
        raise InputError(f"{path}, line {n}: {error.got}", error.accepts, error.do) from error
    except CutOffError:
        pass  # what it names before its end counts; the reader tells of the cut
    finally:
        blocks.close()
    return parser.venue or "", parser.symbol or ""


def _refuse_twins(found: Sequence[Found]) -> None:
    """Refuse the same content under two names; only files of one size are read for it."""
    by_size: dict[int, list[Path]] = {}
    for f in found:
        by_size.setdefault(f.path.stat().st_size, []).append(f.path)
    for paths in by_size.values():
        seen: dict[str, Path] = {}
        for path in paths if len(paths) > 1 else ():
            digest = sha256_of(path)
            if digest in seen:
                raise InputError(
                    f"{path} has the same content as {seen[digest].name}", "each file once", "Remove one of them"
                )
            seen[digest] = path


def _choose(found: list[Found], path: Path, symbol: str | None, venue: str | None) -> list[Found]:
    """The files of one contract; arrays get the contract they are said to be of."""
    nameless = [f for f in found if f.kind == "hftbacktest"]
    if nameless and symbol is None:
        raise InputError(
            f"{nameless[0].path} is an array of hftbacktest, which does not name its contract",
            "its symbol",
            "Give --symbol and --venue",
        )
    if nameless and symbol is not None:
        there = {f.venue for f in found if f.symbol == symbol}
        home = venue or (there.pop() if len(there) == 1 else _venue_of(symbol))
        found = [Found(f.path, f.kind, home, symbol, f.first_ns) if f.kind == "hftbacktest" else f for f in found]
    named = [f for f in found if f.symbol]
    # A file whose beginning names no contract belongs to the only one there.
    silent = [f for f in found if not f.symbol]
    wanted = [f for f in named if symbol in (None, f.symbol) and venue in (None, f.venue)]
    if named and not wanted:
        asked = " on ".join(x for x in (symbol or "any symbol", venue) if x)
        raise InputError(f"{path} holds {_list(named)}, not {asked}", "one of these", "Give its --symbol and --venue")
    contracts = {(f.venue, f.symbol) for f in wanted}
    if len(contracts) > 1:
        flag = "--symbol" if len({s for _, s in contracts}) > 1 else "--venue"
        raise InputError(f"{path} holds {_list(wanted)}", "one contract a tape", f"Choose one with {flag}")
    if silent and len({(f.venue, f.symbol) for f in named}) > 1:
        raise InputError(
            f"{silent[0].path} names no symbol in its first {_PEEK_LINES} lines",
            "files that name theirs, where several contracts are in one folder",
            "Move it into a folder with the files of its contract",
        )
    return sorted((*wanted, *silent), key=lambda f: (f.first_ns, f.path))


def _list(found: Sequence[Found]) -> str:
    names = sorted({str(f) for f in found})
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _venue_of(symbol: str) -> str:
    """Where a contract is traded whose array does not say."""
    known = [(v, s) for v, s in known_instruments() if v != "simulated"]
    homes = [v for v, s in known if s == symbol]
    if _NPZ_VENUE in homes:
        return _NPZ_VENUE
    if len(homes) == 1:
        return homes[0]
    traded = "on " + " and ".join(homes) if homes else "unknown"
    raise InputError(
        f"an array of hftbacktest said to be of {symbol!r}, which is {traded}",
        f"one of: {', '.join(sorted(f'{s} on {v}' for v, s in known))}",
        "Give --venue" if homes else f"Give another --symbol, or add it to {own_path(data_root())}",
    )


def _readers(found: Sequence[Found], max_bad_share: float, *, assumed: bool) -> list[Reader]:
    """One reader for each run of files of one kind."""
    from .recording import BinanceReader
    from .tardis import TardisReader

    runs = [(kind, list(run)) for kind, run in groupby((f for f in found if f.first_ns), key=lambda f: f.kind)]
    for f in found:
        if not f.first_ns:
            # No time of its own (an initial snapshot, a header without lines): it goes with the first of its kind.
            run = next((files for kind, files in runs if kind == f.kind), None)
            if run is None:
                runs.insert(0, (f.kind, [f]))
            else:
                run.append(f)
    out: list[Reader] = []
    for kind, files in runs:
        paths, bad = [f.path for f in files], BadRows(max_bad_share)
        if kind == "binance":
            out.append(BinanceReader(paths, bad))
        elif kind == "tardis":
            out.append(TardisReader(paths, bad))
        else:
            out.append(npz.NpzReader(paths, bad, files[0].venue, files[0].symbol, venue_assumed=assumed))
    return out


def _beginning(path: Path) -> str:
    """How a file of no known format begins, to go on after its name in a message."""
    head = first_bytes(path, 4_096)
    if head is None:
        return " is damaged: no .gz after its first bytes"
    if not head:
        return " is a .gz with nothing in it"
    if head[:4] == b"PAR1":
        return " is a Parquet file outside its tape folder"
    text = head.split(b"\n", 1)[0][:60].decode("utf-8", "replace").strip()
    return f", line 1 is {text if text.isprintable() else 'binary data'!r}"
