"""Damaged inputs of every kind: no exception out of the gate, and nothing damaged is ever allowed."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.fields import MARKET_DTYPE
from feature_repo.instruments import SIMULATED_SYMBOL
from runtime import Decision, MetaFilter, Reason
from runtime.candidate import Candidate, Entry
from runtime.gate import GuardsOnly
from runtime.guards import GUARDS

from .fuzz import fuzz
from .gate_builders import FEE, LOT, TICK, TS, bundle_folder, candidate, market_row, window

NAN, INF = math.nan, math.inf

JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.text(max_size=3),
    st.sampled_from(
        [NAN, INF, -INF, 1e30, -1e30, 10**400, -(10**400), [], {}, b"", object(), np.float64("nan"), 2**63]
    ),
    st.sampled_from([np.array([1.0, 2.0]), np.array(None), np.zeros(0), 1j]),
)
GUARDED_ROW = (
    "t_ns",
    "valid",
    "bid",
    "ask",
    "mid",
    "spread_bps",
    "spread_median_bps",
    "depth_top5",
    "depth_median",
    "data_age_ms",
)


def harmless(name: str, value: Any) -> bool:
    """Junk that is a proper value of its field."""
    return (name == "expiry_ns" and isinstance(value, int) and not isinstance(value, bool) and value > TS) or (
        name == "reclaimed" and isinstance(value, bool)
    )


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    guards = GuardsOnly(fee=FEE, symbol=SIMULATED_SYMBOL, tick=TICK, lot=LOT)
    return MetaFilter.load(bundle_folder(tmp_path_factory.mktemp("releases"))), guards


def must_deny(arms, c, now, x, row) -> None:
    for arm in arms:
        d = arm.decide(c, now, x, row)
        assert isinstance(d, Decision)
        assert (d.allow, d.size) == (False, 0.0)
        assert d.reason is not Reason.ALLOW


@settings(deadline=None, max_examples=400)
@given(name=st.sampled_from([f.name for f in fields(Candidate)]), value=JUNK)
def test_a_damaged_candidate_is_never_allowed(both, name, value):
    if not harmless(name, value):
        must_deny(both, replace(candidate(), **{name: value}), TS, window(), market_row())


@settings(deadline=None, max_examples=60)
@given(value=JUNK)
def test_junk_in_place_of_an_argument_is_never_allowed(both, value):
    must_deny(both, value, TS, window(), market_row())
    must_deny(both, candidate(), TS, value, market_row())
    must_deny(both, candidate(), TS, window(), value)
    must_deny(both, candidate(), value, window(), market_row())


@settings(deadline=None, max_examples=150)
@given(name=st.sampled_from(GUARDED_ROW), value=st.sampled_from([NAN, INF, -INF, 1e30, -1e30, -1.0]))
def test_a_damaged_market_row_is_never_allowed(both, name, value):
    row = np.array(market_row(), MARKET_DTYPE)
    if name == "valid":
        row[name] = False
    elif name == "t_ns":
        row[name] = -1
    else:
        row[name] = value
    if (name, value) != ("data_age_ms", -1.0):  # a clock may lead by a millisecond
        must_deny(both, candidate(), TS, window(), row[()])


@settings(deadline=None, max_examples=150)
@given(
    t=st.integers(0, 63),
    c=st.integers(0, 23),
    value=st.sampled_from([NAN, INF, -INF, 1e30, -1e30]),
)
def test_a_damaged_window_is_never_allowed(both, t, c, value):
    x = window()
    x[t, c] = value
    must_deny(both, candidate(), TS, x, market_row())


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_anything_at_all_gets_an_answer(both, data):
    """No exception out, whatever comes together; what is allowed is sound."""
    number = st.floats(allow_nan=True, allow_infinity=True)
    c = candidate(
        **{
            n: data.draw(number)
            for n in data.draw(st.sets(st.sampled_from(["price", "R_bps", "exp_reward_bps", "est_slip_bps"])))
        },
        entry=data.draw(st.sampled_from(Entry)),
    )
    row = np.array(market_row(), MARKET_DTYPE)
    for n in data.draw(st.sets(st.sampled_from(MARKET_DTYPE.names), max_size=3)):
        row[n] = data.draw(number) if MARKET_DTYPE[n].kind == "f" else data.draw(st.integers(0, 2**60))
    for arm in both:
        d = arm.decide(c, TS, window(), row[()])
        assert d.size >= 0
        assert math.isfinite(d.size)
        assert d.allow == (d.size > 0) == (d.reason is Reason.ALLOW)
        if d.allow:
            assert c.est_slip_bps <= 0.25 * c.exp_reward_bps
            assert c.exp_reward_bps >= 2 * (7.0 + c.est_slip_bps)


class Unspeakable(Exception):
    """Raises once more whenever somebody wants to know what it says."""

    @property
    def __notes__(self) -> list[str]:
        raise RuntimeError("no notes")


class Never:
    """A time that no other can be compared with."""

    def __ge__(self, other: object) -> bool:
        raise Unspeakable


class Failing:
    def snapshot_at(self, t_ns: int) -> None:
        raise Unspeakable


def test_an_exception_that_cannot_be_told_is_a_denial(both):
    for arm in both:
        d = arm.decide(candidate(), Never(), window(), market_row())
        assert (d.allow, d.size, d.reason, arm.last_error) == (False, 0.0, Reason.INTERNAL_ERROR, "Unspeakable")
    gate = GuardsOnly(fee=FEE, symbol=SIMULATED_SYMBOL, tick=TICK, lot=LOT, source=Failing())
    assert gate.allow(candidate(), TS).reason is Reason.STORE_ERROR


def test_twenty_thousand_damaged_questions_are_denied(both):
    seen = fuzz(both, 10_000, seed=20_261_123)  # each to both arms
    assert sum(seen.values()) == 20_000
    assert {kind for kind, _ in seen} == {"field", "argument", "row", "window", "time", "other"}
    # Each check that can be damaged was the one to deny, and nothing fell through to the last resort.
    reached = {reason for _, reason in seen}
    assert {Reason.BAD_CANDIDATE, Reason.WRONG_SYMBOL, Reason.EXPIRED, Reason.NO_WINDOW, Reason.STALE} <= reached
    assert {Reason.NOT_FINITE, Reason.SPREAD, Reason.DEPTH, Reason.TIER, Reason.RECLAIM} <= reached
    told = {
        f"{kind}, {reason.value}": count for (kind, reason), count in seen.items() if reason is Reason.INTERNAL_ERROR
    }
    print(told)


def test_a_gate_that_lets_one_through_is_found(both, monkeypatch):
    monkeypatch.setattr("runtime.guards.GUARDS", tuple(c for c in GUARDS if c[0] is not Reason.STALE))
    with pytest.raises(AssertionError, match="allowed"):
        fuzz(both, 2_000, seed=1)
