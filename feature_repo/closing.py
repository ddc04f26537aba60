"""The close of one 100 ms window: every channel and market field, from the book and the window's sums.

Knowable at t_k: nothing here reads an event at or after it. Prices inside are half ticks (bid ticks + ask ticks), whole
numbers, so that equal mids are equal.
"""

from __future__ import annotations

import numpy as np

from .book import ASKS, BIDS, best_key, quantity_at
from .constants import SECOND_NS, WINDOW_NS
from .depth import value_of_top, walk_bps
from .jit import kernel_jit
from .state import SECOND_COLUMNS
from .streaming import median, rank, replace_sorted, slide_extremes, sum_ring, z_score

__all__ = ["close_window"]

_jit = kernel_jit(__file__)

_HOUR_NS = 3600 * SECOND_NS
_PER_S = SECOND_NS // WINDOW_NS
_LEAST_WEIGHT = 1e-9  # of the drift's memory: below it nothing is remembered
# Squared returns are kept as whole numbers: a running sum of them is exact, and equal volatilities are equal in rank.
_SQUARE_UNIT = 2.0**60
_MOST_SQUARE = 0.01  # a move of 10 % in 100 ms; 600 of them stay below the largest int64


@_jit
def _mid(s, half):
    """Price of a number of half ticks."""
    return half / (2.0 * s.inv) if s.inv > 0.0 else half * s.tick * 0.5


@_jit
def _book_fields(s, F, I, x, m):
    """Spread, depth, microprice and slippage at t_k; returns the mid in half ticks."""
    bid, ask = best_key(s, I, BIDS), best_key(s, I, ASKS)
    half = bid - ask
    mid = _mid(s, half)
    m.mid = mid
    m.bid, m.ask = _mid(s, 2 * bid), _mid(s, -2 * ask)
    m.bid_qty, m.ask_qty = quantity_at(s, F, I, BIDS, bid), quantity_at(s, F, I, ASKS, ask)
    m.spread_bps = (m.ask - m.bid) / mid * 1e4
    below, above = value_of_top(s, F, I, BIDS, 5), value_of_top(s, F, I, ASKS, 5)
    m.depth_top5 = below + above
    m.slip_buy_bps = walk_bps(s, F, I, ASKS, s.base_usd, mid)
    m.slip_sell_bps = walk_bps(s, F, I, BIDS, s.base_usd, mid)
    x[7] = m.spread_bps
    x[8] = m.depth_top5
    x[9] = (below - above) / (below + above)
    micro = (m.bid * m.ask_qty + m.ask * m.bid_qty) / (m.bid_qty + m.ask_qty)
    x[19] = (micro - mid) / mid * 1e4
    return half


@_jit
def _no_book_fields(m):
    """What the market row says without a book."""
    m.bid = m.ask = m.bid_qty = m.ask_qty = m.mid = m.spread_bps = m.depth_top5 = m.high = m.low = np.nan
    m.slip_buy_bps = m.slip_sell_bps = np.inf


@_jit
def _flow_z(s, F, x):
    """OFI and CVD scores. Their rings take every window in; their means and deviations, those that end with a book."""
    roll, change = F[s.o_ofi : s.o_ofi + s.n_ofi], F[s.o_cvd : s.o_cvd + s.n_cvd]
    roll[s.p_ofi] = s.w_ofi
    change[s.p_cvd] = s.w_dv
    s.p_ofi = (s.p_ofi + 1) % s.n_ofi
    s.p_cvd = (s.p_cvd + 1) % s.n_cvd
    if s.book_ok:
        z = F[s.o_z : s.o_z + 12]
        x[0] = z_score(z[0:3], s.w_ofi, s.z_decay, s.z_floor, s.z_clip)
        x[1] = z_score(z[3:6], s.w_ofi3, s.z_decay, s.z_floor, s.z_clip)
        x[2] = z_score(z[6:9], sum_ring(roll), s.z_decay, s.z_floor, s.z_clip)
        x[3] = z_score(z[9:12], sum_ring(change), s.z_decay, s.z_floor, s.z_clip)
    x[4], x[5], x[6] = s.w_dv, s.dv1, s.dv2
    s.dv2, s.dv1 = s.dv1, s.w_dv


@_jit
def _second_fields(s, F, t, x, m):
    """What is kept in 1 s buckets: the closed ones of the span, and the running one with this window."""
    at = s.o_sec + s.p_sec * SECOND_COLUMNS
    F[at] += s.w_vol
    F[at + 1] += s.w_pd
    F[at + 2] += s.w_pdd
    F[at + 3] += s.w_lb
    F[at + 4] += s.w_ls
    s.windows += 1
    covered = min(s.windows, (s.n_vol - 1) * _PER_S + (t - WINDOW_NS) % SECOND_NS // WINDOW_NS + 1)
    volume = s.c_vol + F[at]
    if s.w_vol > 0.0:
        x[10] = s.w_vol * covered / volume
    m.vwap = m.sigma_vwap = np.nan
    quantity = s.c_q + F[at]
    if quantity > 0.0:
        shift = (s.c_pd + F[at + 1]) / quantity
        m.vwap = s.anchor + shift
        m.sigma_vwap = max(np.sqrt(max((s.c_pdd + F[at + 2]) / quantity - shift * shift, 0.0)), s.sigma_floor)
        if s.book_ok:
            x[12] = (m.mid - m.vwap) / m.sigma_vwap
            x[11] = abs(x[12])
    least = min(s.c_min, F[at + 5])
    x[16] = s.budget_ms - (s.ewma - least) / 1e6 if least < np.inf else s.budget_ms
    m.liq_buy, m.liq_sell = s.c_lb + F[at + 3], s.c_ls + F[at + 4]
    forced = m.liq_buy + m.liq_sell
    if forced > 0.0:
        x[17] = (m.liq_buy - m.liq_sell) / forced


@_jit
def _roll_second(s, F):
    """Open the next 1 s bucket and sum the closed ones of each span anew: no subtraction, no drift."""
    s.p_sec = (s.p_sec + 1) % s.n_sec
    at = s.o_sec + s.p_sec * SECOND_COLUMNS
    F[at : at + 5] = 0.0
    F[at + 5] = np.inf
    s.c_q = s.c_pd = s.c_pdd = s.c_vol = s.c_lb = s.c_ls = 0.0
    s.c_min = np.inf
    second = s.p_sec
    for age in range(1, s.n_sec):
        second = second - 1 if second > 0 else s.n_sec - 1
        at = s.o_sec + second * SECOND_COLUMNS
        if age < s.n_vwap:
            s.c_q += F[at]
            s.c_pd += F[at + 1]
            s.c_pdd += F[at + 2]
        if age < s.n_vol:
            s.c_vol += F[at]
        if age < s.n_liq:
            s.c_lb += F[at + 3]
            s.c_ls += F[at + 4]
        if age < s.n_lat:
            s.c_min = min(s.c_min, F[at + 5])


@_jit
def _path_fields(s, I, half, x, m):
    """Returns, volatility, range and drift of the mid; ``run`` windows lie behind without a break of the book."""
    mids = I[s.o_mid : s.o_mid + s.n_mid]
    before, within = I[s.o_ext : s.o_ext + 4], I[s.o_range : s.o_range + 4]
    m.high = m.low = np.nan
    if s.run > 1:
        m.high, m.low = _mid(s, before[0]), _mid(s, before[2])
    mids[s.p_mid] = half
    s.p_mid = (s.p_mid + 1) % s.n_mid
    slide_extremes(before, mids, s.p_mid, s.run, s.n_ext)
    slide_extremes(within, mids, s.p_mid, s.run, s.n_range)
    if s.run > 1:
        if half != s.prev_half:
            I[s.o_rv + s.p_rv] = np.int64(np.rint(min(np.log(half / s.prev_half) ** 2, _MOST_SQUARE) * _SQUARE_UNIT))
            s.rv_sum += I[s.o_rv + s.p_rv]
        if s.prev_valid and abs(s.prev_z) >= s.drift_z:
            move = (half - s.prev_half) / s.prev_half * 1e4
            s.drift_w += 1.0
            s.drift_s += move if s.prev_z > 0.0 else -move
    x[20] = np.sqrt(s.rv_sum / _SQUARE_UNIT) * 1e4
    if s.run > _PER_S:
        x[22] = np.log(half / mids[(s.p_mid - 1 - _PER_S) % s.n_mid]) * 1e4
    high, low = within[0], within[2]
    if high > low:
        x[23] = (2.0 * half - low - high) / (high - low)


@_jit
def _bar(s, t, half):
    """Wilder's ATR on bars of the mid, in half ticks. A bar counts if the book was good from its start to its end."""
    if s.book_ok:
        s.bar_hi = max(s.bar_hi, half)
        s.bar_lo = half if s.bar_lo == 0 else min(s.bar_lo, half)
    if t % s.bar_ns == 0:
        if s.book_ok and s.valid_since < t - s.bar_ns:
            reach = s.bar_hi - s.bar_lo
            if s.bar_close > 0:
                reach = max(reach, max(abs(s.bar_hi - s.bar_close), abs(s.bar_lo - s.bar_close)))
            s.atr += (reach - s.atr) / min(s.atr_count + 1, s.atr_n)
            s.atr_count += 1
            s.bar_close = half
        else:
            s.bar_close = 0
        s.bar_hi = s.bar_lo = 0


@_jit
def _medians(s, F, m):
    """Medians of the windows before this one, then take this one in."""
    spread, depth = F[s.o_spr : s.o_spr + s.n_med], F[s.o_dep : s.o_dep + s.n_med]
    spreads, depths = F[s.o_spr_sorted : s.o_spr_sorted + s.n_med], F[s.o_dep_sorted : s.o_dep_sorted + s.n_med]
    m.spread_median_bps = median(spreads, s.n_spr)
    m.depth_median = median(depths, s.n_dep)
    s.n_spr = replace_sorted(spreads, s.n_spr, spread[s.p_med], m.spread_bps)
    s.n_dep = replace_sorted(depths, s.n_dep, depth[s.p_med], m.depth_top5)
    spread[s.p_med] = m.spread_bps
    depth[s.p_med] = m.depth_top5
    s.p_med = (s.p_med + 1) % s.n_med


@_jit
def _regime(s, F, t, valid, x):
    """Rank of the volatility among the whole seconds of the trailing span before t_k; NaN where the row is invalid."""
    ordered = F[s.o_reg_sorted : s.o_reg_sorted + s.n_reg]
    x[14] = rank(ordered, s.n_reg_seen, x[20])
    warm = s.n_reg_seen == s.n_reg
    if t % SECOND_NS == 0:
        ring = F[s.o_reg : s.o_reg + s.n_reg]
        new = x[20] if valid else np.nan
        s.n_reg_seen = replace_sorted(ordered, s.n_reg_seen, ring[s.p_reg], new)
        ring[s.p_reg] = new
        s.p_reg = (s.p_reg + 1) % s.n_reg
    return warm


@_jit
def close_window(s, F, I, t, row, m):
    """Write the row of the window that ends at ``t`` and make ready for the next.

    Parameters
    ----------
    s : record STATE_DTYPE, F, I : the engine's arrays; the pending message must be complete
    row : float32 [24]; zeros if the row is not valid
    m : record MARKET_DTYPE
    """
    x = F[s.o_x : s.o_x + 24]
    x[:] = 0.0
    m.t_ns = t
    half = 0
    s.drift_w *= s.drift_decay
    s.drift_s *= s.drift_decay
    if s.book_ok:
        s.run = s.run + 1 if s.run > 0 and s.valid_since < t - WINDOW_NS else 1
        half = _book_fields(s, F, I, x, m)
    else:
        s.run = 0
        _no_book_fields(m)
    valid = s.book_ok and t - s.valid_since >= s.warm_ns
    _flow_z(s, F, x)
    _second_fields(s, F, t, x, m)
    s.rv_sum -= I[s.o_rv + s.p_rv]
    I[s.o_rv + s.p_rv] = 0
    if s.book_ok:
        _path_fields(s, I, half, x, m)
    s.p_rv = (s.p_rv + 1) % s.n_rv
    _bar(s, t, half)
    _medians(s, F, m)
    warm = _regime(s, F, t, valid, x)
    m.drift_bps = max(s.drift_s / s.drift_w, 0.0) if s.drift_w > _LEAST_WEIGHT else 0.0
    m.atr = _mid(s, s.atr) if s.atr_count > 0 else np.nan
    m.data_age_ms = (t - s.newest_exch) / 1e6 if s.newest_exch > 0 else np.nan
    x[13] = 1.0 if s.hours >> (t // _HOUR_NS % 24) & 1 else 0.0
    x[15] = m.data_age_ms
    x[18] = s.funding * 1e4
    x[21] = m.atr / m.mid * 1e4 if s.atr_count > 0 else 0.0
    m.valid = valid
    m.warm = valid and warm
    for i in range(24):
        row[i] = x[i] if valid else 0.0
    s.prev_half, s.prev_valid, s.prev_z = half, valid, x[0]
    s.w_ofi = s.w_ofi3 = s.w_dv = s.w_vol = s.w_pd = s.w_pdd = s.w_lb = s.w_ls = 0.0
    if t % SECOND_NS == 0:
        _roll_second(s, F)
