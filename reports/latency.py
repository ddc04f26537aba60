"""End-to-end latency by signal type: percentiles, the share within budget, a histogram. Measured, not reproducible."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from runtime.budget import E2E_BUDGET_MS
from runtime.candidate import SigType

__all__ = ["HISTOGRAM_EDGES_MS", "latency_histogram", "latency_rows", "latency_stats"]

HISTOGRAM_EDGES_MS = tuple(float(f"{10 ** (k / 8):.4g}") for k in range(-8, 25))
"""0.1 ms to 1 s, eight bins a decade; what lies beyond is counted in the end bins."""

_FIELDS = ("sig_type", "asked", "e2e_us")


def _counted(rows: np.ndarray) -> np.ndarray:
    """The rows behind the figures: finite times, of the decisions in which P was asked where it was asked at all.

    A denial by an early guard skips the inference and would flatter the tail.
    """
    missing = [f for f in _FIELDS if f not in (rows.dtype.names or ())]
    if missing:
        raise ValueError(f"latency rows lack the fields {', '.join(missing)}")
    timed = rows[np.isfinite(rows["e2e_us"]) & (rows["e2e_us"] > 0)]
    return timed[timed["asked"]] if timed["asked"].any() else timed


def latency_stats(rows: np.ndarray | None) -> dict[str, dict[str, float | int]]:
    """Milliseconds from the event that closes the window to the decision in hand, by signal type, with its budget.

    Parameters
    ----------
    rows : structured [n] with ``sig_type``, ``asked`` (P was asked) and ``e2e_us``; None where nothing was timed

    Returns
    -------
    dict
        Types without a row are left out.

    Raises
    ------
    ValueError
        When a field is missing.
    """
    out: dict[str, dict[str, float | int]] = {}
    if rows is None:
        return out
    counted = _counted(rows)
    for sig in SigType:
        ms = counted["e2e_us"][counted["sig_type"] == sig] / 1e3
        if not len(ms):
            continue
        p50, p95, p99 = np.percentile(ms, [50, 95, 99])
        budget = E2E_BUDGET_MS[sig]
        out[sig.name.lower()] = {
            "n": len(ms),
            "p50_ms": float(p50),
            "p95_ms": float(p95),
            "p99_ms": float(p99),
            "budget_ms": budget,
            "share_in_budget": float((ms <= budget).mean()),
        }
    return out


def latency_histogram(rows: np.ndarray) -> dict[str, list]:
    """Counts of the same rows as ``latency_stats``, all types together."""
    edges = np.array(HISTOGRAM_EDGES_MS)
    ms = np.clip(_counted(rows)["e2e_us"] / 1e3, edges[0], edges[-1])
    return {"edges_ms": edges.tolist(), "counts": np.histogram(ms, edges)[0].tolist()}


def latency_rows(latency: Mapping[tuple[str, bool], np.ndarray]) -> list[dict[str, object]]:
    """One row for each (profile, model) that was timed, for the measured section of metrics.json."""
    return [
        {"profile": profile, "model": model, "by_type": by_type, "histogram": latency_histogram(rows)}
        for (profile, model), rows in latency.items()
        if (by_type := latency_stats(rows))
    ]
