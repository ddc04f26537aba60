"""A question that no market asked: with it a gate goes through a whole decision shortly before it has to make one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from feature_repo.fields import CHANNELS, MARKET_DTYPE
from feature_repo.window import FeatureWindow

from .candidate import Candidate, Entry, SigType, Tier
from .gate import GuardsOnly, MetaFilter

__all__ = ["rehearsal"]

_MID_TICKS = 10_000


def rehearsal(gate: MetaFilter | GuardsOnly) -> Callable[[], None]:
    """What to call a millisecond or two before a window closes (`runtime.warm.warm_until`).

    After 100 ms of sleep most of a decision's time is code and weights that have left the core's caches; a rehearsal
    brings them back. It passes every guard, so that the graph is asked, and its answer goes nowhere: nothing of it is
    logged, and the gate knows nothing of it afterwards.

    Parameters
    ----------
    gate : the one that will be asked; a logged or served one keeps it in ``gate``. Another release needs a rehearsal of
        its own.
    """
    mid, tick_bps = _MID_TICKS * gate.tick, 1e4 / _MID_TICKS
    candidate = Candidate(
        0, gate.symbol, 1, SigType.MOMENTUM, Tier.A, mid, 200.0, 1_000.0, 0.0, Entry.IOC, 1
    )  # fmt: skip
    row = np.zeros((), MARKET_DTYPE)
    for name, value in {
        "valid": True,
        "mid": mid,
        "bid": mid - gate.tick / 2,
        "ask": mid + gate.tick / 2,
        "spread_bps": tick_bps,
        "spread_median_bps": tick_bps,
        "depth_top5": 1.0,
        "depth_median": 1.0,
    }.items():
        row[name] = value
    x, market = np.zeros((gate.T, len(CHANNELS)), np.float32), row[()]

    def rehearse() -> None:
        if isinstance(gate.source, FeatureWindow):
            gate.source.snapshot()
        gate.decide(candidate, candidate.ts_ns, x, market)

    return rehearse
