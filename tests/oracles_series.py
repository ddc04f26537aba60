"""The per-window part of the oracle: every channel and market field of a whole tape, as arrays over its windows.

Sums over a span are differences of running sums of the events themselves, in long double; means and deviations that
forget are pandas'. Nothing here shares code with the engine but event codes, dtypes and constants.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass

import numpy as np
import pandas as pd

from feature_repo.constants import SIGNAL, EngineDefaults
from feature_repo.events import BUY, DEPTH, FUNDING, KIND_MASK, LIQUIDATION, SELL, TRADE
from feature_repo.fields import CHANNELS, MARKET_DTYPE
from feature_repo.instruments import Instrument

from .oracles_book import BookSeries, book_series

__all__ = ["SeriesRows", "series_rows"]

W = 100_000_000
S = 1_000_000_000
_PER_S = S // W
# Definitions of the realised volatility: squared log returns count in these units, and up to 10 % in a window.
_UNIT = 2.0**-60
_MOST_SQUARE = 0.01
_FORGOTTEN = 1e-9  # weight of all strong-flow windows together below which their drift is forgotten


@dataclass
class SeriesRows:
    """Channels float64 [K, 24] (zeros where invalid), market MARKET_DTYPE [K], and the book's series."""

    X: np.ndarray
    market: np.ndarray
    book: BookSeries


class _Span:
    """Running sums over events, to be taken between a time and the close of each window.

    A span of n seconds is the second in which the window lies and the n - 1 before it.
    """

    def __init__(self, times: np.ndarray, stamps: np.ndarray) -> None:
        self.times, self.stamps = times, stamps
        self.high = np.searchsorted(stamps, times)
        self.second = (times - W) // S * S

    def low(self, seconds: int) -> np.ndarray:
        return np.searchsorted(self.stamps, self.second - (seconds - 1) * S)

    def sum(self, values: np.ndarray, seconds: int) -> np.ndarray:
        running = np.concatenate([[0], np.cumsum(values.astype(np.longdouble))])
        return (running[self.high] - running[self.low(seconds)]).astype(float)


def series_rows(events: np.ndarray, instrument: Instrument, config: EngineDefaults) -> SeriesRows:
    """Every row of a tape by the definitions of quant.md."""
    book = book_series(events, instrument, config)
    c = book.closes
    times, ok, K = c["t_ns"], c["ok"], len(c)
    x = {name: np.zeros(K) for name in CHANNELS}
    market = np.zeros(K, MARKET_DTYPE)
    market["t_ns"] = times
    if K == 0:
        return SeriesRows(np.zeros((0, len(CHANNELS))), market, book)
    market["valid"] = valid = ok & (times - c["since"] >= config.warm_up_s * S)
    half = np.where(ok, c["bid"] + c["ask"], 0)
    _book_fields(c, half, instrument.tick, x, market)
    flow = _window_sums(events, times)
    _flow_scores(c, flow, config, instrument.lot, x)
    _trade_fields(events, flow["vol"], times, instrument, config, x, market)
    _delay_fields(events, times, config, x)
    run = _runs(ok, c["since"])
    squares = _path_fields(run, half, instrument.tick, config, x, market)
    _regime(times, valid, squares, config, x, market)
    _drift(run, half, valid, config, x, market)
    market["atr"] = _atr(c, half, config) * instrument.tick / 2
    x["atr_bps"] = np.where(np.isnan(market["atr"]), 0.0, market["atr"] / market["mid"] * 1e4)
    for name, values in (("spread_median_bps", market["spread_bps"]), ("depth_median", market["depth_top5"])):
        span = pd.Series(values).rolling(config.median_s * _PER_S, min_periods=1)
        market[name] = span.median().shift(1)
    age = np.where(c["newest"] > 0, (times - c["newest"]) / 1e6, np.nan)
    x["data_age_ms"] = market["data_age_ms"] = age
    hours = times // (3600 * S) % 24
    x["session_flag"] = sum((hours >= low) & (hours < high) for low, high in config.handover_hours_utc)
    X = np.column_stack([x[name] for name in CHANNELS])
    X[~valid] = 0.0
    return SeriesRows(X, market, book)


def _book_fields(c: np.ndarray, half: np.ndarray, tick: float, x: dict, market: np.ndarray) -> None:
    ok = c["ok"]
    for name in ("bid", "ask"):
        market[name] = np.where(ok, c[name] * tick, np.nan)
    market["bid_qty"], market["ask_qty"] = c["bid_qty"], c["ask_qty"]
    market["mid"] = mid = np.where(ok, half / 2 * tick, np.nan)
    market["spread_bps"] = x["spread_bps"] = (c["ask"] - c["bid"]) * tick / mid * 1e4
    market["depth_top5"] = x["depth_top5_sum"] = c["below"] + c["above"]
    market["slip_buy_bps"], market["slip_sell_bps"] = c["buy"], c["sell"]
    x["depth_imbalance"] = (c["below"] - c["above"]) / (c["below"] + c["above"])
    # The mid lies half a spread from either side; the microprice leans to the smaller queue's price.
    lean = (c["bid_qty"] - c["ask_qty"]) / (c["bid_qty"] + c["ask_qty"])
    x["microprice_dev_bps"] = lean * (c["ask"] - c["bid"]) * tick / 2 / mid * 1e4


def _window_sums(events: np.ndarray, times: np.ndarray) -> dict[str, np.ndarray]:
    """Volume and signed volume of each window."""
    trades = events[(events["ev"] & np.uint64(KIND_MASK)) == TRADE]
    k = np.searchsorted(times, trades["local_ts"], side="right")
    sides = trades["ev"] & np.uint64(BUY | SELL)
    signs = np.select([sides == BUY, sides == SELL], [1.0, -1.0], 0.0)
    inside, K = k < len(times), len(times)
    return {
        "vol": np.bincount(k[inside], trades["qty"][inside], K),
        "dv": np.bincount(k[inside], (signs * trades["qty"])[inside], K),
    }


def _trailing(values: np.ndarray, n: int) -> np.ndarray:
    """Sum of the last n values, of fewer at the start."""
    padded = np.concatenate([np.zeros(n - 1, values.dtype), values])
    return np.lib.stride_tricks.sliding_window_view(padded, n).sum(axis=1)


def _flow_scores(c: np.ndarray, flow: dict, config: EngineDefaults, floor: float, x: dict) -> None:
    roll = _trailing(c["ofi"], config.ofi_roll_ms * 1_000_000 // W)
    cvd = _trailing(flow["dv"], config.cvd_change_ms * 1_000_000 // W)
    for name, values in (("ofi_z", c["ofi"]), ("ofi_top3_z", c["ofi3"]), ("ofi_roll", roll), ("cvd_z", cvd)):
        # Only windows with a book are scored, and only they are remembered.
        known = pd.Series(values[c["ok"]])
        memory = known.ewm(halflife=config.z_half_life_s * _PER_S)
        mean, deviation = memory.mean().shift(1), memory.std(bias=True).shift(1).fillna(0.0)
        z = ((known - mean) / deviation.clip(lower=floor)).clip(-config.z_clip, config.z_clip)
        x[name][c["ok"]] = z.fillna(0.0)
    for lag in range(3):
        x[f"dcvd_{lag + 1}"][lag:] = flow["dv"][: len(c) - lag]


def _trade_fields(
    events: np.ndarray,
    vol: np.ndarray,
    times: np.ndarray,
    instrument: Instrument,
    config: EngineDefaults,
    x: dict,
    market: np.ndarray,
) -> None:
    """Volume, VWAP, forced orders, funding."""
    kind = events["ev"] & np.uint64(KIND_MASK)
    trades = events[kind == TRADE]
    q, span = trades["qty"], _Span(times, trades["local_ts"])
    windows = (times - np.maximum(span.second - (config.volume_mean_s - 1) * S, times[0] - W)) // W
    volume = span.sum(q, config.volume_mean_s)
    np.divide(vol * windows, volume, out=x["volume_spike"], where=vol > 0)
    # About a price of the tape, so that squares do not swamp the deviation.
    centre = float(np.median(trades["px"])) if len(trades) else 0.0
    p = (trades["px"] - centre).astype(np.longdouble)
    some = span.high > span.low(config.vwap_s)
    weight = np.where(some, span.sum(q, config.vwap_s), np.nan)
    first, second = (span.sum(q * p**power, config.vwap_s) / weight for power in (1, 2))
    market["vwap"] = vwap = centre + first
    market["sigma_vwap"] = sigma = np.maximum(np.sqrt(np.maximum(second - first**2, 0.0)), instrument.tick / 4)
    x["vwap_dev_signed"] = np.where(some, (market["mid"] - vwap) / sigma, 0.0)
    x["vwap_dev"] = np.abs(x["vwap_dev_signed"])
    forced = events[kind == LIQUIDATION]
    span = _Span(times, forced["local_ts"])
    worth = forced["qty"] * (instrument.contract_value if instrument.inverse else forced["px"])
    for name, side in (("liq_buy", BUY), ("liq_sell", SELL)):
        market[name] = span.sum(worth * ((forced["ev"] & np.uint64(side)) != 0), config.liquidation_s)
    both = market["liq_buy"] + market["liq_sell"]
    np.divide(market["liq_buy"] - market["liq_sell"], both, out=x["liq_imbalance"], where=both > 0)
    rates = events[kind == FUNDING]
    latest = np.concatenate([[0.0], rates["fval"]])
    x["funding_bps"] = latest[np.searchsorted(rates["local_ts"], times)] * 1e4


def _delay_fields(events: np.ndarray, times: np.ndarray, config: EngineDefaults, x: dict) -> None:
    """What is left of the latency budget: EWMA of the delay in time, over the least of the trailing span."""
    rows = events[np.isin(events["ev"] & np.uint64(KIND_MASK), (TRADE, DEPTH))]
    stamps, delays = rows["local_ts"], (rows["local_ts"] - rows["exch_ts"]).astype(float)
    x["e2e_budget_ms"][:] = config.e2e_budget_ms
    if len(rows) == 0:
        return
    # Events at one instant count once, by the first.
    instants, firsts = np.unique(stamps, return_index=True)
    smooth = [float(delays[firsts[0]])]
    keep = np.exp(-np.diff(instants) / S / config.latency_ewma_s).tolist()
    for weight, delay in zip(keep, delays[firsts[1:]].tolist(), strict=True):
        smooth.append(weight * smooth[-1] + (1 - weight) * delay)
    # The least of each window, then of the running second so far, then of the closed seconds of the span.
    least = np.full(len(times), np.inf)
    k = np.searchsorted(times, stamps, side="right")
    np.minimum.at(least, k[k < len(times)], delays[k < len(times)])
    second = (times - W) // S
    so_far = pd.Series(least).groupby(second).cummin().to_numpy()
    ends = pd.Series(so_far).groupby(second).last()
    closed = ends.replace(np.inf, np.nan).rolling(config.latency_min_s - 1, min_periods=1).min().shift(1)
    least = np.fmin(so_far, closed.reindex(second).to_numpy())
    known = np.isfinite(least)
    now = np.array(smooth)[np.searchsorted(instants, times[known]) - 1]
    x["e2e_budget_ms"][known] -= (now - least[known]) / 1e6


def _runs(ok: np.ndarray, since: np.ndarray) -> np.ndarray:
    """int64 [K]: closes of the same unbroken book up to and with this one; 0 without a book."""
    number = np.cumsum(np.concatenate([[True], (since[1:] != since[:-1]) | (ok[1:] != ok[:-1])]))
    count = pd.Series(ok).groupby(number).cumcount().to_numpy() + 1
    return np.where(ok, count, 0)


def _path_fields(
    run: np.ndarray, half: np.ndarray, tick: float, config: EngineDefaults, x: dict, market: np.ndarray
) -> np.ndarray:
    """Returns, volatility and ranges of the mid; returns the int64 sums of squared returns behind the volatility."""
    squares = np.zeros(len(run), np.int64)
    on = np.flatnonzero(run > 1)
    returns = np.log(half[on] / half[on - 1])
    squares[on] = np.rint(np.minimum(returns**2, _MOST_SQUARE) / _UNIT)
    squares = _trailing(squares, config.rv_s * _PER_S)
    x["rv_60s_bps"] = np.where(run > 0, np.sqrt(squares * _UNIT) * 1e4, 0.0)
    on = np.flatnonzero(run > _PER_S)
    x["ret_1s_bps"][on] = np.log(half[on] / half[on - _PER_S]) * 1e4
    market["high"] = market["low"] = np.nan
    starts = np.flatnonzero(run == 1)
    for start in starts:
        length = int(np.argmax(run[start:] == 0)) or len(run) - start
        later = starts[starts > start]
        end = min(start + length, later[0] if len(later) else len(run))
        mids = pd.Series(half[start:end].astype(float))
        span = mids.rolling(config.range_s * _PER_S, min_periods=1)
        low, high = span.min(), span.max()
        place = (2 * mids - low - high) / (high - low)
        x["range_pos"][start:end] = place.where(high > low, 0.0)
        span = mids.rolling(SIGNAL.extreme_s * _PER_S, min_periods=1)
        market["high"][start:end], market["low"][start:end] = (v.shift(1) * tick / 2 for v in (span.max(), span.min()))
    return squares


def _regime(
    times: np.ndarray, valid: np.ndarray, squares: np.ndarray, config: EngineDefaults, x: dict, market: np.ndarray
) -> None:
    """Rank among the whole seconds of the trailing span before t_k, those with a valid row; equals count half."""
    kept: list[int] = []
    samples: list[int | None] = []  # one a whole second since the start, in order
    ranks, counts, rank, last = [], [], 0.5, None
    for whole, good, value in zip((times % S == 0).tolist(), valid.tolist(), squares.tolist(), strict=True):
        if kept and value != last:
            rank, last = (bisect_left(kept, value) + bisect_right(kept, value)) / 2 / len(kept), value
        ranks.append(rank if kept else 0.5)
        counts.append(len(kept))
        if whole:
            last = None
            samples.append(value if good else None)
            if good:
                insort(kept, value)
            old = samples[-config.regime_s - 1] if len(samples) > config.regime_s else None
            if old is not None:
                del kept[bisect_left(kept, old)]
    x["regime_q"] = np.array(ranks)
    market["warm"] = valid & (np.array(counts) == config.regime_s)


def _drift(
    run: np.ndarray, half: np.ndarray, valid: np.ndarray, config: EngineDefaults, x: dict, market: np.ndarray
) -> None:
    """The mid's next-window move in the direction of strong flow: a mean that forgets in time."""
    flow = x["ofi_z"]
    on = np.flatnonzero((run[1:] > 1) & valid[:-1] & (np.abs(flow[:-1]) >= config.drift_ofi_z)) + 1
    if len(on) == 0:
        return
    moves = np.sign(flow[on - 1]) * (half[on] - half[on - 1]) / half[on - 1] * 1e4
    half_life = config.drift_half_life_s * _PER_S
    when = pd.to_datetime(on * W)
    mean = pd.Series(moves).ewm(halflife=pd.Timedelta(seconds=config.drift_half_life_s), times=when).mean().to_numpy()
    weights = [1.0]
    for gap in np.diff(on).tolist():
        weights.append(weights[-1] * 0.5 ** (gap / half_life) + 1.0)
    k = np.arange(len(run))
    last = np.searchsorted(on, k, side="right") - 1
    left = np.where(last >= 0, np.array(weights)[last] * 0.5 ** ((k - on[last]) / half_life), 0.0)
    market["drift_bps"] = np.where(left > _FORGOTTEN, np.maximum(mean[last], 0.0), 0.0)


def _atr(c: np.ndarray, half: np.ndarray, config: EngineDefaults) -> np.ndarray:
    """Wilder's ATR, half ticks; a bar counts if the book was good from before its start to its end."""
    length, n = config.atr_bar_s * S, config.atr_bar_s * _PER_S
    out = np.full(len(c), np.nan)
    ranges: list[int] = []
    atr, close, close_at = np.nan, 0, -1
    ends = np.flatnonzero(c["t_ns"] % length == 0)
    for end in ends[ends >= n - 1].tolist():
        bar = slice(end - n + 1, end + 1)
        if not (c["ok"][bar].all() and (c["since"][bar] < c["t_ns"][end] - length).all()):
            continue
        high, low = int(half[bar].max()), int(half[bar].min())
        reach = high - low
        if close_at == end - n:
            reach = max(reach, abs(high - close), abs(low - close))
        ranges.append(reach)
        atr = (
            np.mean(ranges)
            if len(ranges) <= config.atr_bars
            else (atr * (config.atr_bars - 1) + reach) / config.atr_bars
        )
        out[end:] = atr
        close, close_at = int(half[end]), end
    return out
