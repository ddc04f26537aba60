"""The shadow run: the gate's orders, filled by hftbacktest.

Execution timing is that of the labels (meta_models/labels.py). One pass serves all parents and all arms at once: fills
do not consume the replayed depth and parents do not meet each other, so a candidate's trade is the same in every arm,
and an arm only says which trades are its own. Fees move no fill either: shadow_account.py prices one replay at any
tier. The kernel shows the parents' state machine; quantities and prices come from hftbacktest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from hftbacktest import BacktestAsset, HashMapMarketDepthBacktest

from feature_repo.constants import JUDGE, LABEL, MS_NS, ORDER, SECOND_NS, LabelDefaults, OrderDefaults
from feature_repo.errors import InputError
from feature_repo.events import EVENT_DTYPE
from feature_repo.instruments import Instrument
from feature_repo.market.hft_files import HftFiles

from .candidate import Entry
from .shadow_account import Replayed
from .shadow_kernel import advance
from .shadow_latency import ORDER_LATENCY_DTYPE
from .shadow_types import BUSY, CONTROL_DTYPE, FUNDING_DTYPE, NO_DATA, PARENT_DTYPE, RULE_DTYPE

__all__ = ["blind_spans", "replay"]

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
    hft_events: np.ndarray | HftFiles,
    instrument: Instrument,
    orders: np.ndarray,
    *,
    allowed: np.ndarray | None = None,
    every: bool = True,
    exit: str = "label",
    funding: np.ndarray | Sequence[tuple[int, float]] | None = None,
    blind: np.ndarray | None = None,
    label: LabelDefaults = LABEL,
    order: OrderDefaults = ORDER,
    latency: np.ndarray | None = None,
    progress: Callable[[float], None] | None = None,
) -> Replayed:
    """Send orders through hftbacktest and follow each to its end. Releases the GIL: two exits can share two cores.

    Parameters
    ----------
    hft_events : EVENT_DTYPE [E] from ``to_hftbacktest``, or the files of ``write_hft``, of which two are in memory
    instrument : tick, lot, kind and value of a contract
    orders : ORDER_DTYPE [N], any order of time
    allowed : bool [A, N], what each arm's gate decided; an arm holds one position at a time, from the decision to the
        last fill of the exit. None: no arms
    every : replay each order on its own, taken or not (candidate book). Otherwise only those that some arm takes; the
        rest is busy
    exit : "label" (all out at target, stop or horizon) or "runner": half out at the target, the rest behind a stop at
        break-even that trails the best exit-side quote by R_target x R; all out after ``JUDGE.runner_cap_s``
    funding : settlements (t_ns, rate); those within (t_fill, exit] are paid on what was held
    blind : int64 [G, 2] local spans with an invalid book (`blind_spans`); what overlaps one is "no data", because
        hftbacktest would fill it at stale quotes
    label, order : barriers, slices, latency, expiry
    latency : ORDER_LATENCY_DTYPE [L], such as ``shadow_latency.feed_latency`` of the same events; None:
        ``order.order_latency_ms`` each way
    progress : called with the fraction done

    Raises
    ------
    InputError
        Events, orders or settings that cannot be used.
    """
    data, span_ns = _data(hft_events)
    _check_orders(orders, instrument, exit, order)
    n = len(orders)
    arms = np.zeros((0, n), bool) if allowed is None else np.ascontiguousarray(allowed, bool)
    if arms.ndim != 2 or arms.shape[1] != n:
        raise InputError(f"decisions of shape {arms.shape} for {n} orders", "bool [arms, orders]", "Decide every order")
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
        every,
        instrument.tick,
        instrument.lot,
        instrument.face_value,
    )
    settled = np.sort(np.array([] if funding is None else funding, FUNDING_DTYPE), order="t_ns")
    trips = np.zeros(0, ORDER_LATENCY_DTYPE) if latency is None else _check_latency(latency)
    sorted_arms, sorted_busy = np.ascontiguousarray(arms[:, by_time]), np.zeros(arms.shape, bool)
    if n:
        _drive(data, span_ns, instrument, rule, parents, settled, trips, sorted_arms, sorted_busy, progress)
    out, busy = np.empty_like(parents), np.empty_like(sorted_busy)
    out[by_time], busy[:, by_time] = parents, sorted_busy
    _forget(out, out["t_end"] > span_ns[1])
    if blind is not None and len(blind):
        _forget(out, _overlaps(orders["ts_ns"], np.maximum(out["t_end"], orders["ts_ns"]), np.asarray(blind)))
    return Replayed(out, busy)


def _drive(
    data: list[np.ndarray] | list[str],
    span_ns: tuple[int, int],
    instrument: Instrument,
    rule: np.ndarray,
    parents: np.ndarray,
    settled: np.ndarray,
    trips: np.ndarray,
    allowed: np.ndarray,
    busy: np.ndarray,
    progress: Callable[[float], None] | None,
) -> None:
    """Run the kernel over the tape in steps. ``data`` and ``trips`` stay referenced here as long as the backtest."""
    latency = int(rule["latency"][0])
    kind = BacktestAsset().data(data)
    kind = kind.inverse_asset(instrument.contract_value) if instrument.inverse else kind.linear_asset(1.0)
    timed = kind.intp_order_latency(trips) if len(trips) else kind.constant_order_latency(latency, latency)
    asset = (
        timed.risk_adverse_queue_model()
        .no_partial_fill_exchange()
        .trading_value_fee_model(0.0, 0.0)  # fees are accounted here, at any tier
        .tick_size(instrument.tick)
        .lot_size(instrument.lot)
    )
    backtest = HashMapMarketDepthBacktest([asset])
    control = np.zeros(1, CONTROL_DTYPE)
    slices = max(1, int(rule["slices"][0]))
    ids, dues = np.zeros((len(parents), slices), np.int64), np.zeros((len(parents), slices), np.int64)
    alive = np.zeros(len(parents), np.int64)
    arms = (allowed, busy, np.full(len(allowed), -1, np.int64))
    fund_t, fund_rate = np.ascontiguousarray(settled["t_ns"]), np.ascontiguousarray(settled["rate"])
    lo, hi = span_ns
    # Past the end of the data too: answers under way still arrive there.
    stops = [lo + (hi - lo) * (s + 1) // _STEPS for s in range(_STEPS)] + [2**62]
    try:
        for s, until in enumerate(stops):
            over = advance(
                backtest, until, parents, ids, dues, alive, control, rule, fund_t, fund_rate, trips, *arms
            )  # fmt: skip
            if progress is not None:
                progress(1.0 if over else min(1.0, (s + 1) / _STEPS))
            if over:
                break
    finally:
        backtest.close()
    if control["failed"][0]:
        raise RuntimeError(f"hftbacktest stopped with code {control['failed'][0]}")


def _check_latency(latency: np.ndarray) -> np.ndarray:
    good = latency.dtype == ORDER_LATENCY_DTYPE and len(latency) > 0
    if good:
        good = all((np.diff(latency[name]) > 0).all() for name in ("req_ts", "exch_ts", "resp_ts"))
        good = good and bool(
            ((latency["exch_ts"] > latency["req_ts"]) & (latency["resp_ts"] > latency["exch_ts"])).all()
        )
    if not good:
        raise InputError(
            f"order latencies of {latency.dtype.names}, {len(latency)} rows",
            "at least one row of ORDER_LATENCY_DTYPE, times increasing in each column and from request to answer",
            "Take them from feed_latency",
        )
    return np.ascontiguousarray(latency)


def _data(events: np.ndarray | HftFiles) -> tuple[list[np.ndarray] | list[str], tuple[int, int]]:
    """What hftbacktest is given, and the span on the local clock."""
    if isinstance(events, HftFiles):
        return [str(path) for path in events.paths], events.span_ns
    if events.dtype.names != EVENT_DTYPE.names or len(events) == 0:
        raise InputError(
            f"{len(events)} rows with the fields {events.dtype.names}",
            f"at least one event with the fields {EVENT_DTYPE.names}",
            "Convert the tape with to_hftbacktest",
        )
    local = events["local_ts"]
    return [np.ascontiguousarray(events, dtype=EVENT_DTYPE)], (int(local.min()), int(local.max()))


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


def _forget(parents: np.ndarray, where: np.ndarray) -> None:
    """Turn rows into "no data" (a busy one stays busy: nothing was sent for it)."""
    parents["status"][where & (parents["status"] != BUSY)] = NO_DATA


def _overlaps(start: np.ndarray, end: np.ndarray, spans: np.ndarray) -> np.ndarray:
    """Whether [start, end] meets one of the sorted, disjoint spans [a, b)."""
    i = np.searchsorted(spans[:, 0], end, side="right") - 1
    return (i >= 0) & (spans[np.maximum(i, 0), 1] > start)
