"""Stylised facts of a tape: what is measured here and what the literature reports, side by side.

Definitions
    quotes   best quotes from the best-quote stream where the tape has one (it tells every change), else from the
             depth messages
    OFI      level-1 order-flow imbalance of these quotes, base units (Cont, Kukanov, Stoikov 2014, eq. 3)
    window   h = 0.1 s to 60 s on the local clock, end to end, counted from the tape's first row
    return   of the mid, end of window to end of window, log, bps
    R2       of an ordinary least-squares line with intercept: return on OFI of the same window, or of the one before
    order    a run of trades with one aggressor and one exchange time: the fills of one market order
    branching ratio  1 - (mean / variance) ** 0.5 of the orders in 10 s (Hardiman, Bouchaud 2014); a change of activity
             within the span raises it (Filimonov, Sornette 2015)
Windows in which the best quotes were unknown for some of the time are left out, and so is a silence of over 60 s.

References
    Cont (2001), Empirical properties of asset returns, Quantitative Finance 1
    Lillo, Farmer (2004), The long memory of the efficient market, Studies in Nonlinear Dynamics & Econometrics 8
    Filimonov, Sornette (2012), Quantifying reflexivity in financial markets, Physical Review E 85; (2015), Apparent
        criticality and calibration issues in the Hawkes self-excited point process model, Quantitative Finance 15
    Hardiman, Bercot, Bouchaud (2013), Critical reflexivity in financial markets, European Physical Journal B 86
    Hardiman, Bouchaud (2014), Branching-ratio approximation for the self-exciting Hawkes process, Physical Review E 90
    Cont, Kukanov, Stoikov (2014), The price impact of order book events, Journal of Financial Econometrics 12
    Dayri, Rosenbaum (2015), Large tick assets: implicit spread and optimal tick size, Market Microstructure and
        Liquidity 1
    Cont, Cucuringu, Zhang (2023), Cross-impact of order flow imbalance in equity markets, Quantitative Finance 23
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .walk import SIGN_LAGS, STEP_NS, TapeWalk
from .walk_stats import FEW, MIN, Series, autocorrelation, fano, kurtosis, mean_r2, mean_range_bps, r2, within_r2

__all__ = ["Facts", "facts_of", "facts_table"]

_NAN = float("nan")
_HALF_HOUR = 18_000  # x 100 ms


@dataclass(frozen=True, slots=True)
class Facts:
    """Measured facts; NaN where the tape is too short or lacks the stream."""

    span_s: float = _NAN
    r2_100ms: float = _NAN
    r2_1s: float = _NAN
    r2_10s: float = _NAN
    within_r2_100ms: float = _NAN  # each half hour has its own line: depth, and so the slope, changes over a day
    within_r2_1s: float = _NAN
    within_r2_10s: float = _NAN
    mean_r2_1s: float = _NAN  # mean over all starts of the windows, 100 ms apart: a short span depends on its start
    mean_r2_10s: float = _NAN
    depth_r2_100ms: float = _NAN  # OFI and return from the depth messages, whatever other streams there are
    depth_r2_1s: float = _NAN
    depth_r2_10s: float = _NAN
    next_r2_100ms: float = _NAN
    next_r2_1s: float = _NAN
    one_tick_share: float = _NAN  # of local time with a good book
    spread_mean_ticks: float = _NAN
    spread_median_ticks: float = _NAN
    spread_mean_bps: float = _NAN
    std_100ms_bps: float = _NAN
    std_1s_bps: float = _NAN
    std_10s_bps: float = _NAN
    std_60s_bps: float = _NAN
    kurtosis_1s: float = _NAN  # excess
    kurtosis_10s: float = _NAN
    abs_acf_1s: float = _NAN  # of |1 s return| at this lag
    abs_acf_10s: float = _NAN
    abs_acf_60s: float = _NAN
    range_60s_bps: float = _NAN  # mean over minutes
    sign_acf_1: float = _NAN  # at this lag in orders
    sign_acf_10: float = _NAN
    sign_acf_100: float = _NAN
    sign_exponent: float = _NAN  # gamma of lag ** -gamma
    fano_1s: float = _NAN  # variance by mean of orders in 1 s
    branching: float = _NAN
    rows_per_s: float = _NAN
    depth_messages_per_s: float = _NAN
    quotes_per_s: float = _NAN
    trades_per_s: float = _NAN
    orders_per_s: float = _NAN
    depth_best: float = _NAN  # base units, mean of both sides
    depth_top5: float = _NAN


def facts_of(walk: TapeWalk) -> Facts:
    """Facts of a finished walk."""
    w = walk.windows
    if len(w) < 2:
        return Facts()
    source = 1 if walk.quote_messages else 0
    span_s = len(w) * STEP_NS / 1e9
    out: dict[str, float] = {"span_s": span_s}
    quotes, depth = Series(w, source), Series(w, 0)
    by = {m: quotes.blocks(m) for m in (1, 10, 100, 600)}
    for m, name in ((1, "100ms"), (10, "1s"), (100, "10s")):
        k, ofi, ret = by[m]
        out[f"r2_{name}"] = r2(ofi, ret)
        out[f"depth_r2_{name}"] = r2(*depth.blocks(m)[1:])
        out[f"within_r2_{name}"] = within_r2(k * m // _HALF_HOUR, ofi, ret)
        if m > 1:
            out[f"mean_r2_{name}"] = mean_r2(quotes, m)
        if m < 100:
            follows = np.diff(k) == 1
            out[f"next_r2_{name}"] = r2(ofi[:-1][follows], ret[1:][follows])
    for m, name in ((1, "100ms"), (10, "1s"), (100, "10s"), (600, "60s")):
        ret = by[m][2]
        out[f"std_{name}_bps"] = float(ret.std()) if len(ret) >= FEW else _NAN
    out["kurtosis_1s"], out["kurtosis_10s"] = kurtosis(by[10][2]), kurtosis(by[100][2])
    for lag in (1, 10, 60):
        out[f"abs_acf_{lag}s"] = autocorrelation(by[10][0], np.abs(by[10][2]), lag)
    out |= _spread_facts(walk, source) | _sign_facts(walk) | _arrival_facts(w) | _depth_facts(w)
    out["range_60s_bps"] = mean_range_bps(w, source)
    for name, n in (
        ("rows", walk.rows),
        ("depth_messages", walk.depth_messages),
        ("quotes", walk.quote_messages),
        ("trades", walk.trades),
        ("orders", walk.orders),
    ):
        out[f"{name}_per_s"] = n / span_s
    return Facts(**out)


def _spread_facts(walk: TapeWalk, source: int) -> dict[str, float]:
    held = walk.spread_ns[source]
    total = int(held.sum())
    if total == 0:
        return {}
    return {
        "one_tick_share": float(held[1] / total),
        "spread_mean_ticks": float(held @ np.arange(len(held)) / total),
        "spread_median_ticks": float(np.searchsorted(np.cumsum(held), total / 2)),
        "spread_mean_bps": walk.spread_bps(source),
    }


def _sign_facts(walk: TapeWalk) -> dict[str, float]:
    n = walk.orders
    if n < MIN:
        return {}
    mean = walk.sign_sum / n
    variance = 1.0 - mean**2
    if variance <= 0.0:
        return {}
    acf = np.full(len(SIGN_LAGS), _NAN)
    enough = walk.sign_pairs >= MIN
    acf[enough] = (walk.sign_products[enough] / walk.sign_pairs[enough] - mean**2) / variance
    out = {f"sign_acf_{lag}": float(acf[lag == SIGN_LAGS][0]) for lag in (1, 10, 100)}
    # A straight line in logarithms, up to the first lag whose value is within noise.
    noise = ~(acf > 2.0 / np.sqrt(n))
    upto = int(np.argmax(noise)) if noise.any() else len(acf)
    if upto >= 8:
        out["sign_exponent"] = -float(np.polyfit(np.log(SIGN_LAGS[:upto]), np.log(acf[:upto]), 1)[0])
    return out


def _arrival_facts(w: np.ndarray) -> dict[str, float]:
    # Hardiman and Bouchaud (2014): variance / mean of the counts in long windows tends to 1 / (1 - n) ** 2.
    long = fano(w, 100)
    return {"fano_1s": fano(w, 10), "branching": 1.0 - max(long, 1.0) ** -0.5 if np.isfinite(long) else _NAN}


def _depth_facts(w: np.ndarray) -> dict[str, float]:
    at = np.isfinite(w["bid_qty"])
    if not at.any():
        return {}
    best, five = ((w[f"bid_qty{n}"][at].astype("f8") + w[f"ask_qty{n}"][at]).mean() / 2 for n in ("", "5"))
    return {"depth_best": float(best), "depth_top5": float(five)}


_CKS = "Cont, Kukanov, Stoikov 2014"
_TABLE = (
    ("span_s", "span with data, s", ".0f", ""),
    ("r2_100ms", "R2 of return on OFI, 0.1 s", ".3f", ""),
    ("r2_1s", "R2 of return on OFI, 1 s", ".3f", ""),
    ("r2_10s", "R2 of return on OFI, 10 s", ".3f", f"0.65 on average ({_CKS})"),
    ("mean_r2_1s", "R2, 1 s, mean over window starts", ".3f", ""),
    ("mean_r2_10s", "R2, 10 s, mean over window starts", ".3f", ""),
    ("within_r2_100ms", "R2, 0.1 s, a line each half hour", ".3f", ""),
    ("within_r2_1s", "R2, 1 s, a line each half hour", ".3f", ""),
    ("within_r2_10s", "R2, 10 s, a line each half hour", ".3f", f"0.65 on average, so fitted ({_CKS})"),
    ("depth_r2_100ms", "R2 from depth messages, 0.1 s", ".3f", ""),
    ("depth_r2_1s", "R2 from depth messages, 1 s", ".3f", ""),
    ("depth_r2_10s", "R2 from depth messages, 10 s", ".3f", ""),
    ("next_r2_100ms", "R2 of next return on OFI, 0.1 s", ".3f", "decays rapidly (Cont, Cucuringu, Zhang 2023)"),
    ("next_r2_1s", "R2 of next return on OFI, 1 s", ".3f", "decays rapidly (Cont, Cucuringu, Zhang 2023)"),
    ("one_tick_share", "time with a one-tick spread", ".1%", "nearly always: large tick (Dayri, Rosenbaum 2015)"),
    ("spread_mean_ticks", "mean spread, ticks", ".2f", ""),
    ("spread_median_ticks", "median spread, ticks", ".0f", ""),
    ("spread_mean_bps", "mean spread, bps", ".3f", ""),
    ("std_100ms_bps", "return std, 0.1 s, bps", ".2f", ""),
    ("std_1s_bps", "return std, 1 s, bps", ".2f", ""),
    ("std_10s_bps", "return std, 10 s, bps", ".2f", ""),
    ("std_60s_bps", "return std, 60 s, bps", ".2f", ""),
    ("range_60s_bps", "one-minute range, bps", ".1f", ""),
    ("kurtosis_1s", "excess kurtosis, 1 s", ".1f", "above 0 (Cont 2001)"),
    ("kurtosis_10s", "excess kurtosis, 10 s", ".1f", "above 0, less than at 1 s (Cont 2001)"),
    ("abs_acf_1s", "ACF of absolute 1 s return, lag 1 s", ".3f", "above 0, slow decay (Cont 2001)"),
    ("abs_acf_10s", "ACF of absolute 1 s return, lag 10 s", ".3f", "above 0, slow decay (Cont 2001)"),
    ("abs_acf_60s", "ACF of absolute 1 s return, lag 60 s", ".3f", "above 0, slow decay (Cont 2001)"),
    ("sign_acf_1", "ACF of order signs, lag 1", ".3f", "above 0 (Lillo, Farmer 2004)"),
    ("sign_acf_10", "ACF of order signs, lag 10", ".3f", "above 0 (Lillo, Farmer 2004)"),
    ("sign_acf_100", "ACF of order signs, lag 100", ".3f", "above 0 (Lillo, Farmer 2004)"),
    ("sign_exponent", "decay exponent of that ACF", ".2f", "0.6, by stock 0.36-0.77 (Lillo, Farmer 2004)"),
    ("fano_1s", "Fano factor of orders in 1 s", ".1f", "1 if arrivals did not cluster (Poisson)"),
    (
        "branching",
        "branching ratio of orders",
        ".2f",
        "0.7-1, of mid changes (Filimonov, Sornette 2012; Hardiman 2013)",
    ),
    ("rows_per_s", "rows a second", ",.3g", ""),
    ("depth_messages_per_s", "depth messages a second", ",.3g", ""),
    ("quotes_per_s", "best-quote messages a second", ",.3g", ""),
    ("trades_per_s", "trades a second", ",.3g", ""),
    ("orders_per_s", "market orders a second", ",.3g", ""),
    ("depth_best", "mean size at the best price, a side", ",.4g", ""),
    ("depth_top5", "mean size of the best 5 levels, a side", ",.4g", ""),
)


def facts_table(columns: dict[str, Facts]) -> list[list[str]]:
    """Cells of a table: header, then a row a fact.

    Parameters
    ----------
    columns : heading to facts; they stand between the fact's name and the published value
    """
    rows = [["fact", *columns, "published"]]
    for field, label, form, published in _TABLE:
        values = (getattr(facts, field) for facts in columns.values())
        rows.append([label, *("N/A" if np.isnan(v) else format(v, form) for v in values), published])
    return rows
