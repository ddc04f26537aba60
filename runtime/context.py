"""What the stack and the calibrator know of a candidate beside its window, and what a round trip costs.

The scalar forms serve the gate and the array forms the training set: the same float64 operations in the same order, so
that both give the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from feature_repo.fields import CTX_MAX, CTX_NAMES
from feature_repo.instruments import FeeTier

from .candidate import Candidate, Entry, SigType

__all__ = ["context_row", "context_rows", "fee_bps", "fill_context", "round_trip_cost_bps"]

_TYPES = len(SigType)
_MAKER = Entry.MAKER


def fee_bps(candidate: Candidate, fee: FeeTier) -> float:
    """Fees of both legs in bps: the entry as taker or maker, the exit always as taker."""
    return (fee.maker_bps if candidate.entry is _MAKER else fee.taker_bps) + fee.taker_bps


def round_trip_cost_bps(candidate: Candidate, fee: FeeTier) -> float:
    """Fees of both legs and the estimated slippage, bps of the mid."""
    return fee_bps(candidate, fee) + float(candidate.est_slip_bps)


def _clip(value: float) -> float:
    return min(value, CTX_MAX) if value > 0 else 0.0  # NaN compares false


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0 else math.nan


def context_row(candidate: Candidate, market_row: np.void, fee: FeeTier) -> np.ndarray:
    """Context of one candidate.

    Parameters
    ----------
    market_row : MARKET_DTYPE scalar of the candidate's window

    Returns
    -------
    float32 [8]
        In the order of ``fields.CTX_NAMES``; always finite.
    """
    row = np.empty(len(CTX_NAMES), np.float32)
    fill_context(row, candidate, float(market_row["spread_bps"]), fee)
    return row


def fill_context(row: np.ndarray, candidate: Candidate, spread_bps: float, fee: FeeTier) -> None:
    """``context_row`` written over ``row``, float32 [8]; of the market row it takes the spread."""
    row.fill(0.0)
    row[int(candidate.sig_type)] = 1.0
    row[_TYPES] = _clip(_ratio(float(candidate.R_bps), spread_bps))
    row[_TYPES + 1] = _clip(_ratio(float(candidate.exp_reward_bps), round_trip_cost_bps(candidate, fee)))
    row[_TYPES + 2] = _clip(float(candidate.est_slip_bps))


def context_rows(candidates: Sequence[Candidate], market_rows: np.ndarray, fee: FeeTier) -> np.ndarray:
    """Context of many candidates.

    Parameters
    ----------
    candidates : N of them
    market_rows : MARKET_DTYPE [N], the row of each candidate's window

    Returns
    -------
    float32 [N, 8]
    """
    n = len(candidates)
    if len(market_rows) != n:
        raise ValueError(f"{n} candidates but {len(market_rows)} market rows; give the row of each candidate's window")
    rows = np.zeros((n, len(CTX_NAMES)), np.float32)
    if not n:
        return rows
    rows[np.arange(n), [int(c.sig_type) for c in candidates]] = 1.0
    numbers = np.array([(c.R_bps, c.exp_reward_bps, c.est_slip_bps) for c in candidates], np.float64)
    cost = np.array([round_trip_cost_bps(c, fee) for c in candidates], np.float64)
    spread = np.asarray(market_rows["spread_bps"], np.float64)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        rows[:, _TYPES] = _clip_all(np.where(spread > 0, numbers[:, 0] / spread, np.nan))
        rows[:, _TYPES + 1] = _clip_all(np.where(cost > 0, numbers[:, 1] / cost, np.nan))
        rows[:, _TYPES + 2] = _clip_all(numbers[:, 2])
    return rows


def _clip_all(values: np.ndarray) -> np.ndarray:
    return np.where(values > 0, np.minimum(values, CTX_MAX), 0.0)
