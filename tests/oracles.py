"""Slow, plain forms of everything the feature engine computes: dictionaries, lists and sums over explicit spans.

Nothing here shares code with the engine but the event codes and dtypes. Values are float64; the engine's rows are
float32. The input must be free of events that the engine would reject. Good for a minute or two: oracles_book.py and
oracles_series.py say the same of whole days.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from feature_repo.constants import ORDER, SIGNAL, EngineDefaults
from feature_repo.events import (
    BUY,
    DEPTH,
    DEPTH_CLEAR,
    DEPTH_SNAPSHOT,
    FUNDING,
    GAP,
    KIND_MASK,
    LIQUIDATION,
    SELL,
    TRADE,
)
from feature_repo.fields import CHANNELS, MARKET_DTYPE
from feature_repo.instruments import Instrument

__all__ = ["OracleRows", "oracle_rows"]

W = 100_000_000
S = 1_000_000_000


@dataclass
class OracleRows:
    """Channels float64 [K, 24] (zeros where invalid), market MARKET_DTYPE [K], quotes as tuples of QUOTE_DTYPE."""

    X: np.ndarray
    market: np.ndarray
    quotes: list[tuple]


@dataclass
class _Book:
    """A dictionary a side, and the spans in which the book was good."""

    bids: dict[int, float] = field(default_factory=dict)
    asks: dict[int, float] = field(default_factory=dict)
    synced: bool = False
    since: int | None = None  # local time at which it became good, None while it is not

    def good(self) -> bool:
        return self.synced and bool(self.bids) and bool(self.asks) and max(self.bids) < min(self.asks)

    def top(self, n: int) -> tuple[list, list]:
        return heapq.nlargest(n, self.bids.items()), heapq.nsmallest(n, self.asks.items())


def _messages(events: np.ndarray) -> list[np.ndarray]:
    """Runs of rows that share both times; a gap stands alone."""
    runs: list[list[int]] = []
    key = None
    for i, e in enumerate(events):
        is_gap = int(e["ev"]) & KIND_MASK == GAP
        this = (int(e["local_ts"]), int(e["exch_ts"]), i if is_gap else -1)
        if this != key:
            runs.append([])
        runs[-1].append(i)
        key = this
    return [events[run] for run in runs]


def _level_flow(old: tuple[int, float] | None, new: tuple[int, float] | None, better: int) -> float:
    """Cont, Kukanov, Stoikov: e = 1{P' >= P} q' - 1{P' <= P} q, with prices turned so that larger is better."""
    if old is None or new is None:
        return 0.0
    flow = 0.0
    if better * new[0] >= better * old[0]:
        flow += new[1]
    if better * new[0] <= better * old[0]:
        flow -= old[1]
    return flow


def _at(levels: list, i: int):
    return levels[i] if i < len(levels) else None


def _value(instrument: Instrument, price: float, quantity: float) -> float:
    """Quote currency: a contract of an inverse one is worth the same at any price."""
    return quantity * instrument.contract_value if instrument.inverse else price * quantity


def _walk(levels: list[tuple[int, float]], instrument: Instrument, size: float, mid: float) -> float:
    """Average price of buying ``size`` quote currency level by level, against the mid in bps.

    It is the money spent for each coin received, for either kind of contract.
    """
    coins, left = 0.0, size
    for ticks, quantity in levels:
        price = ticks * instrument.tick
        value = _value(instrument, price, quantity)
        if value >= left:
            return abs(size / (coins + left / price) - mid) / mid * 1e4
        coins += value / price
        left -= value
    return math.inf


def oracle_rows(events: np.ndarray, instrument: Instrument, config: EngineDefaults) -> OracleRows:
    """Every row of a tape by the definitions of quant.md, window by window."""
    tick, per_s = instrument.tick, S // W
    first = int(events["local_ts"][0]) // W * W + W
    last = int(events["local_ts"].max()) // W * W
    times = list(range(first, last + 1, W))
    K = len(times)
    book = _Book()
    raw = {name: np.zeros(K) for name in ("ofi", "ofi3", "dcvd", "vol")}
    raw |= {name: np.full(K, np.nan) for name in ("mid", "spread", "depth", "imbalance", "micro", "buy", "sell")}
    best = np.full((K, 4), np.nan)
    since: list[int | None] = [None] * K
    newest: list[int | None] = [None] * K
    quotes: list[tuple] = []
    trades: list[tuple[int, float, float]] = []
    forced: list[tuple[int, float, float]] = []  # time, bought, sold
    fundings: list[tuple[int, float]] = []
    delays: list[tuple[int, int]] = []
    exch_top, last_exch, last_local, best_three = 0, None, 0, ([], [])
    messages, at = _messages(events), 0

    for k, t in enumerate(times):
        while at < len(messages) and messages[at]["local_ts"][0] < t:
            message = messages[at]
            at += 1
            local, exch = int(message["local_ts"][0]), int(message["exch_ts"][0])
            before_good, before, touched = book.since is not None, best_three, False
            for e in message:
                kind, is_bid = int(e["ev"]) & KIND_MASK, bool(int(e["ev"]) & BUY)
                is_ask, px, qty = bool(int(e["ev"]) & SELL), float(e["px"]), float(e["qty"])
                if kind == TRADE:
                    trades.append((local, px, qty))
                    raw["vol"][k] += qty
                    raw["dcvd"][k] += qty if is_bid else (-qty if is_ask else 0.0)
                elif kind == LIQUIDATION:
                    forced.append((local, _value(instrument, px, qty) * is_bid, _value(instrument, px, qty) * is_ask))
                elif kind == FUNDING:
                    fundings.append((local, float(e["fval"])))
                elif kind == GAP:
                    book.bids.clear()
                    book.asks.clear()
                    book.synced, touched = False, True
                elif kind in (DEPTH, DEPTH_SNAPSHOT, DEPTH_CLEAR) and (kind != DEPTH or book.synced):
                    touched, last_exch, last_local = True, exch, local
                    book.synced = book.synced or kind == DEPTH_SNAPSHOT
                    if kind == DEPTH_CLEAR:
                        if is_bid or not is_ask:
                            book.bids = {p: q for p, q in book.bids.items() if px > 0 and p * tick < px - tick / 2}
                        if is_ask or not is_bid:
                            book.asks = {p: q for p, q in book.asks.items() if px > 0 and p * tick > px + tick / 2}
                        continue
                    side, price = (book.bids if is_bid else book.asks), round(px / tick)
                    side.pop(price, None)
                    if qty > 0:
                        side[price] = qty
                if kind in (TRADE, DEPTH):
                    delays.append((local, local - exch))
            if not touched:
                continue
            is_gap = int(message["ev"][0]) & KIND_MASK == GAP
            exch_top = exch_top if is_gap else max(exch_top, exch)
            if not book.good():
                if before_good:
                    quotes.append((local, exch_top, math.nan, math.nan, math.nan, math.nan))
                book.since = None
                continue
            book.since = local if book.since is None else book.since
            best_three = now = book.top(3)
            if before_good:
                for level, weight in enumerate(config.ofi_level_weights):
                    flow = _level_flow(_at(before[0], level), _at(now[0], level), 1)
                    flow -= _level_flow(_at(before[1], level), _at(now[1], level), -1)
                    raw["ofi"][k] += flow if level == 0 else 0.0
                    raw["ofi3"][k] += weight * flow
            if not before_good or now[0][0] != before[0][0] or now[1][0] != before[1][0]:
                (bid, bid_qty), (ask, ask_qty) = now[0][0], now[1][0]
                quotes.append((local, exch_top, bid * tick, ask * tick, bid_qty, ask_qty))
        if book.since is not None and t - last_local >= config.silence_s * S:
            book.since = None
            quotes.append((t, exch_top, math.nan, math.nan, math.nan, math.nan))
        since[k], newest[k] = book.since, last_exch
        if book.since is not None:
            bids, asks = book.top(len(book.bids) + len(book.asks))
            (b, bq), (a, aq) = bids[0], asks[0]
            mid = (a + b) / 2 * tick
            best[k] = b * tick, a * tick, bq, aq
            below, above = (sum(_value(instrument, p * tick, q) for p, q in side[:5]) for side in (bids, asks))
            raw["mid"][k], raw["spread"][k] = mid, (a - b) * tick / mid * 1e4
            raw["depth"][k], raw["imbalance"][k] = below + above, (below - above) / (below + above)
            raw["micro"][k] = ((b * tick * aq + a * tick * bq) / (bq + aq) - mid) / mid * 1e4
            raw["buy"][k] = _walk(asks, instrument, ORDER.base_size_usd, mid)
            raw["sell"][k] = _walk(bids, instrument, ORDER.base_size_usd, mid)

    ok = np.array([s is not None for s in since])
    valid = np.array([s is not None and t - s >= config.warm_up_s * S for s, t in zip(since, times, strict=True)])
    # Closes of the same unbroken book up to and with this one.
    run = np.array(
        [0 if s is None else (t - 1 - max(s, first - W)) // W + 1 for s, t in zip(since, times, strict=True)]
    )
    if len(times):
        run = np.minimum(run, np.arange(1, K + 1))
    x = {name: np.zeros(K) for name in CHANNELS}
    market = np.zeros(K, MARKET_DTYPE)
    market["t_ns"], market["valid"] = times, valid
    for i, name in enumerate(("bid", "ask", "bid_qty", "ask_qty")):
        market[name] = best[:, i]
    market["mid"], market["spread_bps"], market["depth_top5"] = raw["mid"], raw["spread"], raw["depth"]
    market["slip_buy_bps"] = np.where(ok, raw["buy"], np.inf)
    market["slip_sell_bps"] = np.where(ok, raw["sell"], np.inf)

    def trailing(values: np.ndarray, k: int, n: int) -> float:
        return float(values[max(k - n + 1, 0) : k + 1].sum())

    n_roll, n_cvd = config.ofi_roll_ms * 1_000_000 // W, config.cvd_change_ms * 1_000_000 // W
    roll = np.array([trailing(raw["ofi"], k, n_roll) for k in range(K)])
    cvd = np.array([trailing(raw["dcvd"], k, n_cvd) for k in range(K)])
    for name, values in (("ofi_z", raw["ofi"]), ("ofi_top3_z", raw["ofi3"]), ("ofi_roll", roll), ("cvd_z", cvd)):
        x[name] = _z_scores(values, ok, config, instrument.lot)
    for lag in range(3):
        x[f"dcvd_{lag + 1}"][lag:] = raw["dcvd"][: K - lag]
    x["spread_bps"], x["depth_top5_sum"] = raw["spread"], raw["depth"]
    x["depth_imbalance"], x["microprice_dev_bps"] = raw["imbalance"], raw["micro"]

    trade_t, trade_p, trade_q = (
        (np.array(c, float) for c in zip(*trades, strict=True)) if trades else (np.zeros(0),) * 3
    )
    trade_t = np.array([t for t, _, _ in trades], np.int64)
    forced_t = np.array([t for t, _, _ in forced], np.int64)
    delay_t, delay = np.array([t for t, _ in delays], np.int64), np.array([d for _, d in delays], float)
    smooth = _smooth_delay(delay_t, delay, config.latency_ewma_s)
    returns = np.zeros(K)
    for k in range(1, K):
        if run[k] > 1:
            returns[k] = math.log(raw["mid"][k] / raw["mid"][k - 1])
    squares = np.minimum(returns**2, 0.01)
    rv = np.array([math.sqrt(trailing(squares, k, config.rv_s * per_s)) * 1e4 for k in range(K)])
    atr = _atr(times, since, raw["mid"], config)
    moves: list[tuple[int, float]] = []

    for k, t in enumerate(times):
        second = (t - W) // S * S  # the second this window lies in

        def in_span(stamps: np.ndarray, seconds: int, second: int = second, t: int = t) -> np.ndarray:
            """The closed seconds of the span and the running one."""
            return (stamps >= second - (seconds - 1) * S) & (stamps < t)

        recent = in_span(trade_t, config.volume_mean_s)
        windows = (t - max(second - (config.volume_mean_s - 1) * S, first - W)) // W
        if raw["vol"][k] > 0:
            x["volume_spike"][k] = raw["vol"][k] / (trade_q[recent].sum() / windows)
        p, q = trade_p[in_span(trade_t, config.vwap_s)], trade_q[in_span(trade_t, config.vwap_s)]
        vwap = sigma = math.nan
        if q.sum() > 0:
            vwap = float((p * q).sum() / q.sum())
            sigma = max(math.sqrt(((p - vwap) ** 2 * q).sum() / q.sum()), tick / 4)
            x["vwap_dev_signed"][k] = (raw["mid"][k] - vwap) / sigma
            x["vwap_dev"][k] = abs(x["vwap_dev_signed"][k])
        market["vwap"][k], market["sigma_vwap"][k] = vwap, sigma
        hour = t // (3600 * S) % 24
        x["session_flag"][k] = any(low <= hour < high for low, high in config.handover_hours_utc)
        age = math.nan if newest[k] is None else (t - newest[k]) / 1e6
        market["data_age_ms"][k] = x["data_age_ms"][k] = age
        seen = delay[in_span(delay_t, config.latency_min_s)]
        x["e2e_budget_ms"][k] = config.e2e_budget_ms
        if len(seen):
            x["e2e_budget_ms"][k] -= (smooth[np.searchsorted(delay_t, t) - 1] - seen.min()) / 1e6
        rows = np.flatnonzero(in_span(forced_t, config.liquidation_s))
        bought, sold = sum(forced[i][1] for i in rows), sum(forced[i][2] for i in rows)
        market["liq_buy"][k], market["liq_sell"][k] = bought, sold
        x["liq_imbalance"][k] = (bought - sold) / (bought + sold) if bought + sold > 0 else 0.0
        x["funding_bps"][k] = next((f for at, f in reversed(fundings) if at < t), 0.0) * 1e4
        x["rv_60s_bps"][k] = rv[k]
        market["atr"][k] = atr[k]
        x["atr_bps"][k] = 0.0 if math.isnan(atr[k]) else atr[k] / raw["mid"][k] * 1e4
        if run[k] > per_s:
            x["ret_1s_bps"][k] = math.log(raw["mid"][k] / raw["mid"][k - per_s]) * 1e4
        if run[k] > 0:
            mids = raw["mid"][k + 1 - min(run[k], config.range_s * per_s) : k + 1]
            if mids.max() - mids.min() > tick / 4:
                x["range_pos"][k] = 2 * (raw["mid"][k] - mids.min()) / (mids.max() - mids.min()) - 1
        mids = raw["mid"][k - min(run[k] - 1, SIGNAL.extreme_s * per_s) : k] if run[k] > 1 else np.array([np.nan])
        market["high"][k], market["low"][k] = mids.max(), mids.min()
        span = slice(max(k - config.median_s * per_s, 0), k)
        for name, values in (("spread_median_bps", raw["spread"][span]), ("depth_median", raw["depth"][span])):
            known = values[~np.isnan(values)]
            market[name][k] = np.median(known) if len(known) else np.nan
        # Whole seconds before t_k, as many as the span has, those with a valid row.
        seconds = range(max(-(-t // S) * S - config.regime_s * S, -(-first // S) * S), t, S)
        samples = [rv[(u - first) // W] for u in seconds if valid[(u - first) // W]]
        less = sum(v < rv[k] * (1 - 1e-9) for v in samples)
        equal = sum(abs(v - rv[k]) <= rv[k] * 1e-9 for v in samples)
        x["regime_q"][k] = (less + equal / 2) / len(samples) if samples else 0.5
        market["warm"][k] = valid[k] and len(samples) == config.regime_s
        if run[k] > 1 and valid[k - 1] and abs(x["ofi_z"][k - 1]) >= config.drift_ofi_z:
            move = (raw["mid"][k] - raw["mid"][k - 1]) / raw["mid"][k - 1] * 1e4
            moves.append((k, math.copysign(1, x["ofi_z"][k - 1]) * move))
        if moves:
            weights = [0.5 ** ((k - j) * W / S / config.drift_half_life_s) for j, _ in moves]
            market["drift_bps"][k] = max(np.average([v for _, v in moves], weights=weights), 0.0)
    X = np.column_stack([x[name] for name in CHANNELS]) if K else np.zeros((0, len(CHANNELS)))
    X[~valid] = 0.0
    return OracleRows(X, market, quotes)


def _z_scores(values: np.ndarray, ok: np.ndarray, config: EngineDefaults, floor: float) -> np.ndarray:
    """Each value against the weighted mean and deviation of those before it; windows without a book are skipped."""
    out, decay = np.zeros(len(values)), 0.5 ** (W / S / config.z_half_life_s)
    rows = np.flatnonzero(ok)
    for n, k in enumerate(rows):
        if n == 0:
            continue
        past = values[rows[:n]]
        weights = decay ** np.arange(n - 1, -1, -1)
        mean = (weights * past).sum() / weights.sum()
        deviation = math.sqrt((weights * (past - mean) ** 2).sum() / weights.sum())
        out[k] = np.clip((values[k] - mean) / max(deviation, floor), -config.z_clip, config.z_clip)
    return out


def _smooth_delay(stamps: np.ndarray, delay: np.ndarray, tau_s: float) -> np.ndarray:
    """EWMA in time, after each event; events at one instant count once, by the first."""
    out = np.zeros(len(delay))
    for i in range(len(delay)):
        if i == 0:
            out[0] = delay[0]
            continue
        weight = 1 - math.exp(-(stamps[i] - stamps[i - 1]) / S / tau_s)
        out[i] = out[i - 1] + weight * (delay[i] - out[i - 1])
    return out


def _atr(times: list[int], since: list[int | None], mids: np.ndarray, config: EngineDefaults) -> np.ndarray:
    """Wilder's ATR after each window, from bars whose book was good from before their start to their end."""
    length, out = config.atr_bar_s * S, np.full(len(times), np.nan)
    bars: dict[int, list[int]] = defaultdict(list)
    for k, t in enumerate(times):
        bars[(t - 1) // length].append(k)
    ranges: list[float] = []
    atr, close, close_bar = math.nan, math.nan, None
    for k, t in enumerate(times):
        bar = (t - 1) // length
        start = bar * length
        if t == start + length:
            rows = bars[bar]
            whole = all(since[j] is not None and since[j] < start for j in rows)
            if whole and len(rows) == length // W:
                high, low = mids[rows].max(), mids[rows].min()
                reach = high - low
                if close_bar == bar - 1:
                    reach = max(reach, abs(high - close), abs(low - close))
                ranges.append(reach)
                n = config.atr_bars
                atr = float(np.mean(ranges)) if len(ranges) <= n else (atr * (n - 1) + reach) / n
                close, close_bar = mids[k], bar
        out[k] = atr
    return out
