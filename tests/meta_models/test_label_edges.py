"""Outcomes of the label by hand: tapes of a few quotes, every number written out."""

from __future__ import annotations

import math

import numpy as np
import pytest

from feature_repo.errors import InputError
from meta_models.labels import INVALID, OUTCOMES, STOP, TARGET, TIMEOUT, UNFILLED, label_candidates, tri_barrier_label
from runtime.candidate import Entry
from tests.meta_models.test_labels import FEE, MS, candidate, quotes, trades

NAN = math.nan
# A buyer pays 100.0 at exchange time 1020 and hears of it at 1040; R is 100 bps, so the target is a bid of 100.9, the
# stop one of 98.9, and the horizon ends at 61020. Exchange times are 5 ms before the local ones.
START = (100, 99.9, 100.0)
LATE = (90_000, 99.9, 100.0)
BUY = {"t_entry": 1000 * MS, "side": 1, "R_bps": 100.0, "latency_ns": 20 * MS, "entry": "taker"}


def label(*rows, last=LATE, **changes):
    return tri_barrier_label(quotes(START, *rows, last), **{**BUY, **changes})


def golden(got):
    return OUTCOMES[got.outcome], got.y, got.t_end_ns / MS, got.exit_px, round(got.gross_bps, 9)


@pytest.mark.parametrize(
    ("rows", "want"),
    [
        pytest.param([(4000, 100.9, 101.0)], ("target", 1, 4020, 100.9, 90.0), id="target to the tick"),
        pytest.param([(4000, 100.8, 100.9)], ("timeout", 0, 61_040, 100.8, 80.0), id="a tick short of the target"),
        pytest.param([(4000, 98.9, 99.0)], ("stop", 0, 4020, 98.9, -110.0), id="stop to the tick"),
        pytest.param([(4000, 99.0, 99.1)], ("timeout", 0, 61_040, 99.0, -100.0), id="a tick short of the stop"),
        pytest.param([(4000, 99.0, 101.0)], ("timeout", 0, 61_040, 99.0, -100.0), id="an ask is no exit of a buyer"),
        pytest.param(
            [(4000, 101.0, 101.1), (4000, 98.9, 99.0)], ("stop", 0, 4020, 98.9, -110.0), id="both in one event"
        ),
        pytest.param(
            [(4000, 98.9, 99.0), (4000, 101.0, 101.1)], ("stop", 0, 4020, 101.0, 100.0), id="both, and it comes back"
        ),
        pytest.param(
            [(4000, 100.9, 101.0), (4001, 98.0, 98.1)], ("target", 1, 4020, 98.0, -200.0), id="target, a worse exit"
        ),
        pytest.param([(4000, 100.9, 101.0), (4026, 98.0, 98.1)], ("target", 1, 4020, 100.9, 90.0), id="met in time"),
        pytest.param(
            [(1030, 102.0, 102.1), (1039, 99.9, 100.0)], ("timeout", 0, 61_040, 99.9, -10.0), id="before the answer"
        ),
        pytest.param([(1040, 102.0, 102.1)], ("target", 1, 1060, 102.0, 200.0), id="with the answer"),
        pytest.param([(61_020, 102.0, 102.1)], ("target", 1, 61_040, 102.0, 200.0), id="on the horizon"),
        pytest.param([(61_021, 102.0, 102.1)], ("timeout", 0, 61_040, 102.0, 200.0), id="after the horizon"),
        pytest.param([(61_050, 102.0, 102.1)], ("timeout", 0, 61_040, 99.9, -10.0), id="after the exit"),
    ],
)
def test_a_buyer(rows, want):
    got = label(*rows)
    assert golden(got) == want
    assert (got.t_fill_ns, got.entry_px, got.weight) == (1020 * MS, 100.0, 1.0)


@pytest.mark.parametrize(
    ("rows", "want"),
    [
        pytest.param([(4000, 99.0, 99.1)], ("target", 1, 4020, 99.1, 90.0), id="target"),
        pytest.param([(4000, 99.0, 99.2)], ("timeout", 0, 61_040, 99.2, 80.0), id="a bid is no exit of a seller"),
        pytest.param([(4000, 100.0, 101.1)], ("stop", 0, 4020, 101.1, -110.0), id="stop"),
        pytest.param([(4000, 99.0, 99.1), (4000, 101.0, 101.1)], ("stop", 0, 4020, 101.1, -110.0), id="both"),
    ],
)
def test_a_seller(rows, want):
    got = tri_barrier_label(quotes((100, 100.0, 100.1), *rows, (90_000, 100.0, 100.1)), **{**BUY, "side": -1})
    assert golden(got) == want
    assert (got.t_fill_ns, got.entry_px) == (1020 * MS, 100.0)


@pytest.mark.parametrize(
    ("end_ms", "outcome", "t_end_ms"),
    [
        (1019, INVALID, 1000),  # before the fill
        (1020, INVALID, 61_040),  # with the fill
        (30_000, INVALID, 61_040),  # inside the trade
        (61_020, INVALID, 61_040),  # on the horizon: the exit is still on its way
        (61_039, INVALID, 61_040),
        (61_040, TIMEOUT, 61_040),  # with the exit
    ],
)
def test_the_end_of_the_tape(end_ms, outcome, t_end_ms):
    got = label(last=(900, 99.9, 100.0), end_ns=end_ms * MS)
    assert (got.outcome, got.t_end_ns) == (outcome, t_end_ms * MS)
    assert got.y == (0 if outcome == TIMEOUT else -1)
    assert math.isnan(got.net_bps) == (outcome == INVALID)


def test_a_trade_that_is_over_does_not_need_the_rest_of_the_tape():
    rows = [(4000, 100.9, 101.0)]
    assert label(*rows, last=(4010, 100.9, 101.0), end_ns=4020 * MS).outcome == TARGET
    assert label(*rows, last=(4010, 100.9, 101.0), end_ns=4019 * MS).outcome == INVALID


@pytest.mark.parametrize("gone", [(NAN, 100.0), (99.9, NAN), (NAN, NAN)], ids=["no bids", "no asks", "no book"])
@pytest.mark.parametrize(
    "when",
    [
        pytest.param([], id="at the decision"),
        pytest.param([(1001, 99.9, 100.0)], id="healed before the fill"),
        pytest.param([(1001, 99.9, 100.0), (4000, 100.9, 101.0)], id="healed, then a target"),
    ],
)
def test_a_one_sided_book_when_the_order_leaves(gone, when):
    got = label((990, *gone), *when)
    assert (got.outcome, got.y, got.t_fill_ns) == (INVALID, -1, -1)


@pytest.mark.parametrize("gone", [(NAN, 100.0), (99.9, NAN), (NAN, NAN)], ids=["no bids", "no asks", "no book"])
def test_a_one_sided_book_later_on(gone):
    assert label((1010, *gone), (1030, 99.9, 100.0)).outcome == INVALID  # when the order arrives, exchange time 1020
    assert label((4000, *gone), (4001, 100.9, 101.0)).outcome == INVALID  # inside the trade
    assert label((4000, 100.9, 101.0), (4010, *gone)).outcome == INVALID  # when the exit arrives
    assert label((4000, 100.9, 101.0), (4026, *gone)).outcome == TARGET  # after it
    assert label((500, *gone), (600, 99.9, 100.0)).outcome == TIMEOUT  # before the decision


# A bid of 99.9 behind 50 units, at the exchange from 1020 to 6020.
def bid(*tr, rows=(), **changes):
    q = quotes((100, 99.9, 100.1, 50.0, 50.0), *rows, LATE)
    return tri_barrier_label(q, **{**BUY, "entry": "maker", "price": 99.9, "trades": trades(*tr), **changes})


@pytest.mark.parametrize(
    ("tr", "rows", "outcome", "t_fill_ms", "t_end_ms"),
    [
        pytest.param([], [], UNFILLED, None, 6020, id="no trades"),
        pytest.param([(3005, 99.9, 50.0, -1)], [], UNFILLED, None, 6020, id="all of the queue, and no more"),
        pytest.param([(3005, 99.9, 51.0, -1)], [], TIMEOUT, 3000, 63_020, id="more than the queue"),
        pytest.param([(1025, 99.9, 51.0, -1)], [], UNFILLED, None, 6020, id="with its arrival: not yet there"),
        pytest.param([(6025, 99.9, 51.0, -1)], [], TIMEOUT, 6020, 66_040, id="with its expiry"),
        pytest.param([(6026, 99.9, 51.0, -1)], [], UNFILLED, None, 6020, id="after its expiry"),
        pytest.param([(3005, 99.8, 1.0, -1)], [(8000, 100.9, 101.0)], TARGET, 3000, 8020, id="through, then target"),
        pytest.param([], [(3005, 99.7, 99.9), (8000, 98.5, 98.6)], STOP, 3000, 8020, id="met by an ask, then stop"),
    ],
)
def test_a_maker(tr, rows, outcome, t_fill_ms, t_end_ms):
    got = bid(*tr, rows=rows)
    assert (OUTCOMES[got.outcome], got.t_end_ns) == (OUTCOMES[outcome], t_end_ms * MS)
    assert got.t_fill_ns == (-1 if t_fill_ms is None else t_fill_ms * MS)
    assert (got.y, got.weight) == ((-1, 0.0) if outcome == UNFILLED else (int(outcome == TARGET), 1.0))
    if t_fill_ms:
        assert got.entry_px == 99.9  # the limit, wherever the trade was


def test_the_tape_ends_while_a_maker_rests():
    assert bid(end_ns=6019 * MS).outcome == INVALID
    assert bid(end_ns=6020 * MS).outcome == UNFILLED


def test_unfilled_makers_are_counted_and_weigh_nothing():
    q = quotes((100, 99.9, 100.1, 50.0, 50.0), LATE)
    one = candidate(998 * MS, price=99.9, entry=Entry.MAKER)
    got = label_candidates(q, trades(), [one, candidate(998 * MS), one], FEE)
    assert got["outcome"].tolist() == [UNFILLED, TIMEOUT, UNFILLED]
    assert got["weight"].tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize(("R_target", "bid_px"), [(0.8, 100.8), (0.9, 100.9), (1.0, 101.0)])
def test_the_target_is_within_0_8_and_1_R(R_target, bid_px):
    assert label((4000, bid_px, 101.1), R_target=R_target).outcome == TARGET
    assert label((4000, round(bid_px - 0.1, 1), 101.1), R_target=R_target).outcome == TIMEOUT


@pytest.mark.parametrize("R_target", [0.79, 1.01, NAN, -0.9, math.inf])
def test_other_targets_are_refused(R_target):
    with pytest.raises(InputError, match=r"a number in \[0\.8, 1\.0\]"):
        label(R_target=R_target)


@pytest.mark.parametrize("R_bps", [NAN, 0.0, -5.0, math.inf])
def test_an_unknown_R_is_no_label(R_bps):
    got = label((4000, 100.9, 101.0), R_bps=R_bps)
    assert (got.outcome, got.y, got.weight) == (INVALID, -1, 0.0)
    assert np.isnan([got.entry_px, got.exit_px, got.gross_bps, got.net_bps]).all()


def test_the_horizon_counts_from_the_first_fill():
    got = label(horizon_ms=1_000)
    assert (got.outcome, got.t_end_ns) == (TIMEOUT, (1020 + 1000 + 20) * MS)
    # Slices leave at 1000, 1200 and 1400: the last answer is back at 1440, the first fill was at 1020.
    got = label(entry="ioc", horizon_ms=1_000)
    assert (got.t_fill_ns, got.t_end_ns) == (1020 * MS, 2040 * MS)
    # A horizon that ends before the last answer: out as soon as the position is known.
    got = label(entry="ioc", horizon_ms=100)
    assert (got.outcome, got.t_end_ns) == (TIMEOUT, 1460 * MS)


def test_overlapping_trades_share_their_weight():
    # Held from 1020 to 61040 and from 31020 to 91040: 30,000 ms alone and 30,020 ms shared; the third is alone.
    q = quotes(START, (300_000, 99.9, 100.0))
    got = label_candidates(q, trades(), [candidate(t * MS, R_bps=500.0) for t in (998, 30_998, 100_998)], FEE)
    assert got["outcome"].tolist() == [TIMEOUT] * 3
    shared = (30_000 + 30_020 / 2) / 60_020
    assert got["weight"] == pytest.approx([shared, shared, 1.0], rel=1e-12)
