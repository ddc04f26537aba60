"""What the replayed orders earned: gross from mids, fees, slippage and funding apart; and which of it an arm owns."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from feature_repo.instruments import FeeTier, Instrument

from .shadow_types import BUSY, OK, TRADE_DTYPE, UNFILLED

__all__ = ["Replayed", "account", "no_trades", "portfolio"]


class Replayed(NamedTuple):
    """What became of the orders, before fees.

    Attributes
    ----------
    parents : PARENT_DTYPE [N], in the order of the orders
    busy : bool [A, N]: arm a allowed order n while it held another
    """

    parents: np.ndarray
    busy: np.ndarray


def account(replayed: Replayed, fee: FeeTier, instrument: Instrument) -> np.ndarray:
    """One row an order: gross from mids, costs apart, all in bps of the entry notional.

    The coins of an inverse contract get fewer as its price rises: a long has put in more than it takes out.

    Returns
    -------
    TRADE_DTYPE [N]; prices and bps are NaN where status is not "filled"
    """
    p = replayed.parents
    out = no_trades(len(p))
    out["status"], out["t_end_ns"] = p["status"], p["t_end"]
    out["outcome"] = np.select(
        [p["status"] == OK, p["status"] == UNFILLED, p["status"] == BUSY], [p["outcome"], 3, -1], 4
    )
    ok = p["status"] == OK
    f, o = p[ok], out[ok]
    scale = 1e4 / f["paid"]
    o["t_fill_ns"], o["qty"] = f["t_fill"], f["qty"]
    if instrument.inverse:
        o["entry_px"], o["exit_px"] = f["qty"] / f["paid"], f["qty"] / f["got"]
        o["gross_bps"] = f["side"] * (f["qty"] / f["mid"] - f["mid_exit"]) * scale
        o["slip_bps"] = o["gross_bps"] - f["side"] * (f["paid"] - f["got"]) * scale
    else:
        o["entry_px"], o["exit_px"] = f["paid"] / f["qty"], f["got"] / f["qty"]
        o["gross_bps"] = f["side"] * (f["mid_exit"] - f["mid"] * f["qty"]) * scale
        o["slip_bps"] = o["gross_bps"] - f["side"] * (f["got"] - f["paid"]) * scale
    o["fee_bps"] = np.where(f["maker"] == 1, fee.maker_bps, fee.taker_bps) + fee.taker_bps * f["got"] / f["paid"]
    o["funding_bps"] = f["side"] * f["funding"] / f["qty"] * 1e4
    o["net_bps"] = o["gross_bps"] - o["slip_bps"] - o["fee_bps"] - o["funding_bps"]
    out[ok] = o
    return out


def portfolio(trades: np.ndarray, allowed: np.ndarray, busy: np.ndarray) -> np.ndarray:
    """The trades of one arm: what it allowed, one position at a time.

    Parameters
    ----------
    trades : TRADE_DTYPE [N] of the candidate book (`account`)
    allowed, busy : bool [N], the arm's decisions and its row of ``Replayed.busy``

    Returns
    -------
    TRADE_DTYPE [M], one row for each allowed order; status busy where the arm held another
    """
    out, late = trades[allowed], busy[allowed]
    blank = no_trades(int(late.sum()))
    blank["status"], blank["outcome"], blank["t_end_ns"] = BUSY, -1, out["t_end_ns"][late]
    out[late] = blank
    return out


def no_trades(n: int) -> np.ndarray:
    """TRADE_DTYPE [n] without a price, a fill or a result."""
    out = np.zeros(n, TRADE_DTYPE)
    for name in TRADE_DTYPE.names:
        if TRADE_DTYPE[name] == np.float64:
            out[name] = np.nan
    out["t_fill_ns"] = -1
    return out
