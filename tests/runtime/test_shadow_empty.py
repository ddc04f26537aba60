"""Tapes on which nothing can be judged: a person's own entries on them are denied, unlabelled and not traded.

Of one side, of one event, too short for a window, without a candidate. What the whole command makes of such tapes is in
tests/flows/test_bad_shadow.py.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from feature_repo.errors import InputError
from feature_repo.events import (
    BUY,
    KIND_MASK,
    SELL,
    TRADE,
)
from feature_repo.market.hft import to_hftbacktest
from feature_repo.market.tape import Tape
from meta_models.labels import LABEL_DTYPE
from reports.funnel import funnel, reason_counts, rejection
from runtime.arms import DECISION_DTYPE
from runtime.decision import Reason
from runtime.shadow_types import TRADE_DTYPE
from runtime.signals import find_candidates

from .shadow_tapes import ETH, MS, calm, own, says_nothing, shadow

pytestmark = pytest.mark.slow  # hftbacktest compiles in every process


def two_ways(events, *after_s):
    first = int(events["local_ts"][0]) // (100 * MS) * 100 * MS
    return shadow(events, own(*(first + int(s * 10) * 100 * MS for s in after_s)))


ONLY = {
    "bids": lambda: two_ways(calm(sides=(BUY,)), 30, 65, 80),
    "asks": lambda: two_ways(calm(sides=(SELL,)), 30, 65, 80),
    "trades": lambda: two_ways(trades_only(), 30, 65, 80),
}


def trades_only():
    rows = calm()
    rows["ev"] = rows["ev"] & ~np.uint64(KIND_MASK) | np.uint64(TRADE)
    return rows


@pytest.mark.parametrize("side", ONLY)
def test_a_tape_of_one_side_has_no_row_no_candidate_no_label_and_no_trade(side):
    seen = ONLY[side]()
    assert len(seen.table.market) > 800
    assert not seen.table.market["valid"].any()
    assert not seen.table.X.any()
    assert find_candidates(seen.table) == []
    assert reason_counts(seen.arm) == {"no_window": 3}
    says_nothing(seen.labels, seen.trades)


def test_a_tape_of_a_single_event():
    seen = two_ways(calm()[:1], 0.1, 30)
    assert len(seen.table.market) == 0
    assert find_candidates(seen.table) == []
    assert reason_counts(seen.arm) == {"no_window": 2}
    says_nothing(seen.labels, seen.trades)


def test_a_tape_shorter_than_the_warm_up_has_no_valid_row():
    seen = two_ways(calm(59.0), 20, 58)
    assert len(seen.table.market) > 580
    assert not seen.table.market["valid"].any()
    assert reason_counts(seen.arm) == {"no_window": 2}


def test_candidates_before_the_first_whole_window_are_all_denied_for_it():
    """Rows are valid from 60 s on, a window of 64 rows stands 6.4 s later."""
    early, late = two_ways(calm(180.0), 60.5, 62, 66), two_ways(calm(180.0), 67, 68)
    assert early.table.market["valid"][610:].all()
    assert reason_counts(early.arm) == {"no_window": 3}
    assert Reason.NO_WINDOW.value not in reason_counts(late.arm)
    in_stages = dict(zip(("candidates", "in_tier", "data"), funnel(early.arm)[-1].survivors, strict=False))
    assert in_stages == {"candidates": 3, "in_tier": 3, "data": 0}
    assert math.isnan(rejection(early.arm).rate)  # nothing passed liquidity, so nothing could be rejected after it
    assert rejection(early.arm).total_rate == 1.0


def test_entries_outside_the_tape_are_denied_and_never_traded():
    seen = two_ways(calm(180.0), -100, -0.1, 181, 86_400)
    assert reason_counts(seen.arm) == {"no_window": 4}
    says_nothing(seen.labels, seen.trades)


def test_a_tape_without_a_candidate_gives_empty_parts_of_the_right_kind():
    seen = shadow(calm(180.0))
    assert seen.table.market["valid"].sum() > 1_100
    assert seen.candidates == []
    assert (seen.labels.dtype, len(seen.labels)) == (LABEL_DTYPE, 0)
    assert (seen.decisions.dtype, len(seen.decisions)) == (DECISION_DTYPE, 0)
    assert (seen.trades.dtype, len(seen.trades)) == (TRADE_DTYPE, 0)
    assert reason_counts(seen.arm) == {}
    assert {row.survivors for row in funnel(seen.arm)} == {(0,) * 9}


def test_a_tape_without_events_is_refused():
    with pytest.raises(InputError, match="holds no events"):
        shadow(calm()[:0])
    with pytest.raises(InputError, match="neither depth nor trades"):
        to_hftbacktest(Tape(ETH.venue, ETH.symbol, calm()[:0], {}))
