"""The field catalogue: every number that the engine hands on, declared once.

Feast's fields, the order of the graph's inputs, docs/features.md (``python -m feature_repo.features_page``) and the
tests of all three are made from it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from .constants import ENGINE, ORDER, SIGNAL
from .field_terms import SYMBOLS, UNITS, time_name, windows_in

__all__ = [
    "CATALOGUE_HASH",
    "CHANNELS",
    "CONTEXT",
    "CTX_MAX",
    "CTX_NAMES",
    "FIELDS",
    "MARKET",
    "MARKET_DTYPE",
    "SIGNED",
    "ContextField",
    "Field",
    "MarketField",
    "align",
    "catalogue_hash",
]


@dataclass(frozen=True, slots=True)
class Field:
    """One float32 channel, knowable at t_k, the end of its window.

    Attributes
    ----------
    alignment : signed channels are multiplied by the candidate's side before the net sees them
    window : the span it looks back on
    formula : in the terms of ``SYMBOLS``
    null_policy : its value where the formula has none
    reference : keys of ``REFERENCES`` joined by "; ", or "own"
    """

    name: str
    unit: str
    alignment: Literal["signed", "neutral"]
    window: str
    formula: str
    null_policy: str
    reference: str = "own"


@dataclass(frozen=True, slots=True)
class MarketField:
    """One column of the market row, knowable at t_k; ``dtype`` as numpy spells it."""

    name: str
    dtype: str
    unit: str
    formula: str
    null_policy: str


@dataclass(frozen=True, slots=True)
class ContextField:
    """One float32 column of the graph's second input."""

    name: str
    unit: str
    formula: str


_VOLUME, _VWAP = f"{time_name(ENGINE.volume_mean_s)}, by seconds", f"{time_name(ENGINE.vwap_s)}, by seconds"
_FORCED, _REGIME = f"{time_name(ENGINE.liquidation_s)}, by seconds", time_name(ENGINE.regime_s)
_DELAY, _BUDGET = time_name(ENGINE.latency_ewma_s), f"{ENGINE.e2e_budget_ms:g}"
_ROLL_S, _CVD_S = ENGINE.ofi_roll_ms / 1000, ENGINE.cvd_change_ms / 1000
_W1, _W2, _W3 = (f"{weight:g}" for weight in ENGINE.ofi_level_weights)
_SESSIONS = ", ".join(f"{low:02d}-{high:02d}" for low, high in ENGINE.handover_hours_utc)

_CKS = "Cont, Kukanov, Stoikov (2014)"
_LEVELS = "Xu, Gould, Howison (2018); Cont, Cucuringu, Zhang (2023)"
_IMBALANCE = "Cartea, Donnelly, Jaimungal (2018)"
_RV = "Andersen, Bollerslev, Diebold, Labys (2003)"
_INVALID = "none: the row is invalid"
_FIRST = "0 for the first x; without events x is 0"
_NO_TRADES = "0 without trades in the span"

FIELDS = (
    Field("ofi_z", "z", "signed", "100 ms", "z(f)", _FIRST, _CKS),
    Field(
        "ofi_top3_z",
        "z",
        "signed",
        "100 ms",
        f"z(Σ ({_W1} e₁ + {_W2} e₂ + {_W3} e₃)) over the book messages of the window",
        _FIRST,
        _LEVELS,
    ),
    Field(
        "ofi_roll",
        "z",
        "signed",
        time_name(_ROLL_S),
        f"z(f + f[−1] + … + f[−{windows_in(_ROLL_S) - 1}])",
        _FIRST,
        _CKS,
    ),
    Field(
        "cvd_z",
        "z",
        "signed",
        time_name(_CVD_S),
        f"z(δ + δ[−1] + … + δ[−{windows_in(_CVD_S) - 1}])",
        _FIRST,
        _CKS,
    ),
    Field("dcvd_1", "quantity", "signed", "this window", "δ", "0 without trades", _CKS),
    Field("dcvd_2", "quantity", "signed", "the window before", "δ[−1]", "0 without trades", _CKS),
    Field("dcvd_3", "quantity", "signed", "two windows before", "δ[−2]", "0 without trades", _CKS),
    Field("spread_bps", "bps", "neutral", "at t", "10⁴ (a₁ − b₁) / m", _INVALID),
    Field("depth_top5_sum", "quote", "neutral", "at t", "D_b + D_a", _INVALID),
    Field("depth_imbalance", "ratio", "signed", "at t", "(D_b − D_a) / (D_b + D_a)", _INVALID, _IMBALANCE),
    Field(
        "volume_spike",
        "ratio",
        "neutral",
        f"100 ms over {_VOLUME}",
        "V / mean of V over the windows of the span, none before the first event",
        "0 without trades in the window",
    ),
    Field("vwap_dev", "sigma", "neutral", _VWAP, "|vwap_dev_signed|", _NO_TRADES),
    Field(
        "vwap_dev_signed",
        "sigma",
        "signed",
        _VWAP,
        "(m − P) / max(S, tick / 4); P = Σ p q / Σ q and S² = Σ q (p − P)² / Σ q over the trades of the span",
        _NO_TRADES,
    ),
    Field("session_flag", "0/1", "neutral", "at t", f"1 while the hour of t lies in {_SESSIONS} UTC", "never null"),
    Field(
        "regime_q",
        "quantile",
        "neutral",
        _REGIME,
        "(#(r < v) + #(r = v) / 2) / #r; v = rv_60s_bps, r: the v of the valid rows at the last "
        f"{ENGINE.regime_s:,} whole seconds before t",
        "0.5 without any r",
    ),
    Field("data_age_ms", "ms", "neutral", "at t", "t − exch_ts of the book row applied last", _INVALID),
    Field(
        "e2e_budget_ms",
        "ms",
        "neutral",
        f"{_DELAY} over {time_name(ENGINE.latency_min_s)}, by seconds",
        f"{_BUDGET} − (D − min d); d = local_ts − exch_ts of depth and trade rows, min over the span; D starts at the "
        f"first d, and the first d of each later local_ts moves it by (1 − exp(−τ / {_DELAY})) (d − D), τ: time since "
        "the row before",
        f"{_BUDGET} without such rows in the span",
    ),
    Field(
        "liq_imbalance",
        "ratio",
        "signed",
        _FORCED,
        "(L₊ − L₋) / (L₊ + L₋); Σ v(p, q) of forced purchases and sales in the span",
        "0 without forced orders",
    ),
    Field(
        "funding_bps",
        "bps",
        "signed",
        "latest",
        "10⁴ rate of the next settlement, newest known",
        "0 until one is known",
    ),
    Field(
        "microprice_dev_bps",
        "bps",
        "signed",
        "at t",
        "10⁴ (w − m) / m; w = (b₁ A₁ + a₁ B₁) / (A₁ + B₁)",
        _INVALID,
        "Stoikov (2018)",
    ),
    Field(
        "rv_60s_bps",
        "bps",
        "neutral",
        time_name(ENGINE.rv_s),
        f"10⁴ √Σ r² over {windows_in(ENGINE.rv_s)} windows; r = ln(m / m[−1]) where the book did not break between, "
        "r² at most 0.01",
        "0 until two windows",
        _RV,
    ),
    Field(
        "atr_bps",
        "bps",
        "neutral",
        f"{ENGINE.atr_bars} bars of {time_name(ENGINE.atr_bar_s)}",
        f"10⁴ ATR / m; the n-th bar moves ATR by (R − ATR) / min(n, {ENGINE.atr_bars}), "
        "R = max(H − L, |H − C|, |L − C|); "
        "H, L, C: extremes of m in the bar, close of the bar before. A bar is left out unless the book was good from "
        "before its start to its end; after one left out R = H − L",
        "0 until one closed bar",
        "Wilder (1978)",
    ),
    Field(
        "ret_1s_bps",
        "bps",
        "signed",
        "1 s",
        f"10⁴ ln(m / m[−{windows_in(1)}]) where the book did not break between",
        "0 until ten windows",
    ),
    Field(
        "range_pos",
        "[-1, 1]",
        "signed",
        time_name(ENGINE.range_s),
        f"(2 m − H − L) / (H − L); highest and lowest m of the last {windows_in(ENGINE.range_s)} windows, this one "
        "included, back to the last break of the book at most",
        "0 in an empty range",
    ),
)

CHANNELS = tuple(f.name for f in FIELDS)
SIGNED = np.array([f.alignment == "signed" for f in FIELDS])

CTX_MAX = 50.0
"""Ratios and the slippage of the context are clipped to [0, CTX_MAX]; an unknown (NaN) one is 0."""

_CLIP = f"cut to [0, {CTX_MAX:g}], 0 where unknown"
_TYPES = ("momentum", "divergence", "liquidation", "reclaim", "reversion")

CONTEXT = (
    *(ContextField(f"is_{name}", "0/1", f"1 for a candidate of type {name}") for name in _TYPES),
    ContextField("R_over_spread", "ratio", f"R_bps / spread_bps, {_CLIP}"),
    ContextField("reward_over_cost", "ratio", f"exp_reward_bps / (fees of both legs in bps + est_slip_bps), {_CLIP}"),
    ContextField("est_slip_bps", "bps", f"the candidate's estimate, {_CLIP}"),
)
"""The candidate's context, the second input of the bundle's graph."""

CTX_NAMES = tuple(f.name for f in CONTEXT)

_NO_BOOK, _THIN = "NaN without a good book", "inf without a good book, or where it holds less"
_MEDIAN = f"over the windows of the {time_name(ENGINE.median_s)} before this one that ended with a good book"
_EXTREME = (
    f"m of the {windows_in(SIGNAL.extreme_s)} windows before this one, back to the last break of the book at most"
)
_SIZE = f"{ORDER.base_size_usd:,.0f} quote currency"

MARKET = (
    MarketField("t_ns", "i8", "ns UTC", "t; the row is knowable then", "never null"),
    MarketField("valid", "?", "bool", f"the book has been good for {ENGINE.warm_up_s} s at t", "never null"),
    MarketField(
        "warm", "?", "bool", f"valid, as were the rows at all whole seconds of the {_REGIME} before", "never null"
    ),
    MarketField("bid", "f8", "quote", "b₁", _NO_BOOK),
    MarketField("ask", "f8", "quote", "a₁", _NO_BOOK),
    MarketField("bid_qty", "f8", "quantity", "B₁", _NO_BOOK),
    MarketField("ask_qty", "f8", "quantity", "A₁", _NO_BOOK),
    MarketField("mid", "f8", "quote", "m", _NO_BOOK),
    MarketField("spread_bps", "f8", "bps", "10⁴ (a₁ − b₁) / m", _NO_BOOK),
    MarketField("spread_median_bps", "f8", "bps", f"median of spread_bps {_MEDIAN}", "NaN without any"),
    MarketField("depth_top5", "f8", "quote", "D_b + D_a", _NO_BOOK),
    MarketField("depth_median", "f8", "quote", f"median of depth_top5 {_MEDIAN}", "NaN without any"),
    MarketField("data_age_ms", "f8", "ms", "t − exch_ts of the book row applied last", "NaN until one"),
    MarketField("vwap", "f8", "quote", f"P of vwap_dev_signed ({_VWAP})", "NaN without trades in the span"),
    MarketField("sigma_vwap", "f8", "quote", "max(S, tick / 4) of vwap_dev_signed", "NaN without trades in the span"),
    MarketField("atr", "f8", "quote", "ATR of atr_bps", "NaN until one closed bar"),
    MarketField(
        "slip_buy_bps",
        "f8",
        "bps",
        f"10⁴ |p − m| / m; p: money over coins when {_SIZE} is taken from the asks, level by level",
        _THIN,
    ),
    MarketField("slip_sell_bps", "f8", "bps", "the same, taken from the bids", _THIN),
    MarketField(
        "drift_bps",
        "f8",
        "bps",
        "max(μ, 0); μ: mean of 10⁴ sign(ofi_z[−1]) (m − m[−1]) / m[−1] over the windows whose row before was valid "
        f"with |ofi_z| ≥ {ENGINE.drift_ofi_z:g} and where the book did not break between; one of n windows ago has the "
        f"weight 2^(−n Δ / {time_name(ENGINE.drift_half_life_s)})",
        "0 without any",
    ),
    MarketField("high", "f8", "quote", f"highest {_EXTREME}", "NaN without any"),
    MarketField("low", "f8", "quote", f"lowest {_EXTREME}", "NaN without any"),
    MarketField("liq_buy", "f8", "quote", f"L₊ of liq_imbalance ({_FORCED})", "0 without forced orders"),
    MarketField("liq_sell", "f8", "quote", f"L₋ of liq_imbalance ({_FORCED})", "0 without forced orders"),
)

MARKET_DTYPE = np.dtype([(f.name, f.dtype) for f in MARKET])
"""What guards and signals need beside the 24 channels; float64, prices in quote currency."""


def catalogue_hash(
    fields: tuple[Field, ...] = FIELDS,
    market: tuple[MarketField, ...] = MARKET,
    context: tuple[ContextField, ...] = CONTEXT,
) -> str:
    """SHA-256 of what the numbers are: all that is declared here but the references.

    The formulas count, with their symbols and the defaults written into them: a bundle trained with another half-life
    is as wrong as one with another order of channels. So a formula that is only put better refuses older bundles too.
    That costs a training; a changed one that nobody noticed would cost trades.
    """
    channels = [{name: value for name, value in asdict(f).items() if name != "reference"} for f in fields]
    parts = [channels, [asdict(f) for f in market], [asdict(f) for f in context], UNITS, SYMBOLS]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


CATALOGUE_HASH = catalogue_hash()
"""Binds bundles and feature tables to this catalogue: one made from another is refused."""


_MOST_ROWS = 128  # of a window; one of more rows is turned row by row, which takes three times as long
_TURN = {
    1: np.ones((_MOST_ROWS, len(SIGNED)), np.float32),
    -1: np.tile(np.where(SIGNED, -1, 1).astype(np.float32), (_MOST_ROWS, 1)),
}


def align(x: np.ndarray, side: int, out: np.ndarray | None = None) -> np.ndarray:
    """Turn rows to the candidate's side: signed channels are multiplied by ``side``.

    Parameters
    ----------
    x : float32 [..., C]
    side : +1 buys, -1 sells
    out : float32 [..., C] to write to; None: a new array

    Returns
    -------
    float32 [..., C]
    """
    turn, rows = _TURN[side], x.shape[-2] if x.ndim > 1 else 0
    return np.multiply(x, turn[:rows] if 0 < rows <= _MOST_ROWS else turn[0], out, dtype=np.float32)
