"""Superior predictive ability: is the best of several strategies better than a benchmark, given that it was picked?

Hansen (2005), "A test for superior predictive ability", from arch.
"""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import numpy as np
from arch.bootstrap import SPA, optimal_block_length

__all__ = ["MIN_SPA_BLOCKS", "SPA_REPS", "Superiority", "superior"]

SPA_REPS = 1_000
MIN_SPA_BLOCKS = 64
"""Blocks below which there is no test: on fewer the bootstrap rejects a true null twice as often as it says."""


class Superiority(NamedTuple):
    """p-values of "no strategy is better than the benchmark"; NaN with ``reason_na``.

    Attributes
    ----------
    p_lower, p_upper : bounds of ``p_consistent``: strategies that are far worse than the benchmark kept out, or counted
    n_strategies : those that differ from the benchmark at all
    """

    p_lower: float
    p_consistent: float
    p_upper: float
    n_strategies: int
    n_blocks: int
    reason_na: str = ""


def superior(gain_bps: np.ndarray, *, reps: int = SPA_REPS, seed: int = 7) -> Superiority:
    """Hansen's test on what each strategy earned more than its benchmark.

    Losses are -net a block; the test sees their differences only, so each strategy may have a benchmark of its own.
    Each difference is divided by its standard deviation before: arch 8 takes the largest mean, not the largest
    t-statistic, and the strategy with most trades would decide alone. Stationary bootstrap; mean block length: the
    largest of those that Politis, White (2004) give for the strategies, at most a tenth of the blocks.

    Parameters
    ----------
    gain_bps : float64 [B, K], net of the strategy less net of its benchmark in B blocks of time, in time order, finite

    Returns
    -------
    Superiority; N/A below ``MIN_SPA_BLOCKS`` blocks, or when no strategy ever differs from its benchmark: arch would
    answer p = 0 there

    Raises
    ------
    ValueError
        When a result is not finite.
    """
    gain = np.asarray(gain_bps, np.float64)
    if gain.ndim != 2 or not np.isfinite(gain).all():
        raise ValueError(f"gains {gain.shape} must be [blocks, strategies] and finite: no trade is 0")
    spread = gain.std(axis=0) if len(gain) else np.zeros(gain.shape[1])
    gain = gain[:, spread > 0.0] / spread[spread > 0.0]
    blocks, strategies = gain.shape
    if not strategies:
        return _na(strategies, blocks, "no strategy differs from the benchmark")
    if blocks < MIN_SPA_BLOCKS:
        return _na(strategies, blocks, f"{blocks} blocks of time, {MIN_SPA_BLOCKS} needed")
    test = SPA(np.zeros(blocks), -gain, block_size=_block_length(gain), reps=reps, seed=np.random.default_rng(seed))
    test.compute()
    # A share of draws, the sample itself counted among them: no number of draws shows that p is 0.
    p = (test.pvalues * reps + 1.0) / (reps + 1.0)
    return Superiority(*(float(p[name]) for name in ("lower", "consistent", "upper")), strategies, blocks)


def _na(strategies: int, blocks: int, reason: str) -> Superiority:
    return Superiority(math.nan, math.nan, math.nan, strategies, blocks, reason)


def _block_length(gain: np.ndarray) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        found = optimal_block_length(gain)["stationary"].to_numpy()
    found = found[np.isfinite(found)]
    return float(np.clip(found.max() if len(found) else 1.0, 1.0, len(gain) / 10.0))
