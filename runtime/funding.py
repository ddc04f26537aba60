"""Funding settlements of a tape, for the account of a replayed position."""

from __future__ import annotations

import numpy as np

from .shadow_types import FUNDING_DTYPE

__all__ = ["settlements"]


def settlements(funding: np.ndarray) -> np.ndarray:
    """The rate that each settlement within the tape was charged at: the last one announced before it.

    Parameters
    ----------
    funding : EVENT_DTYPE [M], rows of kind FUNDING in local_ts order; ival is the settlement's time, fval its rate

    Returns
    -------
    FUNDING_DTYPE [S], in time order
    """
    known = funding[(funding["ival"] > 0) & (funding["exch_ts"] < funding["ival"]) & np.isfinite(funding["fval"])]
    last = {int(t): float(rate) for t, rate in zip(known["ival"], known["fval"], strict=True)}
    return np.array(sorted(last.items()), FUNDING_DTYPE)
