"""Candidates survive an Arrow table and Parquet; a wrong table is named by column and row."""

from __future__ import annotations

import io
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.errors import InputError
from runtime.candidate import Candidate, Entry, SigType, Tier
from runtime.candidate_io import (
    CANDIDATE_SCHEMA,
    candidates_from_table,
    candidates_to_table,
)

from .gate_builders import TS, candidate

MANY = [
    candidate(
        ts_ns=TS + i,
        side=1 - 2 * (i % 2),
        sig_type=SigType(i % 5),
        tier=Tier(i % 3),
        entry=Entry(i % 2),
        R_bps=math.nan if i == 3 else 1.0 + i,
        est_slip_bps=math.inf if i == 4 else 0.1,
        reclaimed=i % 5 == 3,
    )
    for i in range(10)
]


def rewritten(**columns: object) -> pa.Table:
    """The table of MANY with columns replaced; None drops one."""
    table = candidates_to_table(MANY)
    for name, values in columns.items():
        i = table.column_names.index(name)
        table = table.remove_column(i) if values is None else table.set_column(i, name, values)
    return table


@pytest.mark.parametrize("many", [MANY, []])
def test_round_trip_through_parquet(many):
    file = io.BytesIO()
    pq.write_table(candidates_to_table(many), file)
    back = candidates_from_table(pq.read_table(file), name="t")
    assert [repr(c) for c in back] == [repr(c) for c in many]


@settings(deadline=None, max_examples=50)
@given(
    st.builds(
        Candidate,
        ts_ns=st.integers(0, 2**62),
        symbol=st.text(min_size=1, max_size=8),
        side=st.sampled_from((1, -1)),
        sig_type=st.sampled_from(SigType),
        tier=st.sampled_from(Tier),
        price=st.floats(1e-9, 1e9),
        R_bps=st.floats(0),
        exp_reward_bps=st.floats(0),
        est_slip_bps=st.floats(0),
        entry=st.sampled_from(Entry),
        expiry_ns=st.integers(0, 2**62),
        reclaimed=st.booleans(),
    )
)
def test_any_candidate_survives_a_table(c):
    assert repr(candidates_from_table(candidates_to_table([c]), name="t")) == repr([c])


def test_wrong_columns_are_named():
    table = rewritten(side=None, price=pa.array(["a"] * 10))
    with pytest.raises(InputError, match=r"labels: side is missing; price is string, not double"):
        candidates_from_table(table, name="labels")


def test_a_table_may_carry_more_columns():
    table = candidates_to_table(MANY).append_column("y", pa.array([1] * 10))
    assert len(candidates_from_table(table, name="labels")) == 10


@pytest.mark.parametrize(
    ("column", "row", "value", "says"),
    [
        ("sig_type", 3, "moment", r"row 3: sig_type 'moment'. Expected momentum \| divergence"),
        ("tier", 1, "D", "row 1: tier 'D'"),
        ("entry", 10, "IOC", "row 10: entry 'IOC'"),
        ("side", 2, 0, "row 2: side 0"),
        ("price", 4, math.nan, "row 4: price nan"),
        ("price", 4, 0.0, r"row 4: price 0\.0"),
        ("price", 4, None, "row 4: price is null"),
        ("ts_ns", 4, TS + 1, "row 4: the symbol, time and side of row 2 again"),
    ],
)
def test_wrong_rows_are_named(column, row, value, says):
    values = candidates_to_table(MANY).column(column).to_pylist()
    values[row - 1] = value
    table = rewritten(**{column: pa.array(values, CANDIDATE_SCHEMA.field(column).type)})
    with pytest.raises(InputError, match=says):
        candidates_from_table(table, name="t")
