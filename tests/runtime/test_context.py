"""Literal contexts and costs; the scalar and the array form give the same bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.fields import CTX_NAMES
from runtime.candidate import Entry, SigType
from runtime.context import context_row, context_rows, fee_bps, fill_context, round_trip_cost_bps

from .gate_builders import FEE, candidate, market_row


def test_literal_row():
    c = candidate(sig_type=SigType.RECLAIM, R_bps=2.0, exp_reward_bps=42.0, est_slip_bps=0.5)
    row = context_row(c, market_row(spread_bps=0.05), FEE)
    assert row.dtype == np.float32
    np.testing.assert_array_equal(row, np.float32([0, 0, 0, 1, 0, 40.0, 4.0, 0.5]))


def test_the_types_stand_in_the_order_of_their_columns():
    assert CTX_NAMES[: len(SigType)] == tuple(f"is_{t.name.lower()}" for t in SigType)


def test_costs_of_taker_and_maker_entries():
    assert fee_bps(candidate(), FEE) == 10.0
    assert fee_bps(candidate(entry=Entry.MAKER), FEE) == 7.0
    assert round_trip_cost_bps(candidate(est_slip_bps=0.5), FEE) == 10.5


numbers = st.floats(allow_nan=True, allow_infinity=True)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.sampled_from(SigType), numbers, numbers, numbers, numbers), max_size=5))
def test_rows_equal_row_and_are_finite(values):
    candidates = [candidate(sig_type=s, R_bps=r, exp_reward_bps=e, est_slip_bps=x) for s, r, e, x, _ in values]
    rows = [market_row(spread_bps=v[4]) for v in values]
    many = context_rows(candidates, np.array(rows, rows[0].dtype) if rows else np.zeros(0), FEE)
    assert many.shape == (len(values), 8)
    assert np.isfinite(many).all()
    assert ((many >= 0) & (many <= 50)).all()
    for one, c, m in zip(many, candidates, rows, strict=True):
        np.testing.assert_array_equal(context_row(c, m, FEE), one)


def test_a_row_is_written_over_whole():
    row = np.full(8, np.nan, np.float32)
    for sig_type in SigType:
        c = candidate(sig_type=sig_type, R_bps=2.0 + sig_type)
        fill_context(row, c, 0.05, FEE)
        np.testing.assert_array_equal(row, context_row(c, market_row(spread_bps=0.05), FEE))


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="2 candidates but 1"):
        context_rows([candidate()] * 2, np.array([market_row()]), FEE)
