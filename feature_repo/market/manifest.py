"""The manifest beside a tape: where its rows come from, what was dropped, and what a reader must not overlook."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..events import KIND_MASK, KIND_NAMES

__all__ = ["MANIFEST_NAME", "SCHEMA", "count_kinds", "derive_manifest", "dump_manifest", "load_manifest"]

MANIFEST_NAME = "manifest.json"
SCHEMA = "ofi-meta tape 1"


def count_kinds(events: np.ndarray) -> dict[str, int]:
    """Rows of each kind that occurs, by the names of ``events.KIND_NAMES``.

    Raises
    ------
    InputError
        When a row carries a kind that no table knows.
    """
    kinds, counts = np.unique(events["ev"] & np.uint64(KIND_MASK), return_counts=True)
    unknown = [int(k) for k in kinds if int(k) not in KIND_NAMES]
    if unknown:
        raise InputError(
            f"event kind {unknown[0]} in column ev",
            f"one of {', '.join(f'{k} ({n})' for k, n in KIND_NAMES.items())}",
            "Import the source data again",
        )
    return {KIND_NAMES[int(k)]: int(n) for k, n in zip(kinds, counts, strict=True)}


def derive_manifest(venue: str, symbol: str, events: np.ndarray, *, simulated: bool) -> dict[str, Any]:
    """The part of a manifest that follows from the rows alone.

    Parameters
    ----------
    events : EVENT_DTYPE [N], N >= 1

    Returns
    -------
    dict with schema, venue, symbol, simulated, rows, counts by kind, gaps, first and last local and exchange time in ns
    """
    counts = count_kinds(events)
    return {
        "schema": SCHEMA,
        "venue": venue,
        "symbol": symbol,
        "simulated": bool(simulated),
        "rows": len(events),
        "counts": counts,
        "gaps": counts.get("gap", 0),
        "first_local_ns": int(events["local_ts"][0]),
        "last_local_ns": int(events["local_ts"][-1]),
        "first_exch_ns": int(events["exch_ts"].min()),
        "last_exch_ns": int(events["exch_ts"].max()),
    }


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
        raise InputError(f"{path} cannot be read ({error})", "the JSON that `write_tape` left there", do) from error
    found = manifest.get("schema") if isinstance(manifest, dict) else None
    if found != SCHEMA:
        raise InputError(f"{path} has schema {found!r}", f"schema {SCHEMA!r}", do)
    for name in ("venue", "symbol", "simulated", "rows", "counts", "days"):
        if name not in manifest:
            raise InputError(f"{path} lacks the field {name!r}", "the manifest that `write_tape` left there", do)
    days = manifest["days"]
    if not isinstance(days, dict) or not all(
        isinstance(d, dict) and {"rows", "sha256"} <= d.keys() for d in days.values()
    ):
        raise InputError(f"{path}: field 'days' is damaged", "rows and sha256 of each <day>.parquet", do)
    return manifest
