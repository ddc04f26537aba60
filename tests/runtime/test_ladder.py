"""The ladder is its table; a step follows from a release's own trades and nothing else."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from feature_repo.errors import InputError
from runtime.buckets import Bucket, BucketTable, Share
from runtime.ladder import (
    TABLE,
    Action,
    BucketTrade,
    Event,
    State,
    check_multipliers,
    first_multipliers,
    move,
    next_step,
)
from runtime.metrics import ir_trade

BACK = (State.ROLLED_BACK, Action.GO_BACK)
# Read by a person, state by state: where each event leads.
LITERAL = {
    "candidate": {"passed": "shadow", "operator_promote": "shadow", "operator_small_live": "small_live"},
    "shadow": {
        "step": "small_live",
        "operator_promote": "small_live",
        "operator_small_live": "small_live",
        "operator_rollback": "rolled_back",
    },
    "small_live": {
        "step": "scaled",
        "drawdown": "rolled_back",
        "negative_day": "rolled_back",
        "bad_record": "rolled_back",
        "operator_rollback": "rolled_back",
    },
    "scaled": {
        "step": "scaled",
        "drawdown": "rolled_back",
        "negative_day": "rolled_back",
        "bad_record": "rolled_back",
        "operator_rollback": "rolled_back",
    },
    "rolled_back": {"operator_promote": "shadow", "operator_small_live": "small_live"},
}


def test_the_table_is_the_literal_one():
    told = {s.value: {e.value: m.state.value for (at, e), m in TABLE.items() if at is s} for s in State}
    assert told == LITERAL


def test_what_goes_back_is_rolled_back_and_the_rest_is_staged():
    for found in TABLE.values():
        assert (found.action is Action.GO_BACK) == (found.state is State.ROLLED_BACK)
        assert found.state is not State.CANDIDATE


@pytest.mark.parametrize(("state", "event"), [k for k in itertools.product(State, Event) if k not in TABLE])
def test_anything_else_is_refused_with_what_is_possible(state, event):
    with pytest.raises(InputError, match=rf"{event.value} for mine, which is in state {state.value}\.") as told:
        move(state, event, name="mine")
    assert all(name in str(told.value) for name in LITERAL[state.value])


def test_nobody_but_an_operator_brings_back_what_was_rolled_back():
    events = {e for s, e in TABLE if s is State.ROLLED_BACK}
    assert events
    assert all(e.value.startswith("operator_") for e in events)


# ---------------------------------------------------------------- steps


def bucket(ofi="all", spread="all", depth="all", sig_type="momentum", session="other"):
    return Bucket("B", sig_type, ofi, spread, depth, session)


HIGH, LOW, PARENT = bucket("high", "mid", "mid"), bucket("low", "mid", "mid"), bucket()
SINCE = 1_000


def table(**multipliers):
    rows = {"high": HIGH, "low": LOW, "parent": PARENT}
    return BucketTable({rows[name]: Share(m, SINCE) for name, m in multipliers.items()})


def trades(where, n, mean, *, spread=5.0, t_ns=SINCE):
    """n trades whose mean and sign of IR are exact."""
    nets = mean + spread * np.where(np.arange(n) % 2, 1.0, -1.0)
    nets[-1] += n * mean - nets.sum()
    return [BucketTrade(where, t_ns + i, float(net)) for i, net in enumerate(nets)]


@pytest.mark.parametrize(
    ("n", "mean", "after"),
    [
        (29, -3.0, 0.4), (30, -3.0, 0.0), (99, -3.0, 0.0), (100, -3.0, 0.0),
        (30, 3.0, 0.4), (99, 3.0, 0.4), (100, 3.0, 0.6), (1_000, 3.0, 0.6),
    ],
)  # fmt: skip
def test_a_hundred_trades_that_pay_are_a_step_and_thirty_that_do_not_end_it(n, mean, after):
    step = next_step(State.SCALED, table(high=0.4, low=0.2), trades(HIGH, n, mean))
    assert (step.multipliers if step else {HIGH: 0.4, LOW: 0.2}) == {HIGH: after, LOW: 0.2}
    if step:
        ir = ir_trade(np.array([trade.net_bps for trade in trades(HIGH, n, mean)]))
        assert step.why == f"B/momentum/high/mid/mid/other 0.4 -> {after:g} ({n} trades, IR {ir:+.2f})"


def test_each_bucket_goes_by_its_own_trades():
    step = next_step(State.SMALL_LIVE, table(high=0.2, low=0.2), trades(HIGH, 120, 2.0) + trades(LOW, 40, -2.0))
    assert step.multipliers == {HIGH: 0.4, LOW: 0.0}


def test_full_size_is_the_end():
    assert next_step(State.SCALED, table(high=1.0), trades(HIGH, 200, 2.0)) is None
    assert next_step(State.SCALED, table(high=0.8), trades(HIGH, 200, 2.0)).multipliers == {HIGH: 1.0}


def test_a_bucket_at_nothing_stays_there():
    assert next_step(State.SCALED, table(high=0.0), trades(HIGH, 500, 9.0)) is None


def test_only_trades_since_its_multiplier_changed_count():
    early = trades(HIGH, 99, 2.0, t_ns=0)  # all before SINCE
    assert next_step(State.SCALED, table(high=0.2), early + trades(HIGH, 99, 2.0)) is None
    assert next_step(State.SCALED, table(high=0.2), early + trades(HIGH, 100, 2.0)) is not None


def test_a_bucket_without_a_row_counts_for_its_parent():
    other = bucket("mid", "low", "high")
    assert next_step(State.SCALED, table(parent=0.2, high=0.2), trades(other, 100, 2.0)).multipliers == {
        PARENT: 0.4,
        HIGH: 0.2,
    }
    nowhere = bucket(sig_type="reclaim")
    assert next_step(State.SCALED, table(parent=0.2), trades(nowhere, 100, 2.0)) is None


@pytest.mark.parametrize(("n", "mean", "out"), [(99, 2.0, False), (100, 2.0, True), (400, -0.01, False), (0, 0, False)])
def test_out_of_the_shadow_with_a_hundred_trades_that_pay(n, mean, out):
    pooled = trades(HIGH, n - n // 2, mean) + trades(PARENT, n // 2, mean) if n else []
    step = next_step(State.SHADOW, table(high=0.8, low=0.0, parent=0.2), pooled)
    assert (step is not None) is out
    if out:
        assert step.multipliers == {HIGH: 0.2, LOW: 0.0, PARENT: 0.2}


def test_in_the_shadow_too_only_what_may_be_traded_counts():
    assert next_step(State.SHADOW, table(high=0.8, low=0.0), trades(LOW, 500, 9.0) + trades(HIGH, 99, 2.0)) is None


@pytest.mark.parametrize("state", [State.CANDIDATE, State.ROLLED_BACK])
def test_what_does_not_serve_makes_no_step(state):
    assert next_step(state, table(high=0.4), trades(HIGH, 500, 2.0)) is None


def test_equal_results_have_the_sign_of_their_mean():
    equal = [BucketTrade(HIGH, SINCE, -1.0)] * 30
    assert math.isnan(ir_trade(np.full(30, -1.0)))
    assert next_step(State.SCALED, table(high=0.4), equal).multipliers == {HIGH: 0.0}
    zeros = [BucketTrade(HIGH, SINCE, 0.0)] * 300
    assert next_step(State.SCALED, table(high=0.4), zeros) is None


@pytest.mark.parametrize("net", [math.nan, math.inf, -math.inf])
def test_a_result_that_is_no_number_is_refused(net):
    with pytest.raises(InputError, match="a trade in B/momentum/high"):
        next_step(State.SCALED, table(high=0.4), [BucketTrade(HIGH, SINCE, net)])


def test_multipliers_that_are_no_step_are_refused():
    before = table(high=0.4, low=0.0)
    for stage, wanted, first in (
        ("scaled", {HIGH: 0.6, LOW: 0.0}, False),
        ("scaled", {HIGH: 0.0}, False),
        ("small_live", {HIGH: 0.2}, True),
    ):
        check_multipliers(stage, before, wanted, first=first)
    for stage, wanted, first in (
        ("scaled", {HIGH: 0.61}, False),  # more than a step
        ("scaled", {LOW: 0.2}, False),  # from nothing
        ("scaled", {PARENT: 0.2}, False),  # no such row
        ("scaled", {HIGH: -0.2}, False),
        ("scaled", {HIGH: math.nan}, False),
        ("small_live", {HIGH: 0.4}, True),  # above the stage's cap
        ("small_live", {LOW: 0.2}, True),  # without evidence
        ("shadow", {HIGH: 0.2}, True),
    ):
        with pytest.raises(InputError):
            check_multipliers(stage, before, wanted, first=first)
    assert first_multipliers(table(high=0.8, low=0.0, parent=0.1)) == {HIGH: 0.2, LOW: 0.0, PARENT: 0.1}
