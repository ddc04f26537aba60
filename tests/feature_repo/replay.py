"""Best quotes of a replay array at given times: by hftbacktest itself, and by two dicts."""

from __future__ import annotations

import numpy as np

from feature_repo.events import BUY, DEPTH, DEPTH_CLEAR, DEPTH_SNAPSHOT, KIND_MASK, SELL

__all__ = ["dict_book", "replay"]


def replay(events, times, instrument):
    """float64 [len(times), 2]: best bid and ask of the local book at each time, by hftbacktest."""
    from hftbacktest import BacktestAsset, HashMapMarketDepthBacktest

    asset = (
        BacktestAsset()
        .data([events])
        .linear_asset(1.0)
        .constant_order_latency(0, 0)
        .risk_adverse_queue_model()
        .no_partial_fill_exchange()
        .trading_value_fee_model(0.0, 0.0)
        .tick_size(instrument.tick)
        .lot_size(instrument.lot)
    )
    backtest = HashMapMarketDepthBacktest([asset])
    backtest.elapse(0)
    out = []
    for t in times:
        backtest.elapse(int(t) - backtest.current_timestamp)
        depth = backtest.depth(0)
        out.append((depth.best_bid, depth.best_ask))
    backtest.close()
    return np.array(out)


def dict_book(events, times, *, through=False):
    """The same from two dicts, row by row in local order.

    With ``through``, a DEPTH_CLEAR that has a price clears through it, as in hftbacktest; else always the whole side.
    """
    book = {BUY: {}, SELL: {}}
    out, i = [], 0
    columns = [events[c].tolist() for c in ("local_ts", "ev", "px", "qty")]
    for t in times:
        while i < len(events) and columns[0][i] <= t:
            ev, px, qty = (c[i] for c in columns[1:])
            i += 1
            kind, is_bid = ev & KIND_MASK, bool(ev & BUY)
            side = book[BUY if is_bid else SELL]
            if kind == DEPTH_CLEAR and through and px > 0:
                for level in [p for p in side if (p >= px if is_bid else p <= px)]:
                    del side[level]
            elif kind == DEPTH_CLEAR:
                side.clear()
            elif kind in (DEPTH, DEPTH_SNAPSHOT):
                if qty == 0:
                    side.pop(px, None)
                else:
                    side[px] = qty
        out.append((max(book[BUY], default=np.nan), min(book[SELL], default=np.nan)))
    return np.array(out)
