"""Every move of the flow machine, one by one; a table is the stream; the order of the types."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from feature_repo.constants import WINDOW_NS
from runtime.candidate import Entry, SigType, Tier
from runtime.flow_states import TRANSITIONS, FlowEvent, FlowMachine, FlowState, Move, crossings
from runtime.profiles import PROFILES
from runtime.sig_types import TYPES, Crossing, type_of

from .gate_builders import T0

S, E = FlowState, FlowEvent

# state, event, state after it, tier fired
MOVES = [
    (S.UNKNOWN, E.LOST, S.UNKNOWN, None),
    (S.UNKNOWN, E.NO_PAIR, S.OUT, None),
    (S.UNKNOWN, E.PAIR_C, S.IN_C, None),
    (S.UNKNOWN, E.PAIR_B, S.IN_B, None),
    (S.UNKNOWN, E.PAIR_A, S.IN_A, None),
    (S.OUT, E.LOST, S.UNKNOWN, None),
    (S.OUT, E.NO_PAIR, S.OUT, None),
    (S.OUT, E.PAIR_C, S.IN_C, Tier.C),
    (S.OUT, E.PAIR_B, S.IN_B, Tier.B),
    (S.OUT, E.PAIR_A, S.IN_A, Tier.A),
    (S.IN_C, E.LOST, S.UNKNOWN, None),
    (S.IN_C, E.NO_PAIR, S.OUT, None),
    (S.IN_C, E.PAIR_C, S.IN_C, None),
    (S.IN_C, E.PAIR_B, S.IN_B, Tier.B),
    (S.IN_C, E.PAIR_A, S.IN_A, Tier.A),
    (S.IN_B, E.LOST, S.UNKNOWN, None),
    (S.IN_B, E.NO_PAIR, S.OUT, None),
    (S.IN_B, E.PAIR_C, S.IN_C, None),
    (S.IN_B, E.PAIR_B, S.IN_B, None),
    (S.IN_B, E.PAIR_A, S.IN_A, Tier.A),
    (S.IN_A, E.LOST, S.UNKNOWN, None),
    (S.IN_A, E.NO_PAIR, S.OUT, None),
    (S.IN_A, E.PAIR_C, S.IN_C, None),
    (S.IN_A, E.PAIR_B, S.IN_B, None),
    (S.IN_A, E.PAIR_A, S.IN_A, None),
]

# Scores of a window in which the event happens: (ofi_z, cvd_z), None for a row that is not usable.
SCORES = {
    E.LOST: [None],
    E.NO_PAIR: [(0.0, 0.0), (1.8, 5.0), (5.0, 1.25), (5.0, -5.0), (-5.0, 5.0)],
    E.PAIR_C: [(1.9, 1.3), (2.05, 5.0), (5.0, 1.35)],
    E.PAIR_B: [(2.1, 1.4), (2.25, 5.0), (5.0, 1.55)],
    E.PAIR_A: [(2.3, 1.6), (8.0, 8.0)],
}
BEFORE = {S.UNKNOWN: E.LOST, S.OUT: E.NO_PAIR, S.IN_C: E.PAIR_C, S.IN_B: E.PAIR_B, S.IN_A: E.PAIR_A}


def feed(machine: FlowMachine, window: int, scores: tuple[float, float] | None, side: int) -> tuple[int, Tier] | None:
    ofi_z, cvd_z = scores or (5.0, 5.0)
    return machine.update(T0 + window * WINDOW_NS, side * ofi_z, side * cvd_z, scores is not None)


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize(("before", "event", "after", "fires"), MOVES)
def test_move(before, event, after, fires, side):
    mine = 0 if side > 0 else 1
    for scores in SCORES[event]:
        machine = FlowMachine()
        feed(machine, 0, (0.0, 0.0), side)
        feed(machine, 1, SCORES[BEFORE[before]][0], side)
        assert machine.states[mine] is before
        assert feed(machine, 2, scores, side) == (None if fires is None else (side, fires))
        assert machine.states[mine] is after


def test_these_are_all_moves_of_all_states_and_events():
    assert {(s, e): Move(after, fires) for s, e, after, fires in MOVES} == TRANSITIONS
    assert set(TRANSITIONS) == set(product(FlowState, FlowEvent))


def test_the_event_alone_names_the_next_state_so_that_a_table_can_be_looked_up_at_once():
    for event in FlowEvent:
        assert len({TRANSITIONS[state, event].state for state in FlowState}) == 1


@pytest.mark.parametrize("before", FlowState)
def test_a_window_that_never_came_is_a_lost_one(before):
    machine = FlowMachine()
    feed(machine, 0, (0.0, 0.0), 1)
    feed(machine, 1, SCORES[BEFORE[before]][0], 1)
    assert feed(machine, 3, (5.0, 5.0), 1) is None
    assert machine.states == [S.IN_A, S.OUT]


def test_a_fresh_machine_knows_nothing():
    assert FlowMachine().states == [S.UNKNOWN, S.UNKNOWN]
    assert feed(FlowMachine(), 0, (5.0, 5.0), 1) is None


def plain(t_ns, ofi_z, cvd_z, ok):
    """(row, side, tier) of each window in which a pair holds that did not hold in the usable window before."""
    out = []
    for k in range(1, len(t_ns)):
        if not (ok[k] and ok[k - 1] and t_ns[k] - t_ns[k - 1] == WINDOW_NS):
            continue
        for side, name in product((1, -1), "ABC"):
            p = PROFILES[name]
            now, then = (
                side * float(ofi_z[i]) >= p.ofi_z_min and side * float(cvd_z[i]) >= p.cvd_z_min for i in (k, k - 1)
            )
            if now and not then:
                out.append((k, side, p.tier))
                break
    return out


@pytest.mark.parametrize("seed", range(5))
def test_table_stream_and_plain_rule_agree(seed):
    rng = np.random.default_rng(seed)
    n = 4_000
    t_ns = T0 + WINDOW_NS * np.cumsum(1 + (rng.random(n) < 0.02) * rng.integers(1, 9, n))
    ofi_z = (2.0 * rng.normal(size=n)).astype(np.float32)
    cvd_z = (0.5 * ofi_z + 1.5 * rng.normal(size=n)).astype(np.float32)
    on_the_line = rng.random(n) < 0.2
    ofi_z[on_the_line] = rng.choice([1.9, 2.1, 2.3, -1.9, -2.1, -2.3], on_the_line.sum())
    ok = rng.random(n) > 0.02
    ofi_z[~ok] = np.nan
    machine, streamed = FlowMachine(), []
    for k in range(n):
        fired = machine.update(int(t_ns[k]), float(ofi_z[k]), float(cvd_z[k]), bool(ok[k]))
        if fired is not None:
            streamed.append((k, *fired))
    found = list(zip(*(a.tolist() for a in crossings(t_ns, ofi_z, cvd_z, ok)), strict=True))
    assert found == streamed == plain(t_ns, ofi_z, cvd_z, ok)
    assert {(side, tier) for _, side, tier in found} == set(product((1, -1), Tier))


def test_a_table_without_rows_fires_nothing():
    none = np.zeros(0)
    assert [len(a) for a in crossings(none.astype(np.int64), none, none, none.astype(bool))] == [0, 0, 0]


# ---------------------------------------------------------------- the type of a crossing

NOTHING = Crossing(
    side=1,
    tier=Tier.A,
    ofi_z=2.4,
    vwap_dev=0.0,
    handover=True,
    mid=2000.0,
    low=1999.0,
    high=2001.0,
    forced_buy=0.0,
    forced_sell=0.0,
    armed_side=0,
)
HOLDS = {
    SigType.LIQUIDATION: {"forced_buy": 50_000.0},
    SigType.RECLAIM: {"armed_side": 1},
    SigType.DIVERGENCE: {"low": 2000.0},
    SigType.REVERSION: {"vwap_dev": -2.0},
}
ORDER = [SigType.LIQUIDATION, SigType.RECLAIM, SigType.DIVERGENCE, SigType.REVERSION, SigType.MOMENTUM]


def upside_down(c: Crossing) -> Crossing:
    return replace(
        c,
        side=-c.side,
        ofi_z=-c.ofi_z,
        vwap_dev=-c.vwap_dev,
        mid=-c.mid,
        low=-c.high,
        high=-c.low,
        forced_buy=c.forced_sell,
        forced_sell=c.forced_buy,
        armed_side=-c.armed_side,
    )


def test_the_order_of_the_types_and_their_entry_styles():
    assert [(rule.sig_type, rule.entry) for rule in TYPES] == [
        (SigType.LIQUIDATION, Entry.IOC),
        (SigType.RECLAIM, Entry.IOC),
        (SigType.DIVERGENCE, Entry.MAKER),
        (SigType.REVERSION, Entry.IOC),
        (SigType.MOMENTUM, Entry.IOC),
    ]


@pytest.mark.parametrize("present", list(product([False, True], repeat=4)))
def test_of_all_types_that_hold_the_first_wins(present):
    changes = {
        k: v for there, of_type in zip(present, HOLDS.values(), strict=True) if there for k, v in of_type.items()
    }
    expected = next(t for t, there in zip(ORDER, (*present, True), strict=True) if there)
    crossing = replace(NOTHING, **changes)
    assert type_of(crossing).sig_type is type_of(upside_down(crossing)).sig_type is expected


@pytest.mark.parametrize(
    ("sig_type", "changes", "holds"),
    [
        (SigType.LIQUIDATION, {"forced_buy": 50_000.0}, True),
        (SigType.LIQUIDATION, {"forced_buy": 49_999.9}, False),
        (SigType.LIQUIDATION, {"forced_buy": 60_000.0, "forced_sell": 20_000.0}, True),
        (SigType.LIQUIDATION, {"forced_buy": 60_000.0, "forced_sell": 20_000.1}, False),
        (SigType.LIQUIDATION, {"forced_sell": 60_000.0}, False),
        (SigType.LIQUIDATION, {"forced_buy": np.nan}, False),
        (SigType.RECLAIM, {"armed_side": 1}, True),
        (SigType.RECLAIM, {"armed_side": -1}, False),
        (SigType.RECLAIM, {"armed_side": 0}, False),
        (SigType.DIVERGENCE, {"low": 2000.0}, True),
        (SigType.DIVERGENCE, {"low": 2000.01}, True),
        (SigType.DIVERGENCE, {"low": 1999.99}, False),
        (SigType.DIVERGENCE, {"high": 2000.0}, False),
        (SigType.DIVERGENCE, {"low": np.nan}, False),
        (SigType.DIVERGENCE, {"low": 2000.0, "handover": False, "ofi_z": 2.8}, True),
        (SigType.DIVERGENCE, {"low": 2000.0, "handover": False, "ofi_z": 2.79}, False),
        (SigType.DIVERGENCE, {"low": 2000.0, "handover": False, "ofi_z": 2.6, "tier": Tier.B}, True),
        (SigType.DIVERGENCE, {"low": 2000.0, "handover": False, "ofi_z": 2.59, "tier": Tier.B}, False),
        (SigType.DIVERGENCE, {"low": 2000.0, "handover": False, "ofi_z": 2.4, "tier": Tier.C}, True),
        (SigType.DIVERGENCE, {"low": 2000.0, "handover": False, "ofi_z": 2.39, "tier": Tier.C}, False),
        (SigType.REVERSION, {"vwap_dev": -2.0}, True),
        (SigType.REVERSION, {"vwap_dev": -1.99}, False),
        (SigType.REVERSION, {"vwap_dev": 5.0}, False),
        (SigType.REVERSION, {"vwap_dev": np.nan}, False),
        (SigType.MOMENTUM, {}, True),
    ],
)
def test_each_condition_at_its_edge(sig_type, changes, holds):
    rule = next(rule for rule in TYPES if rule.sig_type is sig_type)
    crossing = replace(NOTHING, **changes)
    assert rule.holds(crossing) is holds
    assert rule.holds(upside_down(crossing)) is holds
