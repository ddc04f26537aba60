"""The shadow run: the gate's orders, filled by hftbacktest.

Execution timing is that of the labels (meta_models/labels.py). One pass serves all parents at once, because fills do
not consume the replayed depth and parents do not meet each other; the kernel shows their state machine. Quantities and
prices come from hftbacktest; the account of each parent (fees, slippage, funding) is kept here: in quote currency, and
for an inverse contract in coin, of which one contract is worth face value / price.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from hftbacktest import BacktestAsset, HashMapMarketDepthBacktest

from feature_repo.constants import JUDGE, LABEL, MS_NS, ORDER, SECOND_NS, LabelDefaults, OrderDefaults
from feature_repo.errors import InputError
from feature_repo.events import EVENT_DTYPE
from feature_repo.instruments import FeeTier, Instrument

from .candidate import Entry
from .shadow_kernel import advance
from .shadow_types import (
    BUSY,
    CONTROL_DTYPE,
    FUNDING_DTYPE,
    NO_DATA,
    OK,
    ORDER_DTYPE,
    PARENT_DTYPE,
    RULE_DTYPE,
    STATUSES,
    TRADE_DTYPE,
    UNFILLED,
)

__all__ = [
    "BUSY",
    "FUNDING_DTYPE",
    "NO_DATA",
    "OK",
    "ORDER_DTYPE",
    "STATUSES",
    "TRADE_DTYPE",
    "UNFILLED",
    "blind_spans",
    "replay",
]

_STEPS = 50


def blind_spans(quotes: np.ndarray) -> np.ndarray:
    """Local times during which the book was invalid.

    Parameters
    ----------
    quotes : QUOTE_DTYPE [M]; NaN prices: invalid from then on

    Returns
    -------
    int64 [G, 2], from the first NaN row to the next known quote; the last may reach to the end of time
    """
    bad = np.isnan(quotes["bid"]) | np.isnan(quotes["ask"])
    edge = np.diff(np.concatenate([[False], bad, [False]]).astype(np.int8))
    first, last = np.flatnonzero(edge == 1), np.flatnonzero(edge == -1)
    local = np.concatenate([quotes["local_ts"], [np.iinfo(np.int64).max]])
    return np.stack([local[first], local[last]], axis=1)


def replay(
    hft_events: np.ndarray,
    instrument: Instrument,
    orders: np.ndarray,
    *,
    fee: FeeTier,
    exit: str = "label",
    one_at_a_time: bool = True,
    funding: np.ndarray | Sequence[tuple[int, float]] | None = None,
    blind: np.ndarray | None = None,
    label: LabelDefaults = LABEL,
    order: OrderDefaults = ORDER,
    progress: Callable[[float], None] | None = None,
) -> np.ndarray:
    """Send orders through hftbacktest and follow each to its end.

    Parameters
    ----------
    hft_events : EVENT_DTYPE [E] from ``to_hftbacktest``
    instrument : tick, lot, kind and value of a contract
    orders : ORDER_DTYPE [N], any order of time
    fee : charged on each leg's own notional
    exit : "label" (all out at target, stop or horizon) or "runner": half out at the target, the rest behind a stop at
        break-even that trails the best exit-side quote by R_target x R; all out after ``JUDGE.runner_cap_s``
    one_at_a_time : portfolio book: an order that comes while another is alive is "busy". Otherwise each order stands
        alone (candidate book)
    funding : settlements (t_ns, rate); those within (t_fill, exit] are paid on what was held
    blind : int64 [G, 2] local spans with an invalid book (`blind_spans`); what overlaps one is "no data", because
        hftbacktest would fill it at stale quotes
    label, order : barriers, slices, latency, expiry
    progress : called with the fraction done

    Returns
    -------
    TRADE_DTYPE [N] in the order of ``orders``; prices and bps are NaN where status is not "filled"

    Raises
    ------
    InputError
        Events, orders or settings that cannot be used.
    """
    events = _check_events(hft_events)
    _check_orders(orders, instrument, exit, order)
    out = _empty(len(orders))
    if len(orders) == 0:
        return out
    by_time = np.argsort(orders["ts_ns"], kind="stable")
    parents = _parents(orders[by_time], instrument.tick)
    rule = np.zeros(1, RULE_DTYPE)
    rule[0] = (
        label.R_target,
        label.R_stop,
        JUDGE.runner_cap_s * SECOND_NS if exit == "runner" else label.horizon_ms * MS_NS,
        order.compute_ms * MS_NS,
        order.order_latency_ms * MS_NS,
        order.ioc_slices,
        order.slice_gap_ms * MS_NS,
        order.maker_expiry_ms * MS_NS,
        exit == "runner",
        one_at_a_time,
        instrument.tick,
        instrument.lot,
        instrument.face_value,
    )
    settled = np.sort(np.array([] if funding is None else funding, FUNDING_DTYPE), order="t_ns")
    _drive(events, instrument, fee, rule, parents, settled, progress)
    out[by_time] = _account(parents, fee, instrument.inverse)
    last = int(events["local_ts"].max())
    _forget(out, out["t_end_ns"] > last)
    if blind is not None and len(blind):
        _forget(out, _overlaps(orders["ts_ns"], np.maximum(out["t_end_ns"], orders["ts_ns"]), np.asarray(blind)))
    return out


def _drive(
    events: np.ndarray,
    instrument: Instrument,
    fee: FeeTier,
    rule: np.ndarray,
    parents: np.ndarray,
    settled: np.ndarray,
    progress: Callable[[float], None] | None,
) -> None:
    """Run the kernel over the tape in steps. ``events`` stays referenced here for as long as the backtest lives."""
    latency = int(rule["latency"][0])
    kind = BacktestAsset().data([events])
    kind = kind.inverse_asset(instrument.contract_value) if instrument.inverse else kind.linear_asset(1.0)
    asset = (
        kind.constant_order_latency(latency, latency)
        .risk_adverse_queue_model()
        .no_partial_fill_exchange()
        .trading_value_fee_model(fee.maker_bps * 1e-4, fee.taker_bps * 1e-4)
        .tick_size(instrument.tick)
        .lot_size(instrument.lot)
    )
    backtest = HashMapMarketDepthBacktest([asset])
    control = np.zeros(1, CONTROL_DTYPE)
    slices = max(1, int(rule["slices"][0]))
    ids, dues = np.zeros((len(parents), slices), np.int64), np.zeros((len(parents), slices), np.int64)
    alive = np.zeros(len(parents), np.int64)
    fund_t, fund_rate = np.ascontiguousarray(settled["t_ns"]), np.ascontiguousarray(settled["rate"])
    lo, hi = int(events["local_ts"].min()), int(events["local_ts"].max())
    # Past the end of the data too: answers under way still arrive there.
    stops = [lo + (hi - lo) * (s + 1) // _STEPS for s in range(_STEPS)] + [2**62]
    try:
        for s, until in enumerate(stops):
            over = advance(backtest, until, parents, ids, dues, alive, control, rule, fund_t, fund_rate)
            if progress is not None:
                progress(1.0 if over else min(1.0, (s + 1) / _STEPS))
            if over:
                break
    finally:
        backtest.close()
    if control["failed"][0]:
        raise RuntimeError(f"hftbacktest stopped with code {control['failed'][0]}")


def _check_events(events: np.ndarray) -> np.ndarray:
    if events.dtype.names != EVENT_DTYPE.names or len(events) == 0:
        raise InputError(
            f"{len(events)} rows with the fields {events.dtype.names}",
            f"at least one event with the fields {EVENT_DTYPE.names}",
            "Convert the tape with to_hftbacktest",
        )
    return np.ascontiguousarray(events, dtype=EVENT_DTYPE)


def _check_orders(orders: np.ndarray, instrument: Instrument, exit: str, order: OrderDefaults) -> None:
    if exit not in ("label", "runner"):
        raise InputError(f"exit {exit!r}", "'label' or 'runner'", "Choose one of them")
    if order.maker_expiry_ms < 2 * order.order_latency_ms or order.ioc_slices < 1:
        raise InputError(
            f"{order.ioc_slices} slices, a maker expiry of {order.maker_expiry_ms} ms and an order latency of "
            f"{order.order_latency_ms} ms",
            "at least one slice, and an expiry of at least two latencies",
            "Lower the latency or lengthen the expiry",
        )
    wrong = np.select(
        [
            ~np.isin(orders["side"], (1, -1)),
            ~np.isin(orders["entry"], (Entry.IOC, Entry.MAKER)),
            ~((orders["R_bps"] > 0) & np.isfinite(orders["R_bps"])),
            ~((orders["notional"] > 0) & np.isfinite(orders["notional"])),
            (orders["entry"] == Entry.MAKER) & ~((orders["price"] > 0) & np.isfinite(orders["price"])),
        ],
        [1, 2, 3, 4, 5],
        0,
    )
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        name = ("side", "entry", "R_bps", "notional", "price")[wrong[row] - 1]
        raise InputError(
            f"order {row} with {name} {orders[name][row]}",
            "side +1 or -1, a known entry, and positive finite R_bps, notional and (maker) price",
            "Leave such orders out: the gate denies them",
        )


def _parents(orders: np.ndarray, tick: float) -> np.ndarray:
    p = np.zeros(len(orders), PARENT_DTYPE)
    ticks = orders["price"] / tick
    passive = np.where(orders["side"] > 0, np.floor(ticks + 1e-6), np.ceil(ticks - 1e-6)) * tick
    p["ts"], p["side"], p["maker"] = orders["ts_ns"], orders["side"], orders["entry"] == Entry.MAKER
    p["price"], p["R"], p["notional"] = passive, orders["R_bps"] * 1e-4, orders["notional"]
    p["t_fill"], p["status"], p["outcome"] = -1, NO_DATA, -1
    p["t_end"] = orders["ts_ns"]
    return p


def _empty(n: int) -> np.ndarray:
    out = np.zeros(n, TRADE_DTYPE)
    for name in TRADE_DTYPE.names:
        if TRADE_DTYPE[name] == np.float64:
            out[name] = np.nan
    out["t_fill_ns"] = -1
    return out


def _account(p: np.ndarray, fee: FeeTier, inverse: bool) -> np.ndarray:
    """One TRADE row a parent: gross from mids, costs apart, all in bps of the entry notional.

    The coins of an inverse contract get fewer as its price rises: a long has put in more than it takes out.
    """
    out = _empty(len(p))
    out["status"], out["t_end_ns"] = p["status"], p["t_end"]
    out["outcome"] = np.select(
        [p["status"] == OK, p["status"] == UNFILLED, p["status"] == BUSY], [p["outcome"], 3, -1], 4
    )
    ok = p["status"] == OK
    f, o = p[ok], out[ok]
    scale = 1e4 / f["paid"]
    o["t_fill_ns"], o["qty"] = f["t_fill"], f["qty"]
    if inverse:
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


def _forget(out: np.ndarray, where: np.ndarray) -> None:
    """Turn rows into "no data" (a busy one stays busy: nothing was sent for it)."""
    where = where & (out["status"] != BUSY)
    blank = _empty(int(where.sum()))
    blank["status"], blank["outcome"], blank["t_end_ns"] = NO_DATA, 4, out["t_end_ns"][where]
    out[where] = blank


def _overlaps(start: np.ndarray, end: np.ndarray, spans: np.ndarray) -> np.ndarray:
    """Whether [start, end] meets one of the sorted, disjoint spans [a, b)."""
    i = np.searchsorted(spans[:, 0], end, side="right") - 1
    return (i >= 0) & (spans[np.maximum(i, 0), 1] > start)
