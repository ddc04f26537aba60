"""Every transition of the reclaim machine, and bars in a stream against bars of a table."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.constants import WINDOW_NS
from runtime.levels import (
    BAR_NS,
    TRANSITIONS,
    Bar,
    BarBuilder,
    BarEvent,
    LevelState,
    ReclaimMachine,
    bar_index,
    closed_bars,
)

from .gate_builders import T0

S, E = LevelState, BarEvent

# (high, low, close) of bars after two bars of 99..101 with level_bars = 2; None is an incomplete bar.
UP, DOWN = (102.0, 100.0, 102.0), (100.0, 98.0, 98.0)
BACK_FROM_UP, BACK_FROM_DOWN = (101.5, 100.0, 100.0), (100.0, 98.5, 100.0)
CASES = [
    (S.IDLE, [], None, E.LOST, S.IDLE),
    (S.IDLE, [], (101.0, 99.0, 101.0), E.QUIET, S.IDLE),
    (S.IDLE, [], UP, E.BREAK_UP, S.BROKEN_UP),
    (S.IDLE, [], DOWN, E.BREAK_DOWN, S.BROKEN_DOWN),
    (S.BROKEN_UP, [UP], None, E.LOST, S.IDLE),
    (S.BROKEN_UP, [UP], (102.0, 101.5, 101.5), E.QUIET, S.IDLE),
    (S.BROKEN_UP, [UP], (103.0, 101.5, 103.0), E.BREAK_UP, S.BROKEN_UP),
    (S.BROKEN_UP, [UP], (102.0, 98.0, 98.0), E.BREAK_DOWN, S.BROKEN_DOWN),
    (S.BROKEN_UP, [UP], (102.0, 101.0, 101.0), E.BACK_INSIDE, S.ARMED_SELL),
    (S.BROKEN_DOWN, [DOWN], None, E.LOST, S.IDLE),
    (S.BROKEN_DOWN, [DOWN], (98.5, 98.0, 98.5), E.QUIET, S.IDLE),
    (S.BROKEN_DOWN, [DOWN], (102.0, 98.0, 102.0), E.BREAK_UP, S.BROKEN_UP),
    (S.BROKEN_DOWN, [DOWN], (98.0, 97.0, 97.0), E.BREAK_DOWN, S.BROKEN_DOWN),
    (S.BROKEN_DOWN, [DOWN], (99.0, 98.0, 99.0), E.BACK_INSIDE, S.ARMED_BUY),
    (S.ARMED_SELL, [UP, BACK_FROM_UP], None, E.LOST, S.IDLE),
    (S.ARMED_SELL, [UP, BACK_FROM_UP], (101.0, 100.0, 101.0), E.QUIET, S.IDLE),
    (S.ARMED_SELL, [UP, BACK_FROM_UP], (103.0, 100.0, 103.0), E.BREAK_UP, S.BROKEN_UP),
    (S.ARMED_SELL, [UP, BACK_FROM_UP], (101.0, 99.5, 99.5), E.BREAK_DOWN, S.BROKEN_DOWN),
    (S.ARMED_BUY, [DOWN, BACK_FROM_DOWN], None, E.LOST, S.IDLE),
    (S.ARMED_BUY, [DOWN, BACK_FROM_DOWN], (100.0, 99.0, 99.0), E.QUIET, S.IDLE),
    (S.ARMED_BUY, [DOWN, BACK_FROM_DOWN], (101.0, 99.0, 101.0), E.BREAK_UP, S.BROKEN_UP),
    (S.ARMED_BUY, [DOWN, BACK_FROM_DOWN], (100.0, 97.0, 97.0), E.BREAK_DOWN, S.BROKEN_DOWN),
]


def bar(index: int, shape: tuple[float, float, float] | None) -> Bar:
    return Bar(index, False, np.nan, np.nan, np.nan) if shape is None else Bar(index, True, *shape)


def machine_after(shapes: list) -> tuple[ReclaimMachine, int]:
    machine = ReclaimMachine(level_bars=2)
    for i, shape in enumerate([(101.0, 99.0, 100.0)] * 2 + shapes):
        machine.on_bar(bar(i, shape))
    return machine, 2 + len(shapes)


@pytest.mark.parametrize(("before", "shapes", "last", "event", "after"), CASES)
def test_transition(before, shapes, last, event, after):
    machine, index = machine_after(shapes)
    assert machine.state is before
    assert machine.on_bar(bar(index, last)) is event
    assert machine.state is after


def test_the_cases_are_the_whole_table():
    assert {(c[0], c[3]): c[4] for c in CASES} == TRANSITIONS


def test_each_state_and_event_is_in_the_table_or_impossible():
    impossible = {(S.IDLE, E.BACK_INSIDE), (S.ARMED_SELL, E.BACK_INSIDE), (S.ARMED_BUY, E.BACK_INSIDE)}
    assert set(TRANSITIONS) == set(product(LevelState, BarEvent)) - impossible


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 19)), max_size=60))
@settings(deadline=None)
def test_no_bars_whatever_make_an_impossible_event(shapes):
    machine, index = ReclaimMachine(level_bars=2), 0
    for a, b, c, luck in shapes:
        low, close, high = sorted((a, b, c))
        index += 2 if luck == 0 else 1
        before = machine.state if luck else S.IDLE  # bars are missing
        event = machine.on_bar(bar(index, None if luck == 1 else (float(high), float(low), float(close))))
        assert (before, event) in TRANSITIONS
        assert machine.state is TRANSITIONS[before, event]


def test_armed_for_one_bar_and_its_side_only():
    for shapes, side in (([UP, BACK_FROM_UP], -1), ([DOWN, BACK_FROM_DOWN], 1), ([UP], 0), ([], 0)):
        machine, index = machine_after(shapes)
        assert [machine.armed_side(i) for i in (index - 1, index, index + 1)] == [0, side, 0]


def test_back_inside_the_broken_range_comes_before_a_new_break():
    machine = ReclaimMachine(level_bars=2)
    for i, shape in enumerate([(101.0, 95.0, 100.0), (101.0, 99.0, 100.0), UP]):
        machine.on_bar(bar(i, shape))
    assert machine.on_bar(bar(3, (102.0, 97.0, 97.0))) is E.BACK_INSIDE  # below the newer low of 99, above 95


def test_missing_bars_and_incomplete_ones_forget_the_levels():
    machine, index = machine_after([UP])
    machine.on_bar(bar(index + 1, BACK_FROM_UP))  # not the next bar
    assert machine.state is S.IDLE
    machine, index = machine_after([None])
    assert machine.on_bar(bar(index, UP)) is E.QUIET  # no level yet


def test_a_window_that_ends_with_the_minute_belongs_to_it():
    assert bar_index(T0) == T0 // BAR_NS - 1
    assert bar_index(T0 + WINDOW_NS) == T0 // BAR_NS


def test_literal_bar():
    t = T0 + WINDOW_NS * np.arange(1, 601)
    mid = np.full(600, 100.0)
    mid[[3, 7, 599]] = 104.0, 95.0, 101.0
    assert closed_bars(t, mid, np.ones(600, bool)) == [Bar(T0 // BAR_NS, True, 104.0, 95.0, 101.0)]


@pytest.mark.parametrize("seed", range(6))
def test_stream_and_table_give_the_same_bars(seed):
    rng = np.random.default_rng(seed)
    n = 6_000
    keep = rng.random(n) > rng.choice([0.0, 0.0005])
    keep[2_000:3_500] = seed % 2 == 0
    t = (T0 + 37 * WINDOW_NS + WINDOW_NS * np.arange(n))[keep]
    mid = 100 + rng.normal(size=len(t)).cumsum()
    ok = rng.random(len(t)) > rng.choice([0.0, 0.0005])
    mid[~ok] = np.nan
    builder, streamed = BarBuilder(), []
    for ti, m, good in zip(t, mid, ok, strict=True):
        for b in (builder.lost_before(int(ti)), builder.update(int(ti), float(m), bool(good))):
            if b is not None:
                streamed.append(b)
    whole = closed_bars(t, mid, ok)
    lost_at_the_end = whole[-1:] if not whole[-1].complete else []
    np.testing.assert_equal(np.array(streamed + lost_at_the_end), np.array(whole))
    assert len(whole) >= 5
