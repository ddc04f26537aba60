"""Labels in Parquet, with their candidates beside them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.errors import InputError
from feature_repo.instruments import FeeTier
from feature_repo.paths import atomic_path
from runtime.candidate import Candidate
from runtime.candidate_io import CANDIDATE_SCHEMA, candidates_from_table, candidates_to_table

from .labels import LABEL_DTYPE

__all__ = ["LabelFile", "labels_from_parquet", "labels_to_parquet"]

_KEY = b"ofi_meta.labels"
_LABEL_COLUMNS = tuple(n for n in LABEL_DTYPE.names if n not in CANDIDATE_SCHEMA.names)
_ACCEPTS = "a Parquet file written by labels_to_parquet"


@dataclass(frozen=True)
class LabelFile:
    """What a labels file holds; ``labels[i]`` belongs to ``candidates[i]``."""

    labels: np.ndarray  # LABEL_DTYPE [N]
    candidates: list[Candidate]
    symbol: str
    venue: str
    simulated: bool
    fee: FeeTier

    @property
    def gross_R(self) -> np.ndarray:
        """Gross result in units of each candidate's R, float64 [N]; NaN where there is no label."""
        R_bps = np.array([c.R_bps for c in self.candidates], float)
        return np.divide(self.labels["gross_bps"], R_bps, out=np.full(len(R_bps), np.nan), where=R_bps > 0)


def labels_to_parquet(
    labels: np.ndarray,
    candidates: Sequence[Candidate],
    path: Path,
    *,
    symbol: str,
    venue: str,
    simulated: bool,
    fee: FeeTier,
) -> Path:
    """Write labels and candidates, whole or not at all.

    Parameters
    ----------
    labels : LABEL_DTYPE [N]
    candidates : [N], the same rows in the same order
    symbol, venue, simulated, fee : kept in the file's metadata

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    InputError
        When labels and candidates do not belong to each other, or to the symbol.
    """
    if len(labels) != len(candidates) or any(
        int(t) != c.ts_ns for t, c in zip(labels["ts_ns"], candidates, strict=True)
    ):
        raise InputError(
            f"{len(labels)} labels and {len(candidates)} candidates that do not match by time",
            "one label for each candidate in the same order",
            "Write what label_candidates returned for this list",
        )
    if any(c.symbol != symbol for c in candidates):
        raise InputError(f"candidates of another symbol than {symbol}", f"only {symbol}", "Write one file a symbol")
    table = candidates_to_table(candidates)
    for name in _LABEL_COLUMNS:
        table = table.append_column(name, pa.array(np.ascontiguousarray(labels[name])))
    facts = {"symbol": symbol, "venue": venue, "simulated": bool(simulated), "fee": asdict(fee)}
    table = table.replace_schema_metadata({_KEY: json.dumps(facts, sort_keys=True).encode()})
    path = Path(path)
    with atomic_path(path) as beside:
        pq.write_table(table, beside)
    return path


def labels_from_parquet(path: Path) -> LabelFile:
    """Read a labels file in its own order.

    Raises
    ------
    InputError
        When the file is missing, unreadable, or was not written by `labels_to_parquet`.
    """
    path = Path(path)
    try:
        table = pq.ParquetFile(path).read()
    except FileNotFoundError:
        raise InputError(f"no file {path}", _ACCEPTS, "Check the path, or make labels first") from None
    except (pa.ArrowException, OSError) as e:
        raise InputError(f"{path} cannot be read as Parquet ({e})", _ACCEPTS, "Make the labels again") from e
    missing = [n for n in _LABEL_COLUMNS if n not in table.column_names]
    if missing:
        raise InputError(f"{path} lacks the columns {', '.join(missing)}", _ACCEPTS, "Make the labels again")
    try:
        meta = json.loads((table.schema.metadata or {})[_KEY])
        facts = (meta["symbol"], meta["venue"], meta["simulated"], FeeTier(**meta["fee"]))
    except (KeyError, ValueError, TypeError) as e:
        raise InputError(f"{path} lacks its metadata", _ACCEPTS, "Make the labels again") from e
    candidates = candidates_from_table(table, name=str(path))
    labels = np.zeros(table.num_rows, LABEL_DTYPE)
    for name in LABEL_DTYPE.names:
        labels[name] = table.column(name).to_numpy()
    return LabelFile(labels, candidates, *facts)
