"""The manifest beside a tape: where its rows come from, what was dropped, and what a reader must not overlook."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..events import KIND_MASK, KIND_NAMES

__all__ = ["MANIFEST_NAME", "SCHEMA", "RowFacts", "count_kinds", "derive_manifest", "dump_manifest", "load_manifest"]

MANIFEST_NAME = "manifest.json"
SCHEMA = "ofi-meta tape 1"


def count_kinds(events: np.ndarray) -> dict[str, int]:
    """Rows of each kind that occurs, by the names of ``events.KIND_NAMES``; InputError as ``RowFacts.update``."""
    return _by_name(_counts(events))


def _by_name(counts: np.ndarray) -> dict[str, int]:
    return {KIND_NAMES[k]: int(counts[k]) for k in np.flatnonzero(counts).tolist()}


def _counts(events: np.ndarray | Mapping[str, np.ndarray]) -> np.ndarray:
    counts = np.bincount((events["ev"] & np.uint64(KIND_MASK)).astype(np.intp), minlength=KIND_MASK + 1)
    unknown = [k for k in np.flatnonzero(counts).tolist() if k not in KIND_NAMES]
    if unknown:
        raise InputError(
            f"event kind {unknown[0]} in column ev",
            f"one of {', '.join(f'{k} ({n})' for k, n in KIND_NAMES.items())}",
            "Import the source data again",
        )
    return counts


class RowFacts:
    """What follows from the rows alone, taken chunk by chunk.

    Attributes
    ----------
    rows : taken so far
    counts : int64 [256], rows of each kind
    """

    def __init__(self) -> None:
        self.rows = 0
        self.counts = np.zeros(KIND_MASK + 1, np.int64)
        self._local_ns = (0, 0)
        self._exch_ns = (0, 0)

    def update(self, events: np.ndarray | Mapping[str, np.ndarray]) -> None:
        """Take EVENT_DTYPE [n], n >= 1, in the order of the tape; or its columns ev, exch_ts and local_ts by name.

        Raises
        ------
        InputError
            When a row carries a kind that no table knows.
        """
        counts = _counts(events)
        local = events["local_ts"]
        first_ns, last_ns = int(local[0]), int(local[-1])
        least, most = int(events["exch_ts"].min()), int(events["exch_ts"].max())
        if self.rows:
            first_ns, least, most = self._local_ns[0], min(least, self._exch_ns[0]), max(most, self._exch_ns[1])
        self._local_ns, self._exch_ns = (first_ns, last_ns), (least, most)
        self.counts += counts
        self.rows += len(local)

    def by_name(self) -> dict[str, int]:
        """Rows of each kind that occurs, by the names of ``events.KIND_NAMES``, in the order of their codes."""
        return _by_name(self.counts)

    def manifest(self, venue: str, symbol: str, *, simulated: bool) -> dict[str, Any]:
        """schema, venue, symbol, simulated, rows, counts by kind, gaps, first and last local and exchange time, ns."""
        counts = self.by_name()
        return {
            "schema": SCHEMA,
            "venue": venue,
            "symbol": symbol,
            "simulated": bool(simulated),
            "rows": self.rows,
            "counts": counts,
            "gaps": counts.get("gap", 0),
            "first_local_ns": self._local_ns[0],
            "last_local_ns": self._local_ns[1],
            "first_exch_ns": self._exch_ns[0],
            "last_exch_ns": self._exch_ns[1],
        }


def derive_manifest(venue: str, symbol: str, events: np.ndarray, *, simulated: bool) -> dict[str, Any]:
    """``RowFacts.manifest`` of EVENT_DTYPE [N], N >= 1."""
    facts = RowFacts()
    facts.update(events)
    return facts.manifest(venue, symbol, simulated=simulated)


def dump_manifest(manifest: dict[str, Any], path: Path) -> None:
    """Write it in a fixed order, so that the same tape always gives the same bytes."""
    path.write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def load_manifest(folder: Path) -> dict[str, Any]:
    """Read and check the manifest of one tape folder.

    Raises
    ------
    InputError
        When it is no JSON, of another schema, or lacks a field.
    """
    path = folder / MANIFEST_NAME
    do = "Import the source data again"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error})", "the JSON that `write_stream` left there", do) from error
    found = manifest.get("schema") if isinstance(manifest, dict) else None
    if found != SCHEMA:
        raise InputError(f"{path} has schema {found!r}", f"schema {SCHEMA!r}", do)
    for name in ("venue", "symbol", "simulated", "rows", "counts", "days", "first_local_ns", "last_local_ns"):
        if name not in manifest:
            raise InputError(f"{path} lacks the field {name!r}", "the manifest that `write_stream` left there", do)
    days = manifest["days"]
    if not isinstance(days, dict) or not all(
        isinstance(d, dict) and {"rows", "sha256"} <= d.keys() for d in days.values()
    ):
        raise InputError(f"{path}: field 'days' is damaged", "rows and sha256 of each <day>.parquet", do)
    return manifest
