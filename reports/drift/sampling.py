"""Rows drawn evenly over time: one from each stretch, by lot, so that no rhythm of the market is met in step."""

from __future__ import annotations

import numpy as np

__all__ = ["even_rows", "spread_rows"]


def even_rows(count: int, size: int, seed: int) -> np.ndarray:
    """One position of each of ``size`` equal stretches of 0 .. count - 1, int64 ascending; all of fewer."""
    if count <= size:
        return np.arange(count)
    edges = np.arange(size + 1) * count // size
    rng = np.random.default_rng(seed)
    return edges[:-1] + (rng.random(size) * np.diff(edges)).astype(np.int64)


def spread_rows(counts: dict[str, int], size: int) -> dict[str, int]:
    """How many of ``size`` rows each day gives, in proportion to what it has."""
    total = sum(counts.values())
    if total <= size:
        return dict(counts)
    ends = np.cumsum([0, *counts.values()]) * size // total
    return dict(zip(counts, np.diff(ends).tolist(), strict=True))
