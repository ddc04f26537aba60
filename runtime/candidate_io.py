"""Candidates as Arrow tables, both ways. Enumerations go by name, so that a file reads without this code."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import IntEnum

import pyarrow as pa

from feature_repo.errors import InputError

from .candidate import Candidate, Entry, SigType, Tier

__all__ = [
    "CANDIDATE_SCHEMA",
    "candidates_from_table",
    "candidates_to_table",
]

CANDIDATE_SCHEMA = pa.schema(
    [
        pa.field("ts_ns", pa.int64(), nullable=False),
        pa.field("symbol", pa.string(), nullable=False),
        pa.field("side", pa.int8(), nullable=False),
        pa.field("sig_type", pa.string(), nullable=False),
        pa.field("tier", pa.string(), nullable=False),
        pa.field("price", pa.float64(), nullable=False),
        pa.field("R_bps", pa.float64(), nullable=False),
        pa.field("exp_reward_bps", pa.float64(), nullable=False),
        pa.field("est_slip_bps", pa.float64(), nullable=False),
        pa.field("entry", pa.string(), nullable=False),
        pa.field("expiry_ns", pa.int64(), nullable=False),
        pa.field("reclaimed", pa.bool_(), nullable=False),
    ]
)
"""Columns of candidates, in a labels file too; unknown rewards are NaN."""

_SIG_TYPE = {t.name.lower(): t for t in SigType}
_TIER = {t.name: t for t in Tier}
_ENTRY = {e.name.lower(): e for e in Entry}


def candidates_to_table(candidates: Sequence[Candidate]) -> pa.Table:
    """Candidates as an Arrow table in :data:`CANDIDATE_SCHEMA`, in the order given."""
    columns: dict[str, list] = {
        name: [getattr(c, name) for c in candidates]
        for name in CANDIDATE_SCHEMA.names
        if name not in ("sig_type", "tier", "entry")
    }
    columns["sig_type"] = [c.sig_type.name.lower() for c in candidates]
    columns["tier"] = [c.tier.name for c in candidates]
    columns["entry"] = [c.entry.name.lower() for c in candidates]
    return pa.table(columns, schema=CANDIDATE_SCHEMA)


def candidates_from_table(table: pa.Table, *, name: str) -> list[Candidate]:
    """Candidates of an Arrow table; columns beyond :data:`CANDIDATE_SCHEMA` are left alone.

    Parameters
    ----------
    name : what an error calls the table, usually its file

    Raises
    ------
    InputError
        When a column is missing or of another type, or a row's value is unknown; names the columns and the rows.
    """
    wrong = []
    for field in CANDIDATE_SCHEMA:
        if field.name not in table.column_names:
            wrong.append(f"{field.name} is missing")
        elif table.schema.field(field.name).type != field.type:
            wrong.append(f"{field.name} is {table.schema.field(field.name).type}, not {field.type}")
    if wrong:
        raise InputError(
            f"{name}: {'; '.join(wrong)}",
            f"the columns {', '.join(f'{f.name} ({f.type})' for f in CANDIDATE_SCHEMA)}",
            "Make the table with candidates_to_table",
        )
    rows = table.select(CANDIDATE_SCHEMA.names).to_pylist()
    _check_rows(rows, name)
    return [
        Candidate(
            **{
                **row,
                "sig_type": _SIG_TYPE[row["sig_type"]],
                "tier": _TIER[row["tier"]],
                "entry": _ENTRY[row["entry"]],
            }
        )
        for row in rows
    ]


def _choices(kind: dict[str, IntEnum]) -> str:
    return " | ".join(kind)


def _check_rows(rows: list[dict], name: str) -> None:
    """Refuse the first row (1-based) that no candidate can be made of."""
    seen: dict[tuple[str, int, int], int] = {}
    for n, row in enumerate(rows, 1):
        missing = [k for k, v in row.items() if v is None]
        key = (row["symbol"], row["ts_ns"], row["side"])
        if missing:
            _refuse(name, n, f"{', '.join(missing)} is null", "a value in every column (NaN for an unknown reward)")
        for column, kind in (("sig_type", _SIG_TYPE), ("tier", _TIER), ("entry", _ENTRY)):
            if row[column] not in kind:
                _refuse(name, n, f"{column} {row[column]!r}", _choices(kind))
        if row["side"] not in (1, -1):
            _refuse(name, n, f"side {row['side']}", "1 (buy) or -1 (sell)")
        if not 0 < row["price"] < math.inf:
            _refuse(name, n, f"price {row['price']}", "a positive price")
        if key in seen:
            _refuse(name, n, f"the symbol, time and side of row {seen[key]} again", "one candidate for each of them")
        seen[key] = n


def _refuse(name: str, row: int, got: str, accepts: str) -> None:
    raise InputError(f"{name}, row {row}: {got}", accepts, "Correct or drop the row")
