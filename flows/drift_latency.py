"""Where the drift report's latencies come from: a gate's log of the day, or a measurement on its tape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.errors import InputError
from feature_repo.market.tape import StoredTape
from feature_repo.window import FeatureWindow
from runtime.bundle import Bundle
from runtime.candidate import SigType
from runtime.decision import Reason
from runtime.e2e import E2E_DTYPE, time_decisions
from runtime.gate import MetaFilter

__all__ = ["logged_latency", "timed_latency"]

_COLUMNS = ["now_ns", "sig_type", "p", "reason", "latency_us"]
_TYPES = {sig.name.lower(): int(sig) for sig in SigType}


def logged_latency(folder: Path, day: str) -> tuple[np.ndarray | None, str]:
    """Times of one day's logged decisions, E2E_DTYPE [n], and what they cover.

    Raises
    ------
    InputError
        When a file of the log cannot be read.
    """
    files = sorted(f for f in (Path(folder) / day).glob("*.parquet") if not f.name.startswith("."))
    try:
        tables = [pq.read_table(f, columns=_COLUMNS) for f in files]
    except (pa.ArrowException, OSError, KeyError) as e:
        raise InputError(f"{folder} is not readable as decisions ({e})", "a gate's log", "Check --decisions") from e
    if not sum(t.num_rows for t in tables):
        return None, f"the log has no decision of {day}"
    table = pa.concat_tables(tables)
    rows = np.zeros(table.num_rows, E2E_DTYPE)
    rows["ts_ns"] = table["now_ns"].to_numpy()
    rows["sig_type"] = [_TYPES[name] for name in table["sig_type"].to_pylist()]
    failed = np.array([r == Reason.MODEL_ERROR.value for r in table["reason"].to_pylist()])
    rows["asked"] = np.isfinite(table["p"].to_numpy()) | failed
    rows["decide_us"] = rows["e2e_us"] = table["latency_us"].to_numpy()
    return rows, "logged: from the call of the gate to its answer, the reading of the window included"


def timed_latency(tape: StoredTape, bundle: Bundle, ts_ns: np.ndarray, last: int) -> tuple[np.ndarray | None, str]:
    """The day's last candidates timed here and now with the classes that run live, E2E_DTYPE [n]."""
    if not len(ts_ns):
        return None, "the day has no candidates to time"
    window = FeatureWindow(T=bundle.manifest.T, instrument=tape.instrument)
    gate = MetaFilter(bundle)
    timed = time_decisions(tape.chunks(), window, {("B", True): gate}, ts_ns=ts_ns, last=last, end_ns=tape.span_ns[1])
    rows = timed["B", True]
    return rows, f"timed on this machine, now: the day's last {len(rows)} candidates replayed through the live classes"
