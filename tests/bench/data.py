"""What is measured on: the real ETHUSDT recording, made longer, and the same market as a tape, Tardis CSV and npz."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.csv
from isal import igzip

from feature_repo.events import BUY, DEPTH, DEPTH_SNAPSHOT, KIND_MASK, TRADE

from .harness import ROOT

__all__ = ["ETHUSDT", "WHY_NOT", "make_recording", "make_tape", "make_tardis", "repeated", "rows_of"]

ETHUSDT = ROOT.parent / "shared" / "data" / "binance_usdm_ethusdt"
WHY_NOT = "the recording of ETHUSDT is not there"

_PAUSE_NS = 1_000_000_000
_DAY_NS = 86_400_000_000_000
_ID_STEP = 1_000_000  # ids of the next copy leave this much out: a reconnect, after which a snapshot comes
_TIMES_MS = ("E", "T")
_BOOK_IDS = ("U", "u", "pu", "lastUpdateId")


def _lines() -> Iterator[tuple[int, dict[str, Any]]]:
    for path in sorted(ETHUSDT.glob("*.gz")):
        with igzip.open(path, "rb") as handle:
            for line in handle:
                stamp, _, payload = line.partition(b" ")
                yield int(stamp), orjson.loads(payload)


def make_recording(path: Path, copies: int, *, level: int = 6) -> int:
    """Write the real recording ``copies`` times in a row, with its own spelling; returns the number of lines.

    Each copy begins when the one before has ended and has later ids, as after a reconnect: its own REST snapshot
    starts the book anew. ``level`` is gzip's, 6 as recorders write; 1 where the file only has to be long.
    """
    lines = list(_lines())
    inner = [message.get("data", message) for _, message in lines]
    span_ms = (lines[-1][0] - lines[0][0] + _PAUSE_NS) // 1_000_000
    span_ids = _reach(inner, _BOOK_IDS)
    span_trades = _reach(inner, ("t",))
    with igzip.open(path, "wb", compresslevel=level) if level <= 3 else gzip.open(path, "wb", level) as out:
        for copy in range(copies):
            block = []
            for (stamp, message), data in zip(lines, inner, strict=True):
                if copy:
                    _shift(data, span_ms, span_ids, span_trades)
                block.append(b"%d %s\n" % (stamp + copy * span_ms * 1_000_000, orjson.dumps(message)))
            out.write(b"".join(block))
    return copies * len(lines)


def _reach(messages: list[dict[str, Any]], names: tuple[str, ...]) -> int:
    ids = [m[n] for m in messages for n in names if n in m]
    return max(ids) - min(ids) + _ID_STEP


def _shift(data: dict[str, Any], span_ms: int, span_ids: int, span_trades: int) -> None:
    """Move one message to the next copy, in place."""
    for name in _TIMES_MS:
        if name in data:
            data[name] += span_ms
    for name in _BOOK_IDS:
        if name in data:
            data[name] += span_ids
    if "t" in data:
        data["t"] += span_trades


def rows_of(path: Path) -> np.ndarray:
    """EVENT_DTYPE rows of a recording, on the corrected clock."""
    from feature_repo.market.detect import open_source

    return np.concatenate([chunk.copy() for chunk in open_source(path).chunks()])


class _Repeated:
    """Rows of a tape, ``copies`` times in a row, as an event stream."""

    venue, symbol, simulated = "binance_usdm", "ETHUSDT", False

    def __init__(self, events: np.ndarray, copies: int) -> None:
        self._events, self._copies = events, copies

    def chunks(self) -> Iterator[np.ndarray]:
        midnight_ns = -int(self._events["local_ts"][0]) % _DAY_NS
        for copy in range(self._copies):
            yield _later(self._events, copy, midnight_ns)

    def facts(self) -> dict[str, Any]:
        return {}


def make_tape(root: Path, events: np.ndarray, copies: int) -> Path:
    """Write the rows ``copies`` times in a row as a tape from midnight on; each copy begins with its snapshot."""
    from feature_repo.market.tape import write_stream

    return write_stream(_Repeated(events, copies), root)


def make_tardis(folder: Path, events: np.ndarray, copies: int, *, packed: bool) -> list[Path]:
    """Trades and book changes of a tape as Tardis would give them, ``copies`` times in a row; plain or .gz.

    Returns
    -------
    Paths of the trades and of the book, in the order in which hftbacktest wants them
    """
    kind = events["ev"] & np.uint64(KIND_MASK)
    buy = (events["ev"] & np.uint64(BUY)) != 0
    span_us = int(events["local_ts"][-1] - events["local_ts"][0] + _PAUSE_NS) // 1_000_000 * 1_000
    book, trades = np.isin(kind, (DEPTH, DEPTH_SNAPSHOT)), kind == TRADE
    ending = "csv.gz" if packed else "csv"
    out = [folder / f"trades.{ending}", folder / f"incremental_book_L2.{ending}"]
    for path, of_kind in zip(out, (trades, book), strict=True):
        rows, side = events[of_kind], buy[of_kind]
        with igzip.open(path, "wb", compresslevel=1) if packed else path.open("wb") as sink:
            for copy in range(copies):
                table = _trades(rows, side, copy) if path is out[0] else _book(rows, side, kind[of_kind])
                table = _with_head(table, rows, copy * span_us)
                if copy == 0:
                    sink.write(",".join(table.column_names).encode() + b"\n")  # pyarrow would quote the names
                pa.csv.write_csv(table, sink, pa.csv.WriteOptions(include_header=False, quoting_style="none"))
    return out


def _book(rows: np.ndarray, buy: np.ndarray, kind: np.ndarray) -> dict[str, Any]:
    return {
        "is_snapshot": pa.array(np.where(kind == DEPTH_SNAPSHOT, "true", "false")),
        "side": pa.array(np.where(buy, "bid", "ask")),
        "price": pa.array(rows["px"]),
        "amount": pa.array(rows["qty"]),
    }


def _trades(rows: np.ndarray, buy: np.ndarray, copy: int) -> dict[str, Any]:
    return {
        "id": pa.array(1_000_000_000 + copy * len(rows) + np.arange(len(rows))),
        "side": pa.array(np.where(buy, "buy", "sell")),
        "price": pa.array(rows["px"]),
        "amount": pa.array(rows["qty"]),
    }


def _with_head(columns: dict[str, Any], rows: np.ndarray, shift_us: int) -> pa.Table:
    n = len(rows)
    head = {
        "exchange": pa.array(["binance-futures"] * n),
        "symbol": pa.array(["ETHUSDT"] * n),
        "timestamp": pa.array(rows["exch_ts"] // 1_000 + shift_us),
        "local_timestamp": pa.array(rows["local_ts"] // 1_000 + shift_us),
    }
    return pa.table({**head, **columns})


def repeated(events: np.ndarray, copies: int) -> np.ndarray:
    """EVENT_DTYPE [copies * n]: the rows ``copies`` times in a row, each copy a second after the one before."""
    return np.concatenate([_later(events, copy) for copy in range(copies)])


def _later(events: np.ndarray, copy: int, begin_ns: int = 0) -> np.ndarray:
    """One copy of the rows, moved behind the copies before it, and all of them by ``begin_ns``."""
    span_ns = int(events["local_ts"][-1] - events["local_ts"][0]) + _PAUSE_NS
    rows = events.copy()
    for name in ("local_ts", "exch_ts"):
        rows[name] += begin_ns + copy * span_ns
    return rows
