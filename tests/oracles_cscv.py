"""PBO written as the paper describes it: a loop over the splits, one strategy at a time."""

from __future__ import annotations

from itertools import combinations, pairwise
from math import sqrt

__all__ = ["pbo_literal"]


def pbo_literal(results: list[list[float]], groups: int = 16) -> float:
    """Share of splits with logit <= 0; ``results`` is a list of blocks, each with one result a strategy."""
    n, k = len(results), len(results[0])
    larger = n % groups  # the first groups are one block longer
    cuts = [g * (n // groups) + min(g, larger) for g in range(groups + 1)]
    pieces = [results[a:b] for a, b in pairwise(cuts)]
    overfit, splits = 0.0, 0
    for chosen in combinations(range(groups), groups // 2):
        inside = [row for g in range(groups) if g in chosen for row in pieces[g]]
        outside = [row for g in range(groups) if g not in chosen for row in pieces[g]]
        here = [_sharpe([row[s] for row in inside]) for s in range(k)]
        there = [_sharpe([row[s] for row in outside]) for s in range(k)]
        best = [s for s in range(k) if here[s] == max(here)]
        for s in best:
            less, same = sum(v < there[s] for v in there), sum(v == there[s] for v in there)
            rank = less + (same + 1) / 2
            if rank / (k + 1) <= 0.5:  # the logit is at most 0
                overfit += 1 / len(best)
        splits += 1
    return overfit / splits


def _sharpe(results: list[float]) -> float:
    """Floats, where what is equal to nine places is equal; without any result 0."""
    mean = sum(results) / len(results)
    variance = sum((r - mean) ** 2 for r in results) / (len(results) - 1)
    return round(mean / sqrt(variance), 9) if any(results) else 0.0
