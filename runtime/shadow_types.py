"""Rows and codes of the shadow run; needs nothing but numpy."""

from __future__ import annotations

import numpy as np

__all__ = [
    "BUSY",
    "CONTROL_DTYPE",
    "FUNDING_DTYPE",
    "NO_DATA",
    "OK",
    "ORDER_DTYPE",
    "PARENT_DTYPE",
    "RULE_DTYPE",
    "STATUSES",
    "STOP",
    "TARGET",
    "TIMEOUT",
    "TRADE_DTYPE",
    "UNFILLED",
]

OK, UNFILLED, BUSY, NO_DATA = 0, 1, 2, 3
TARGET, STOP, TIMEOUT = 0, 1, 2
STATUSES = ("filled", "unfilled", "busy", "no data")
"""Names of the status codes 0 to 3."""

ORDER_DTYPE = np.dtype(
    [
        ("ts_ns", "i8"),  # decision, local clock
        ("side", "i1"),  # +1 buys, -1 sells
        ("entry", "i1"),  # an Entry
        ("price", "f8"),  # limit of a maker entry, quote currency
        ("R_bps", "f8"),
        ("notional", "f8"),  # quote currency
    ]
)

TRADE_DTYPE = np.dtype(
    [
        ("status", "i1"),  # index into STATUSES; what follows is set for filled ones only
        ("outcome", "i1"),  # 0 target, 1 stop, 2 timeout; 3 unfilled, 4 no data, -1 busy
        ("t_fill_ns", "i8"),  # first fill, exchange time; -1 without one
        ("t_end_ns", "i8"),  # last fill of the exit, exchange time; end of the attempt where unfilled
        ("entry_px", "f8"),  # size-weighted, quote currency
        ("exit_px", "f8"),
        ("qty", "f8"),  # base units; contracts where they are inverse
        # Mid at decision to mid at the exit's trigger; all bps are of the entry notional (inverse: in coin).
        ("gross_bps", "f8"),
        ("slip_bps", "f8"),  # both legs against those mids; negative is an improvement
        ("fee_bps", "f8"),
        ("funding_bps", "f8"),  # positive is paid
        ("net_bps", "f8"),
    ]
)

FUNDING_DTYPE = np.dtype([("t_ns", "i8"), ("rate", "f8")])
"""A settlement: longs pay ``rate`` x notional, shorts receive it."""

PARENT_DTYPE = np.dtype(
    [
        ("ts", "i8"),
        ("side", "i8"),
        ("maker", "i8"),
        ("price", "f8"),
        ("R", "f8"),  # fraction of the entry price
        ("notional", "f8"),
        ("phase", "i8"),
        ("status", "i8"),
        ("outcome", "i8"),
        ("sent", "i8"),  # slices
        ("next_send", "i8"),
        ("order_id", "i8"),  # resting limit or pending exit; 0 for none
        ("due", "i8"),  # answer to the pending exit, or when the limit is cancelled
        ("t_fill", "i8"),
        ("t_end", "i8"),
        ("deadline", "i8"),
        ("mid", "f8"),  # at the decision
        ("qty", "f8"),
        ("paid", "f8"),  # sum of what the fills are worth: quantity x price, inverse quantity / price
        ("left", "f8"),
        ("goal", "f8"),  # still to be sold in this exit
        ("got", "f8"),
        ("mid_exit", "f8"),  # the same at the mid of the exit's trigger
        ("trigger_mid", "f8"),
        ("half", "i8"),
        ("peak", "f8"),
        ("funding", "f8"),  # sum of quantity x rates while held
    ]
)
"""One parent order. Times in ns, prices in quote currency, quantities in base units or inverse contracts."""

RULE_DTYPE = np.dtype(
    [
        ("R_target", "f8"),
        ("R_stop", "f8"),
        ("horizon", "i8"),
        ("compute", "i8"),
        ("latency", "i8"),
        ("slices", "i8"),
        ("gap", "i8"),
        ("expiry", "i8"),
        ("runner", "i8"),
        ("every", "i8"),  # parents that no arm takes are replayed too
        ("tick", "f8"),
        ("lot", "f8"),
        ("contract", "f8"),  # quote value of one inverse contract, 0 for a linear one
    ]
)

CONTROL_DTYPE = np.dtype(
    [
        ("started", "i8"),
        ("next", "i8"),  # parent
        ("alive", "i8"),  # parents
        ("order_id", "i8"),  # last one given
        ("cleared", "i8"),  # last one given when answered orders were forgotten
        ("ended", "i8"),  # the data
        ("failed", "i8"),  # error code of the backtest
    ]
)
"""Carried from one call of `advance` to the next."""
