"""The field catalogue: every channel of the 100 ms row, declared once.

Feast fields, the ONNX input order, the documentation and the tests are made from this table.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

__all__ = ["CATALOGUE_HASH", "CHANNELS", "CTX_NAMES", "FIELDS", "MARKET_DTYPE", "SIGNED", "Field", "align"]


@dataclass(frozen=True, slots=True)
class Field:
    """One float32 channel, knowable at t_k, the end of its window."""

    name: str
    unit: str
    alignment: Literal["signed", "neutral"]  # signed: multiplied by the candidate's side before the net sees it
    window: str
    null_policy: str
    source: str


_CKS = "Cont, Kukanov, Stoikov (2014)"
_XGH = "Xu, Gould, Howison (2018); Cont, Cucuringu, Zhang (2023)"

FIELDS = (
    Field("ofi_z", "z", "signed", "100 ms", "0 without events", _CKS),
    Field("ofi_top3_z", "z", "signed", "100 ms", "0 without events", _XGH),
    Field("ofi_roll", "z", "signed", "2 s", "0 without events", _CKS),
    Field("cvd_z", "z", "signed", "5 s", "0 without trades", "signed aggressor volume"),
    Field("dcvd_1", "base", "signed", "this window", "0 without trades", "signed aggressor volume"),
    Field("dcvd_2", "base", "signed", "the window before", "0 without trades", "signed aggressor volume"),
    Field("dcvd_3", "base", "signed", "two windows before", "0 without trades", "signed aggressor volume"),
    Field("spread_bps", "bps", "neutral", "at t_k", "none: the row is invalid", "best quotes"),
    Field("depth_top5_sum", "quote", "neutral", "at t_k", "none: the row is invalid", "top 5 levels of both sides"),
    Field(
        "depth_imbalance", "ratio", "signed", "at t_k", "none: the row is invalid", "(bid - ask) / (bid + ask), top 5"
    ),
    Field("volume_spike", "ratio", "neutral", "100 ms over 5 min", "0 without trades", "window volume / mean volume"),
    Field("vwap_dev", "sigma", "neutral", "15 min", "0 without trades", "|mid - VWAP| / sigma_VWAP"),
    Field("vwap_dev_signed", "sigma", "signed", "15 min", "0 without trades", "(mid - VWAP) / sigma_VWAP"),
    Field("session_flag", "0/1", "neutral", "at t_k", "never null", "hand-over windows 00-02, 07-09, 13-15 UTC"),
    Field("regime_q", "quantile", "neutral", "4 h", "0.5 until one sample", "rank of 60 s realised volatility"),
    Field(
        "data_age_ms", "ms", "neutral", "at t_k", "none: the row is invalid", "t_k - exch_ts of the newest depth event"
    ),
    Field(
        "e2e_budget_ms", "ms", "neutral", "1 s over 60 s", "50 until one event", "50 - (EWMA delay - trailing minimum)"
    ),
    Field("liq_imbalance", "ratio", "signed", "30 s", "0 without liquidations", "(forced buys - forced sells) / sum"),
    Field("funding_bps", "bps", "signed", "latest", "0 where the tape has none", "rate of the next settlement"),
    Field(
        "microprice_dev_bps", "bps", "signed", "at t_k", "none: the row is invalid", "Stoikov (2018), level 1 weights"
    ),
    Field("rv_60s_bps", "bps", "neutral", "60 s", "0 until two windows", "sqrt of summed squared 100 ms mid returns"),
    Field("atr_bps", "bps", "neutral", "14 bars of 5 min", "0 until one closed bar", "Wilder (1978) on mid bars"),
    Field("ret_1s_bps", "bps", "signed", "1 s", "0 until ten windows", "log mid return"),
    Field("range_pos", "[-1, 1]", "signed", "60 s", "0 in an empty range", "place of the mid in its 60 s range"),
)

CHANNELS = tuple(f.name for f in FIELDS)
SIGNED = np.array([f.alignment == "signed" for f in FIELDS])

CTX_NAMES = (
    "is_momentum",
    "is_divergence",
    "is_liquidation",
    "is_reclaim",
    "is_reversion",
    "R_over_spread",
    "reward_over_cost",
    "est_slip_bps",
)
"""The candidate's context, the second input of the bundle's graph."""

CATALOGUE_HASH = hashlib.sha256(json.dumps([[asdict(f) for f in FIELDS], CTX_NAMES]).encode()).hexdigest()
"""Binds a bundle to this table: the gate refuses one made from another."""

MARKET_DTYPE = np.dtype(
    [
        ("t_ns", "i8"),  # t_k; the row is knowable then
        ("valid", "?"),  # 60 s of valid book lie behind it
        ("warm", "?"),  # every long memory (4 h included) is full
        ("bid", "f8"),
        ("ask", "f8"),
        ("bid_qty", "f8"),  # base units at the best level
        ("ask_qty", "f8"),
        ("mid", "f8"),
        ("spread_bps", "f8"),
        ("spread_median_bps", "f8"),  # 5 min, of windows before this one
        ("depth_top5", "f8"),  # quote currency, both sides
        ("depth_median", "f8"),  # 5 min, of windows before this one
        ("data_age_ms", "f8"),
        ("vwap", "f8"),  # NaN without trades in its span
        ("sigma_vwap", "f8"),
        ("atr", "f8"),  # quote currency; NaN until one closed bar
        ("slip_buy_bps", "f8"),  # walking the asks with base_size against the mid; inf if the book is too thin
        ("slip_sell_bps", "f8"),
        ("drift_bps", "f8"),  # causal EWMA of the mid's next-window move in the direction of strong flow, >= 0
        ("high", "f8"),  # of the mid over SignalDefaults.extreme_s, windows before this one
        ("low", "f8"),
        ("liq_buy", "f8"),  # forced buys in quote currency over EngineDefaults.liquidation_s
        ("liq_sell", "f8"),
    ]
)
"""What guards and signals need beside the 24 channels; float64, prices in quote currency."""


def align(x: np.ndarray, side: int) -> np.ndarray:
    """Turn rows to the candidate's side: signed channels are multiplied by ``side``.

    Parameters
    ----------
    x : float32 [..., C]
    side : +1 buys, -1 sells

    Returns
    -------
    float32 [..., C], a new array
    """
    return np.where(SIGNED, x * np.float32(side), x).astype(np.float32)
