"""Points of the sensitivity curves: as rows of metrics.json, and as a table."""

from __future__ import annotations

import json
import math

import pytest

from reports.sensitivity import KNOBS, SensitivityPoint, sensitivity_rows, sensitivity_table
from reports.statistics import Interval
from tests.reports import make_metrics

NAN = math.nan


def _point(knob="tau", value=0.65, **more):
    given = {
        "label": "", "fee_tier": "regular", "profile": "B", "model": True, "trades": 612,
        "net_bps": Interval(1.5, 0.5, 2.5), "filled_share": 0.97, "pnl_usd": 1234.5,
    }  # fmt: skip
    return SensitivityPoint(knob, value, **{**given, **more})


def test_a_row_is_the_point():
    assert sensitivity_rows([_point()]) == [
        {
            "knob": "tau", "value": 0.65, "label": "", "fee_tier": "regular", "profile": "B", "model": True,
            "trades": 612, "net_bps": {"value": 1.5, "low": 0.5, "high": 2.5}, "filled_share": 0.97, "pnl_usd": 1234.5,
        }
    ]  # fmt: skip


def test_what_is_not_finite_is_none():
    (row,) = sensitivity_rows(
        [_point("latency_ms", NAN, net_bps=Interval(NAN, NAN, NAN), filled_share=NAN, pnl_usd=math.inf, trades=0)]
    )
    assert row["value"] is row["filled_share"] is row["pnl_usd"] is None
    assert row["net_bps"] == {"value": None, "low": None, "high": None}
    json.dumps(row, allow_nan=False)


def test_rows_go_by_knob_arm_and_value_whatever_their_order():
    points = [
        _point("base_size_usd", 1e4),
        _point("latency_ms", NAN, label="tape's feed latency"),
        _point("latency_ms", 50.0),
        _point("latency_ms", 5.0),
        _point("tau", 0.7),
        _point("tau", 0.6),
        _point("tau", 0.8, fee_tier="aaa"),
    ]
    want = [("tau", 0.8), ("tau", 0.6), ("tau", 0.7), ("latency_ms", 5.0), ("latency_ms", 50.0), ("latency_ms", None),
            ("base_size_usd", 1e4)]  # fmt: skip
    for given in (points, points[::-1]):
        assert [(r["knob"], r["value"]) for r in sensitivity_rows(given)] == want


def test_an_unknown_knob_is_refused():
    with pytest.raises(ValueError, match="no knob 'alpha'; known are tau, latency_ms, fee_bps, base_size_usd"):
        _point("alpha")


def test_table():
    points = [
        _point("latency_ms", NAN, label="tape's feed latency", net_bps=Interval(1.5, NAN, NAN), filled_share=NAN),
        _point("fee_bps", 7.5, fee_tier="", model=False),
        _point("base_size_usd", 300_000.0, pnl_usd=-10.0),
    ]
    table = sensitivity_table({"sensitivity": {"note": "one knob", "points": sensitivity_rows(points)}})
    assert table.rows == (
        (KNOBS["latency_ms"], "tape's feed latency", "regular B model", "612", "+1.50", "-", "+1,234"),
        (KNOBS["fee_bps"], "7.5", "B no model", "612", "+1.50 [+0.50, +2.50]", "97%", "+1,234"),
        (KNOBS["base_size_usd"], "300,000", "regular B model", "612", "+1.50 [+0.50, +2.50]", "97%", "-10"),
    )
    assert table.note == "one knob"


@pytest.mark.parametrize("metrics", [{}, {"sensitivity": {"note": "not computed", "points": []}}])
def test_table_without_points_says_so(metrics):
    table = sensitivity_table(metrics)
    assert table.rows == ()
    assert table.note == "N/A: sensitivity was not computed"


def test_the_points_made_by_hand_have_the_keys_of_the_real_ones():
    (row,) = sensitivity_rows([_point()])
    assert set(make_metrics.point("tau", 0.5)) == set(row)
