"""The market state a candidate fires in, and what share of the full size a release may order in it.

A bucket is signal type x terciles of OFI, spread and depth x session; its parent is signal type x session. The names
and the rule are those of ``reports.buckets``, which judges them: a value on an edge belongs to the lower tercile, and
with any state unknown the candidate has no bucket but its parent. buckets.csv has a row for each that was judged.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple

from feature_repo.errors import InputError

from .candidate import SigType

__all__ = [
    "ALL",
    "Bucket",
    "BucketEdges",
    "BucketTable",
    "Share",
    "Shares",
    "edges_from_json",
    "edges_to_json",
    "is_edges",
    "read_buckets",
    "restaged_csv",
]

ALL = "all"
"""A parent's state."""
_TERCILES = ("low", "mid", "high")
_SESSIONS = ("other", "handover")
_STATES = ("ofi_z", "spread", "depth")
_SIG_TYPES = tuple(s.name.lower() for s in SigType)
_NAMED = {
    "sig_type": _SIG_TYPES, "ofi_z": (*_TERCILES, ALL), "spread": (*_TERCILES, ALL), "depth": (*_TERCILES, ALL),
    "session": _SESSIONS,
}  # fmt: skip
_COLUMNS = ("fee_tier", "profile", "model", "exit", *_NAMED, "multiplier")
_EXIT = "label"
_SINCE = "since_ns"
_AGAIN = "Get the release again from where it was made"


class Bucket(NamedTuple):
    """A market state by its names, as buckets.csv has them."""

    profile: str
    sig_type: str
    ofi_z: str
    spread: str
    depth: str
    session: str

    @property
    def parent(self) -> Bucket:
        """Signal type x session."""
        return self._replace(ofi_z=ALL, spread=ALL, depth=ALL)

    def __str__(self) -> str:
        return "/".join(self)

    @classmethod
    def parse(cls, text: str) -> Bucket:
        """From its text, such as B/momentum/high/low/mid/other.

        Raises
        ------
        InputError
            When it names no bucket.
        """
        parts = text.split("/")
        if len(parts) != len(cls._fields) or any(
            part not in _NAMED[name] for name, part in zip(_NAMED, parts[1:], strict=True)
        ):
            raise InputError(f"the bucket {text!r}", "such as B/momentum/high/low/mid/other", "Correct it")
        return cls(*parts)


@dataclass(frozen=True)
class BucketEdges:
    """Inner tercile edges of each state, fitted on training data only; NaN edges put nothing into a bucket."""

    ofi_z: tuple[float, float]
    spread_bps: tuple[float, float]
    depth: tuple[float, float]
    n: int


_PAIRS = ("ofi_z", "spread_bps", "depth")


def edges_to_json(edges: BucketEdges | None) -> dict[str, Any] | None:
    """What a manifest holds of them: unknown edges are null."""
    if edges is None:
        return None
    pairs = {name: getattr(edges, name) for name in _PAIRS}
    known = {name: None if any(map(math.isnan, pair)) else list(pair) for name, pair in pairs.items()}
    return {**known, "n": edges.n}


def edges_from_json(raw: Mapping[str, Any] | None) -> BucketEdges | None:
    """Back from what :func:`is_edges` has found to be good."""
    if raw is None:
        return None
    return BucketEdges(
        *((math.nan, math.nan) if raw[n] is None else tuple(map(float, raw[n])) for n in _PAIRS), raw["n"]
    )


def is_edges(v: Any) -> bool:
    """Whether this is what :func:`edges_to_json` gives."""
    return v is None or (
        isinstance(v, dict)
        and v.keys() == {*_PAIRS, "n"}
        and isinstance(v["n"], int)
        and all(v[name] is None or _is_pair(v[name]) for name in _PAIRS)
    )


def _is_pair(v: Any) -> bool:
    numbers = isinstance(v, list) and len(v) == 2 and all(isinstance(x, int | float) and x == x for x in v)
    return numbers and not any(isinstance(x, bool) for x in v) and v[0] <= v[1]


class Share(NamedTuple):
    """Attributes
    ----------
    multiplier : share of the full size
    since_ns : when it last changed, ns UTC; trades from then on count for the next step
    """

    multiplier: float
    since_ns: int = 0


_NOTHING = Share(0.0)


@dataclass(frozen=True)
class BucketTable:
    """The rows of buckets.csv that a gate goes by."""

    shares: Mapping[Bucket, Share] = field(default_factory=dict)

    def row_of(self, bucket: Bucket) -> Bucket | None:
        """The row that a bucket goes by: its own, or its parent's; None without either."""
        return next((b for b in (bucket, bucket.parent) if b in self.shares), None)

    def share_of(self, bucket: Bucket) -> Share:
        """What the row says; nothing without one."""
        row = self.row_of(bucket)
        return _NOTHING if row is None else self.shares[row]


def read_buckets(text: str, *, fee_tier: str, name: str) -> BucketTable:
    """The rows of the model's arms at one fee tier with the label's exit.

    Parameters
    ----------
    name : what an error calls it

    Raises
    ------
    InputError
        When a column is missing, or a row that counts is damaged or there twice.
    """
    shares: dict[Bucket, Share] = {}
    for at, row in _counting(text, fee_tier, name):
        bucket, share = _row(row, f"{name}, line {at}")
        if bucket in shares:
            raise InputError(f"{name}, line {at}: {bucket} for the second time", "each bucket once", _AGAIN)
        shares[bucket] = share
    return BucketTable(shares)


def restaged_csv(text: str, shares: Mapping[Bucket, Share], *, fee_tier: str, name: str) -> str:
    """The same rows with other multipliers in those that count, and when each was last changed.

    Parameters
    ----------
    text : buckets.csv as ``read_buckets`` takes it
    """
    counting = {line: _row(row, name)[0] for line, row in _counting(text, fee_tier, name)}
    lines = [line for line in csv.reader(io.StringIO(text)) if line]  # as DictReader counts them: without blank ones
    header = lines[0] if _SINCE in lines[0] else [*lines[0], _SINCE]
    at = {column: k for k, column in enumerate(header)}
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    for number, line in enumerate(lines[1:], 2):
        row = [*line, *[""] * (len(header) - len(line))]
        share = shares.get(counting[number]) if number in counting else None
        if share is not None:
            row[at["multiplier"]], row[at[_SINCE]] = repr(share.multiplier), str(share.since_ns)
        writer.writerow(row)
    return out.getvalue()


def _counting(text: str, fee_tier: str, name: str) -> list[tuple[int, dict[str, str]]]:
    """Rows of the model's arm that was rolled out, with the lines they stand in; an arm without trades has none."""
    try:
        reader = csv.DictReader(io.StringIO(text))
        columns, read = reader.fieldnames or (), list(reader)
    except csv.Error as e:
        raise InputError(f"{name} is no CSV ({e})", "buckets.csv as it was written", _AGAIN) from e
    missing = [c for c in _COLUMNS if c not in columns]
    if len(missing) == len(_COLUMNS):  # as the trainer writes it
        raise InputError(
            f"{name} holds no judged bucket: its release was trained without a shadow run",
            "the release of one",
            "Make it with `ofi-meta shadow`",
        )
    if missing:
        raise InputError(f"{name} without the columns {', '.join(missing)}", "every column of reports.buckets", _AGAIN)
    want = {"fee_tier": fee_tier, "model": "true", "exit": _EXIT}
    rows = []
    for line, row in enumerate(read, 2):
        if None in row or None in row.values():
            raise InputError(f"{name}, line {line}: not as many fields as columns", "a whole row", _AGAIN)
        if all(row[column] == value for column, value in want.items()) and row["sig_type"] != ALL:
            rows.append((line, row))
    return rows


def _row(row: Mapping[str, str], where: str) -> tuple[Bucket, Share]:
    for column, names in _NAMED.items():
        if row[column] not in names:
            raise InputError(f"{where}: {column} {row[column]!r}", ", ".join(names), _AGAIN)
    states = [row[s] == ALL for s in _STATES]
    if any(states) and not all(states):
        raise InputError(f"{where}: some states are {ALL!r} and some are not", "a bucket, or a parent", _AGAIN)
    try:
        multiplier, since_ns = float(row["multiplier"]), int(row.get(_SINCE) or 0)
    except ValueError:
        multiplier, since_ns = math.nan, 0
    if not (0 <= multiplier <= 1 and 0 <= since_ns < 2**63):
        raise InputError(f"{where}: multiplier {row['multiplier']!r}", "a number from 0 to 1", _AGAIN)
    return Bucket(row["profile"], *(row[column] for column in _NAMED)), Share(multiplier, since_ns)


class Shares:
    """A release's multipliers for one profile, laid out so that a decision needs six comparisons and one index.

    Parameters
    ----------
    edges : None, or unknown ones: every candidate goes by its parent
    cap : no multiplier is above it
    """

    __slots__ = ("_buckets", "_edges", "_multipliers")

    def __init__(self, table: BucketTable, edges: BucketEdges | None, profile: str, cap: float) -> None:
        pairs = [] if edges is None else [getattr(edges, name) for name in _PAIRS]
        known = bool(pairs) and not any(math.isnan(e) for pair in pairs for e in pair)
        self._edges = tuple(e for pair in pairs for e in pair) if known else None
        states = [*product(_TERCILES, repeat=3), (ALL,) * 3]
        self._buckets = [Bucket(profile, s, *state, h) for s, h, state in product(_SIG_TYPES, _SESSIONS, states)]
        self._multipliers = [min(table.share_of(b).multiplier, cap) for b in self._buckets]

    def bucket(self, sig_type: int, handover: bool, ofi_z: float, spread_bps: float, depth: float) -> Bucket:
        """Where a candidate belongs.

        Parameters
        ----------
        ofi_z : of the window's last row, in the direction of the candidate
        spread_bps, depth : of its market row; depth of the top five levels
        """
        return self._buckets[self._at(sig_type, handover, ofi_z, spread_bps, depth)]

    def multiplier(self, sig_type: int, handover: bool, ofi_z: float, spread_bps: float, depth: float) -> float:
        """Share of the full size there; arguments as for ``bucket``."""
        return self._multipliers[self._at(sig_type, handover, ofi_z, spread_bps, depth)]

    def _at(self, sig_type: int, handover: bool, ofi_z: float, spread_bps: float, depth: float) -> int:
        first = (2 * sig_type + handover) * 28
        if self._edges is None or not (_finite(ofi_z) and _finite(spread_bps) and _finite(depth)):
            return first + 27
        a, b, c, d, e, f = self._edges
        return (
            first
            + 9 * ((ofi_z > a) + (ofi_z > b))
            + 3 * ((spread_bps > c) + (spread_bps > d))
            + (depth > e)
            + (depth > f)
        )


def _finite(x: float) -> bool:
    return -math.inf < x < math.inf
