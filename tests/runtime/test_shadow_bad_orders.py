"""Orders that are none, or that buy not one lot: refused by their row, unfilled, or of size zero."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest

from feature_repo.errors import InputError
from feature_repo.market.hft import to_hftbacktest
from feature_repo.market.tape import Tape
from runtime.candidate import Entry
from runtime.shadow_types import OK, ORDER_DTYPE, UNFILLED
from runtime.sizing import round_to_lot

from .shadow_run import trades_of
from .shadow_tapes import ETH, FEE, INF, NAN, S, calm, own

pytestmark = pytest.mark.slow  # hftbacktest compiles in every process


def an_order(ts_ns, **changes):
    out = np.zeros(1, ORDER_DTYPE)
    out[0] = (ts_ns, 1, Entry.MAKER, 2000.0, 20.0, 10_000.0)
    for name, value in changes.items():
        out[name] = value
    return out


@pytest.fixture(scope="module")
def quiet():
    """Ten minutes without a move, as hftbacktest wants them, and a time within."""
    made = calm(600.0)
    return to_hftbacktest(Tape(ETH.venue, ETH.symbol, made, {})), int(made["local_ts"][0]) + 60 * S


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("notional", v) for v in (0.0, -0.0, -10_000.0, NAN, INF, -INF)),
        *(("R_bps", v) for v in (0.0, -0.0, -20.0, NAN, INF, -INF)),
        *(("price", v) for v in (0.0, -2000.0, NAN, INF, -INF)),
        *(("side", v) for v in (0, 2, -128)),
        *(("entry", v) for v in (-1, 2, 127)),
    ],
)
def test_an_order_that_is_none_is_refused_by_its_row(quiet, field, value):
    hft, t = quiet
    # Given out of time order: the row is where the caller put it, not where the replay sorts it to.
    orders = np.concatenate(
        [an_order(t + 9 * S), an_order(t + 8 * S), an_order(t + S, **{field: value}), an_order(t - S)]
    )
    with pytest.raises(InputError, match=re.escape(f"order 2 with {field} {orders[field][2]}")):
        trades_of(hft, ETH, orders, fee=FEE)
    orders[2] = an_order(t + 200 * S)[0]
    assert len(trades_of(hft, ETH, orders, fee=FEE)) == 4


def test_a_lot_that_costs_more_than_the_notional_is_unfilled_and_too_small_for_the_gate(quiet):
    hft, t = quiet
    taker = an_order(t, entry=Entry.IOC)
    for lot, status in (
        (40.0, UNFILLED),
        (5.1, UNFILLED),
        (2.0, UNFILLED),
        (1.6, OK),
    ):  # the whole buys 5.0, a slice of a third 1.67
        instrument = replace(ETH, lot=lot, min_notional=0.0)
        (trade,) = trades_of(hft, instrument, taker, fee=FEE)
        assert trade["status"] == status
        assert math.isnan(trade["net_bps"]) == (status == UNFILLED)
    (candidate,) = own(t)
    assert round_to_lot(10_000.0, candidate.price, 5.1) == 0.0


@pytest.mark.parametrize("notional", [0.0, -10_000.0, NAN, INF, -INF])
def test_a_size_that_is_no_number_is_no_order(notional):
    assert round_to_lot(notional, 2000.0, 0.001) == 0.0
    assert round_to_lot(10_000.0, notional, 0.001) == 0.0
    assert round_to_lot(10_000.0, 2000.0, notional) == 0.0
