"""A user's own strategy: a file of entries, checked line by line, and the candidates made of it.

docs/own-strategy.md describes the columns, the clock, and what happens to each entry.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from feature_repo.constants import MS_NS, SIGNAL, WINDOW_NS
from feature_repo.errors import InputError
from feature_repo.market.summary import utc_text

from .candidate import Candidate, Entry, SigType, Tier
from .entry_fields import (
    COLUMNS,
    REQUIRED,
    Fault,
    column_hint,
    number_of,
    shown,
    side_of,
    sig_type_of,
    symbol_of,
    tier_of,
    time_of,
)
from .entry_file import ACCEPTS, Rows, open_rows
from .signals import SignalTable, est_slip_bps, exp_reward_bps, r_bps

__all__ = ["Entries", "UserEntry", "check_span", "entries_sha256", "entries_to_candidates", "read_entries"]

_SHOWN = 10
_READ = {
    "ts_ns": time_of,
    "side": side_of,
    "sig_type": sig_type_of,
    "price": number_of("price"),
    "R_bps": number_of("R_bps"),
    "exp_reward_bps": number_of("exp_reward_bps"),
    "tier": tier_of,
    "symbol": symbol_of,
}


class UserEntry(NamedTuple):
    """One entry as the file gives it.

    Attributes
    ----------
    number : line (CSV) or row (Parquet) of the file, from 1
    ts_ns : ns UTC, corrected local clock
    side : +1 buys, -1 sells
    price : limit of a divergence, reference price of the others, quote currency
    R_bps, exp_reward_bps : None where not given
    symbol : None where not given
    """

    number: int
    ts_ns: int
    side: int
    sig_type: SigType
    price: float
    R_bps: float | None = None
    exp_reward_bps: float | None = None
    tier: Tier = Tier.A
    symbol: str | None = None


@dataclass(frozen=True)
class Entries:
    """What a file of entries holds, in its own order; ``unit`` is what its numbers count, "line" or "row"."""

    path: Path
    unit: str
    rows: tuple[UserEntry, ...]

    def __len__(self) -> int:
        return len(self.rows)


class _Faults:
    """What is wrong, by line, until all of it is told at once."""

    def __init__(self, path: Path, unit: str) -> None:
        self._path, self._unit = path, unit
        self._of: dict[int, list[str]] = {}

    def add(self, number: int, what: str) -> None:
        self._of.setdefault(number, []).append(what)

    def raise_any(self, count: int, accepts: str, do: str) -> None:
        """Raise an InputError with the first lines at fault, if there is any."""
        if not self._of:
            return
        numbers = sorted(self._of)
        lines = [f"{self._unit} {n}: {'; '.join(self._of[n])}" for n in numbers[:_SHOWN]]
        if len(numbers) > _SHOWN:
            lines.append(f"... and {len(numbers) - _SHOWN:,} more")
        got = f"{self._path}: {len(numbers):,} of {count:,} entries cannot be used\n  " + "\n  ".join(lines)
        raise InputError(got, accepts, do)


def read_entries(path: Path) -> Entries:
    """Read a CSV (plain or gzip) or Parquet file of entries, in its own order.

    Parameters
    ----------
    path : what the file is, is told from its content; columns as in docs/own-strategy.md

    Raises
    ------
    InputError
        When the file cannot be read; columns are missing, unknown, there twice or of another type (all of them are
        named); or rows cannot be used (the first ten are named with all that is wrong in them, the others counted).
    """
    path = Path(path)
    with open_rows(path, COLUMNS) as source:
        _check_columns(path, source)
        faults, found, count = _Faults(path, source.unit), [], 0
        seen: dict[tuple[Any, ...], int] = {}
        for number, values in source.rows:
            count += 1
            if isinstance(values, str):
                faults.add(number, values)
            elif len(values) != len(source.header):
                faults.add(number, f"{len(values)} values in {len(source.header)} columns")
            else:
                read = _read_row(number, dict(zip(source.header, values, strict=True)), faults)
                if read.keys() >= {"ts_ns", "side"}:
                    first = seen.setdefault((read.get("symbol"), read["ts_ns"], read["side"]), number)
                    if first != number:
                        faults.add(number, f"the time and side of {source.unit} {first} again")
                if read.keys() >= set(REQUIRED):
                    found.append(UserEntry(number=number, **read))
        faults.raise_any(
            count,
            "one entry a line: ts_ns (integer ns UTC), side (1 or -1), sig_type, price; empty R_bps and "
            "exp_reward_bps are computed",
            "Correct these lines; docs/own-strategy.md describes the columns",
        )
    return Entries(path, source.unit, tuple(found))


def _check_columns(path: Path, source: Rows) -> None:
    header, wrong = source.header, []
    lacking = [name for name in COLUMNS if name not in header]
    for name in dict.fromkeys(header):
        if name not in COLUMNS:
            hint = column_hint(name, lacking)
            wrong.append(f"unknown column {shown(name)}" + (f" ({hint}?)" if hint else ""))
        if header.count(name) > 1:
            wrong.append(f"column {shown(name)} {header.count(name)} times")
    missing = [f"no column {name}" for name in REQUIRED if name in lacking]
    wrong = [*missing, *wrong, *source.types.values()]
    if not wrong:
        return
    if not header:
        raise InputError(f"{path} is empty", ACCEPTS, "Write it again, with a line of column names first")
    do = "Rename or drop columns; docs/own-strategy.md has an example"
    if "" in header or "__index_level_0__" in header:
        do = f"Leave the index out (pandas: index=False). {do}"
    elif len(header) == 1 and any(mark in header[0] for mark in ";\t|"):
        do = "Separate the columns by commas, with a point in decimals"
    raise InputError(f"{path}: {'; '.join(wrong)}", ACCEPTS, do)


def _read_row(number: int, values: dict[str, Any], faults: _Faults) -> dict[str, Any]:
    """What can be read of a row; the rest is noted."""
    read = {}
    for name, value in values.items():
        if value is None:
            if name in REQUIRED:
                faults.add(number, f"{name} is empty")
            continue
        try:
            read[name] = _READ[name](value)
        except Fault as fault:
            faults.add(number, str(fault))
    return read


def entries_sha256(path: Path) -> str:
    """SHA-256 of the file's bytes: names what a run was given, wherever the file lies.

    Raises
    ------
    InputError
        When there is no such file.
    """
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (FileNotFoundError, IsADirectoryError):
        raise InputError(f"no file {path}", ACCEPTS, "Check CANDIDATES") from None


def check_span(entries: Entries, span_ns: tuple[int, int]) -> None:
    """Refuse entries outside a tape, before anything is made of it.

    Parameters
    ----------
    span_ns : first and last local_ts of the tape, ns UTC

    Raises
    ------
    InputError
        Names the lines.
    """
    faults = _Faults(entries.path, entries.unit)
    for row in entries.rows:
        if why := _outside(row.ts_ns, span_ns):
            faults.add(row.number, why)
    _raise_for_tape(faults, entries, span_ns)


def entries_to_candidates(entries: Entries, table: SignalTable, span_ns: tuple[int, int]) -> list[Candidate]:
    """Candidates of a user's entries, in time order.

    An entry is decided at the end of the first window that ends at or after it: what that window saw is known then,
    and nothing later. What the file does not give is computed as for a built-in signal of the same type in that window
    (signals.py). Without a good book in the window the slippage is infinite and an unknown reward NaN: the candidate
    stays, and the gate denies it. A given R is used as it is: whether its stop is wide enough is the gate's to judge.

    Parameters
    ----------
    table : features of the tape
    span_ns : first and last local_ts of the tape, ns UTC

    Raises
    ------
    InputError
        When entries lie outside the tape or its last whole window, are of another symbol, or two of one side fall into
        one window (the feature store has one key for a window and side). Names the lines.
    """
    t_ns = table.market["t_ns"]
    at = np.searchsorted(t_ns, np.array([row.ts_ns for row in entries.rows], np.int64))
    faults, taken = _Faults(entries.path, entries.unit), {}
    for row, i in zip(entries.rows, at.tolist(), strict=True):
        why = _outside(row.ts_ns, span_ns)
        if row.symbol not in (None, table.symbol):
            faults.add(row.number, f"symbol {row.symbol}, the tape's is {table.symbol}")
        if why:
            faults.add(row.number, why)
        elif i == len(t_ns) or t_ns[i] - row.ts_ns > WINDOW_NS:
            faults.add(row.number, f"{_utc(row.ts_ns)}: the tape has no whole 100 ms window that ends then or after")
        elif (first := taken.setdefault((i, row.side), row.number)) != row.number:
            faults.add(row.number, f"the 100 ms window and side of {entries.unit} {first} again")
    _raise_for_tape(faults, entries, span_ns)
    rows = sorted(zip(at.tolist(), entries.rows, strict=True), key=lambda pair: (pair[0], pair[1].number))
    return [_candidate(row, table, table.market[i]) for i, row in rows]


def _candidate(row: UserEntry, table: SignalTable, market_row: np.void) -> Candidate:
    entry = Entry.MAKER if row.sig_type is SigType.DIVERGENCE else Entry.IOC
    mid, ts_ns = float(market_row["mid"]), int(market_row["t_ns"])
    reward = exp_reward_bps(row.sig_type, market_row) if row.exp_reward_bps is None else row.exp_reward_bps
    slip = est_slip_bps(row.side, entry, market_row)
    if row.R_bps is not None:
        R = row.R_bps
    else:
        R = r_bps(reward, mid, table.tick) if mid > 0 else math.nan
    return Candidate(
        ts_ns=ts_ns,
        symbol=table.symbol,
        side=row.side,
        sig_type=row.sig_type,
        tier=row.tier,
        price=row.price,
        R_bps=R,
        exp_reward_bps=reward,
        est_slip_bps=math.inf if math.isnan(slip) else slip,
        entry=entry,
        expiry_ns=ts_ns + SIGNAL.expiry_ms * MS_NS,
        reclaimed=row.sig_type is SigType.RECLAIM,  # both stages are the strategy's own to see
    )


def _outside(ts_ns: int, span_ns: Sequence[int]) -> str:
    if span_ns[0] <= ts_ns <= span_ns[1]:
        return ""
    return f"{_utc(ts_ns)} is {'before' if ts_ns < span_ns[0] else 'after the end of'} the tape"


def _raise_for_tape(faults: _Faults, entries: Entries, span_ns: Sequence[int]) -> None:
    faults.raise_any(
        len(entries),
        f"entries of the tape, {_utc(span_ns[0])} to {_utc(span_ns[1])} UTC on its corrected local clock "
        f"({span_ns[0]} to {span_ns[1]} ns), one a side in a 100 ms window",
        "Correct these lines or give their TAPE; `ofi-meta tape inspect` shows its span and clock",
    )


def _utc(ts_ns: int) -> str:
    return str(utc_text(ts_ns))
