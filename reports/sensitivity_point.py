"""From the trades of one setting to its point on a sensitivity curve."""

from __future__ import annotations

import numpy as np

from feature_repo.instruments import Instrument

from .sensitivity import SensitivityPoint
from .statistics import mean_and_ir_intervals

__all__ = ["point_of"]


def point_of(
    trades: np.ndarray,
    wanted_usd: np.ndarray,
    instrument: Instrument,
    *,
    knob: str,
    value: float,
    label: str,
    fee_tier: str,
    profile: str,
    model: bool,
) -> SensitivityPoint:
    """The point that the portfolio book of one setting makes.

    Parameters
    ----------
    trades : TRADE_DTYPE [M], one row for each allowed order
    wanted_usd : float64 [M], what each of them asked for, quote currency
    """
    wanted = float(wanted_usd[np.isin(trades["status"], (0, 1))].sum())  # filled or not; busy ones were never sent
    filled = trades[trades["status"] == 0]
    net = filled["net_bps"].astype(np.float64)
    worth = instrument.notional(filled["entry_px"], filled["qty"])
    return SensitivityPoint(
        knob=knob,
        value=value,
        label=label,
        fee_tier=fee_tier,
        profile=profile,
        model=model,
        trades=len(filled),
        net_bps=mean_and_ir_intervals(net)[0],
        filled_share=float(worth.sum()) / wanted if wanted > 0 else float("nan"),
        pnl_usd=float((net * worth).sum() / 1e4),
    )
