"""Triple-barrier labels on executable quotes: the one place of the project that looks ahead.

Timing, shared to the nanosecond with the shadow run. An order leaves at local time t, reaches the exchange
``latency_ns`` later and fills at the quote in force there at that exchange time; the answer is back after another
``latency_ns``. A sliced IOC sends its slices ``slice_gap_ms`` apart, each at most the size of the best level seen when
it leaves. Barriers lie around the size-weighted entry price and are watched on the quotes as they arrive locally, on
the exit side of the book, from the answer to the last slice on. The exit leaves at once. The horizon counts from the
first fill. The outcome is the barrier that was touched; gross is fill to fill.

An inverse contract is bought and sold for coins, face value / price each. Its return is that of the coins put in, and
so a long earns 1 - entry / exit of its notional, where a linear one earns exit / entry - 1. Barriers are prices for
both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from feature_repo.constants import LABEL, MS_NS, ORDER, LabelDefaults, OrderDefaults
from feature_repo.errors import InputError
from feature_repo.events import BUY, KIND_MASK, SELL, TRADE
from feature_repo.instruments import FeeTier, Instrument
from runtime.candidate import Candidate, Entry

from .label_kernel import INVALID, STOP, TARGET, TIMEOUT, UNFILLED, label_spans
from .uniqueness import average_uniqueness

__all__ = [
    "INVALID",
    "LABEL_DTYPE",
    "OUTCOMES",
    "STOP",
    "TARGET",
    "TIMEOUT",
    "UNFILLED",
    "Label",
    "label_candidates",
    "tri_barrier_label",
]

OUTCOMES = ("target", "stop", "timeout", "unfilled", "invalid")
"""Names of the outcome codes 0 to 4."""

LABEL_DTYPE = np.dtype(
    [
        ("ts_ns", "i8"),  # the candidate's t_k
        ("outcome", "i1"),  # index into OUTCOMES
        ("y", "i1"),  # 1 target, 0 stop or timeout, -1 no label
        ("t_fill_ns", "i8"),  # first fill, exchange time; -1 where there is none
        ("t_end_ns", "i8"),  # exit fill, exchange time; end of rest where unfilled
        ("entry_px", "f8"),  # quote currency; NaN where y < 0
        ("exit_px", "f8"),
        ("gross_bps", "f8"),  # fill to fill, of the entry notional (inverse: in coin); NaN where y < 0
        ("net_bps", "f8"),  # less the fees of both legs
        ("weight", "f8"),  # average uniqueness; 0 where y < 0
    ]
)

_CHUNK = 512


class Label(NamedTuple):
    """One label; fields as in `LABEL_DTYPE`."""

    ts_ns: int
    outcome: int
    y: int
    t_fill_ns: int
    t_end_ns: int
    entry_px: float
    exit_px: float
    gross_bps: float
    net_bps: float
    weight: float


def _check_barriers(R_target: float, R_stop: float, horizon_ns: int, latency_ns: int) -> None:
    if not 0.8 <= R_target <= 1.0:
        raise InputError(
            f"R_target {R_target}", "a number in [0.8, 1.0]", "Choose the target barrier within that range"
        )
    if not 0.0 < R_stop < np.inf:
        raise InputError(f"R_stop {R_stop}", "a positive number", "The default is 1.1")
    if horizon_ns <= 0:
        raise InputError(f"horizon of {horizon_ns} ns", "a positive time", "The default is 60,000 ms")
    if latency_ns < 0:
        raise InputError(f"order latency of {latency_ns} ns", "zero or more", "Give the one-way latency in ns")


def _names(rows: NDArray[np.void]) -> tuple[str, ...]:
    return rows.dtype.names or ()


def _quote_columns(quotes: NDArray[np.void]) -> tuple[NDArray[Any], ...]:
    names = ("local_ts", "exch_ts", "bid", "ask", "bid_qty", "ask_qty")
    missing = [n for n in names if n not in _names(quotes)]
    if missing:
        raise InputError(
            f"quotes without {', '.join(missing)}", f"the fields {', '.join(names)}", "Use FeatureTable.quotes"
        )
    columns = tuple(np.ascontiguousarray(quotes[n]) for n in names)
    for name, times in zip(names[:2], columns[:2], strict=True):
        if np.any(times[1:] < times[:-1]):
            raise InputError(f"quotes whose {name} goes back", "times that never decrease", "Use FeatureTable.quotes")
    # What was seen here was there before, whatever the exchange's clock says; the replay's tape is treated alike.
    return columns[0], np.minimum(columns[1], columns[0]), *columns[2:]


def _trade_columns(trades: NDArray[np.void] | None) -> tuple[NDArray[Any], ...]:
    """Exchange time, price, quantity and aggressor (+1 buyer, -1 seller) in exchange order."""
    if trades is None or len(trades) == 0:
        return np.empty(0, np.int64), np.empty(0), np.empty(0), np.empty(0, np.int64)
    if "ev" in _names(trades):
        trades = trades[(trades["ev"] & KIND_MASK) == TRADE]
        aggressor = np.where(trades["ev"] & BUY, 1, np.where(trades["ev"] & SELL, -1, 0))
    else:
        aggressor = np.sign(trades["side"])
    exch_ts = trades["exch_ts"]
    if "local_ts" in _names(trades):
        exch_ts = np.minimum(exch_ts, trades["local_ts"])
    order = np.argsort(exch_ts, kind="stable")
    return (
        np.ascontiguousarray(exch_ts[order]),
        np.ascontiguousarray(trades["px"][order]),
        np.ascontiguousarray(trades["qty"][order]),
        aggressor[order].astype(np.int64),
    )


def _tape_end(quotes: NDArray[np.void], trades: NDArray[np.void] | None) -> int:
    ends = [int(a["local_ts"][-1]) for a in (quotes, trades) if a is not None and len(a) and "local_ts" in _names(a)]
    return max(ends, default=-1)


def _round_passive(price: NDArray[np.float64], side: NDArray[np.int64], tick: float) -> NDArray[np.float64]:
    ticks = price / tick
    return np.where(side > 0, np.floor(ticks + 1e-6), np.ceil(ticks - 1e-6)) * tick


def _finish(
    out: NDArray[np.void], side: NDArray[np.int64], maker: NDArray[np.bool_], fee: FeeTier | None, inverse: bool
) -> None:
    """Returns from prices; y from outcomes."""
    out["y"] = np.select([out["outcome"] == TARGET, out["outcome"] <= TIMEOUT], [1, 0], -1)
    # What the exit turns over for each unit of what the entry did: quote currency, or coins.
    ratio = out["entry_px"] / out["exit_px"] if inverse else out["exit_px"] / out["entry_px"]
    out["gross_bps"] = side * ((1.0 - ratio) if inverse else (ratio - 1.0)) * 1e4
    maker_bps, taker_bps = (fee.maker_bps, fee.taker_bps) if fee is not None else (0.0, 0.0)
    out["net_bps"] = out["gross_bps"] - np.where(maker, maker_bps, taker_bps) - taker_bps * ratio


def _run(
    quotes: NDArray[np.void],
    trades: NDArray[np.void] | None,
    ts_ns: NDArray[np.int64],
    t_send: NDArray[np.int64],
    side: NDArray[np.int64],
    R_bps: NDArray[np.float64],
    price: NDArray[np.float64],
    maker: NDArray[np.bool_],
    *,
    label: LabelDefaults,
    order: OrderDefaults,
    latency_ns: int,
    slices: int,
    lot: float,
    face_value: float,
    fee: FeeTier | None,
    end_ns: int | None,
    progress: Callable[[float], None] | None,
) -> NDArray[np.void]:
    horizon_ns = label.horizon_ms * MS_NS
    _check_barriers(label.R_target, label.R_stop, horizon_ns, latency_ns)
    q = _quote_columns(quotes)
    t = _trade_columns(trades)
    end = _tape_end(quotes, trades) if end_ns is None else int(end_ns)
    n = len(t_send)
    out = np.zeros(n, LABEL_DTYPE)
    out["ts_ns"] = ts_ns
    columns: dict[str, NDArray[Any]] = {c: np.empty(n, np.int64) for c in ("outcome", "t_fill_ns", "t_end_ns")}
    columns |= {c: np.empty(n) for c in ("entry_px", "exit_px")}
    for lo in range(0, n, _CHUNK):
        part = slice(lo, lo + _CHUNK)
        label_spans(
            *q, *t, t_send[part], side[part], R_bps[part], price[part], maker[part],
            float(label.R_target), float(label.R_stop), np.int64(horizon_ns), np.int64(latency_ns), np.int64(slices),
            np.int64(order.slice_gap_ms * MS_NS), np.int64(order.maker_expiry_ms * MS_NS), float(order.base_size_usd),
            float(lot), float(face_value), np.int64(end), columns["outcome"][part], columns["t_fill_ns"][part],
            columns["t_end_ns"][part], columns["entry_px"][part], columns["exit_px"][part],
        )  # fmt: skip
        if progress is not None:
            progress(min(1.0, (lo + _CHUNK) / n))
    for name, values in columns.items():
        out[name] = values
    _finish(out, side, maker, fee, inverse=face_value > 0.0)
    kept = out["y"] >= 0
    out["weight"][kept] = average_uniqueness(out["t_fill_ns"][kept], out["t_end_ns"][kept])
    return out


def tri_barrier_label(
    quotes: NDArray[np.void],
    t_entry: int,
    side: int,
    R_target: float = LABEL.R_target,
    R_stop: float = LABEL.R_stop,
    horizon_ms: int = LABEL.horizon_ms,
    *,
    R_bps: float,
    latency_ns: int,
    entry: Entry | str = "taker",
    price: float | None = None,
    trades: NDArray[np.void] | None = None,
    fee: FeeTier | None = None,
    order: OrderDefaults = ORDER,
    face_value: float = 0.0,
    end_ns: int | None = None,
) -> Label:
    """Label one entry.

    Parameters
    ----------
    quotes : structured [M] with local_ts, exch_ts (int64 ns, never decreasing), bid, ask, bid_qty, ask_qty (float64);
        NaN prices: the book was invalid from then on
    t_entry : ns, local clock; the first order leaves then (for a candidate: t_k plus the compute time)
    side : +1 buys, -1 sells
    R_target, R_stop : barriers in units of R; R_target in [0.8, 1.0]
    horizon_ms : from the first fill
    R_bps : barrier unit, bps of the entry price; NaN gives the outcome "invalid"
    latency_ns : one way, order to exchange and answer back alike
    entry : "taker" (one IOC of ``order.base_size_usd``), "ioc" or `Entry.IOC` (sliced), "maker" or `Entry.MAKER`
    price : maker only: the limit. At or through the opposite quote it is pulled back to the best quote of its own side
    trades : maker only: tape events of kind TRADE, or a structured array with exch_ts, px, qty, side
    fee : net equals gross without one
    order : base size, slices and expiry
    face_value : quote value of one inverse contract (`Instrument.face_value`); 0: the contract is linear
    end_ns : end of the tape, local clock; by default the last quote or trade. Nothing after it is known: a span that
        reaches past it is invalid, not a time-out

    Returns
    -------
    Label; its weight is 1 (nothing overlaps it), or 0 without an outcome. Knowable at ``t_end_ns``, never before.

    Raises
    ------
    InputError
        Barriers, side, entry or arrays that cannot be used.
    """
    styles = {"taker": "taker", "ioc": "ioc", "maker": "maker", Entry.IOC: "ioc", Entry.MAKER: "maker"}
    style = styles.get(entry)
    if style is None:
        raise InputError(f"entry {entry!r}", "'taker', 'ioc', 'maker' or an Entry", "Choose one of them")
    if side not in (1, -1):
        raise InputError(f"side {side!r}", "+1 (buys) or -1 (sells)", "Give the side of the entry")
    if style == "maker" and (price is None or trades is None):
        raise InputError("a maker entry without price or trades", "both", "Give the limit and the tape's trades")
    label = LabelDefaults(R_target=R_target, R_stop=R_stop, horizon_ms=horizon_ms)
    maker = np.array([style == "maker"])
    t = np.array([t_entry], np.int64)
    row = _run(
        quotes, trades, t, t, np.array([side], np.int64), np.array([R_bps], float),
        np.array([np.nan if price is None else price], float), maker, label=label, order=order,
        latency_ns=int(latency_ns), slices=order.ioc_slices if style == "ioc" else 1, lot=0.0,
        face_value=float(face_value), fee=fee, end_ns=end_ns, progress=None,
    )[0]  # fmt: skip
    return Label(*row.item())


def label_candidates(
    quotes: NDArray[np.void],
    trades: NDArray[np.void],
    candidates: Sequence[Candidate],
    fee: FeeTier,
    *,
    label: LabelDefaults = LABEL,
    order: OrderDefaults = ORDER,
    instrument: Instrument | None = None,
    end_ns: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> NDArray[np.void]:
    """Label all candidates of one symbol.

    Parameters
    ----------
    quotes, trades : as in `tri_barrier_label`
    candidates : of one symbol, any order of time
    fee : charged on both legs (maker entry: maker and taker)
    label, order : barriers and execution; the first order leaves ``order.compute_ms`` after t_k
    instrument : with it, slices are cut to whole lots and limits to ticks, exactly as the shadow run does; an inverse
        one is reckoned in coin. Without it the contract is taken for a linear one
    end_ns : end of the tape on the local clock; by default the last quote or trade
    progress : called with the fraction done

    Returns
    -------
    LABEL_DTYPE [N] in the order of ``candidates``; weights are average uniqueness over [t_fill_ns, t_end_ns]

    Raises
    ------
    InputError
        Candidates of several symbols, or barriers and arrays that cannot be used.
    """
    symbols = {c.symbol for c in candidates}
    if len(symbols) > 1:
        raise InputError(
            f"candidates of {', '.join(sorted(symbols))}", "one symbol", "Label each symbol with its own tape"
        )
    ts = np.array([c.ts_ns for c in candidates], np.int64)
    side = np.array([c.side for c in candidates], np.int64)
    price = np.array([c.price for c in candidates], float)
    if instrument is not None:
        price = _round_passive(price, side, instrument.tick)
    return _run(
        quotes, trades, ts, ts + order.compute_ms * MS_NS, side, np.array([c.R_bps for c in candidates], float), price,
        np.array([c.entry == Entry.MAKER for c in candidates], bool), label=label, order=order,
        latency_ns=order.order_latency_ms * MS_NS, slices=order.ioc_slices,
        lot=0.0 if instrument is None else instrument.lot,
        face_value=0.0 if instrument is None else instrument.face_value, fee=fee, end_ns=end_ns, progress=progress,
    )  # fmt: skip
