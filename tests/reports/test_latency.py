"""End-to-end latency: percentiles, budgets and histogram, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from reports.latency import HISTOGRAM_EDGES_MS, latency_histogram, latency_rows, latency_stats
from runtime.budget import E2E_BUDGET_MS
from runtime.candidate import SigType
from tests.reports.make import e2e_rows


def test_the_fields_are_those_that_are_measured():
    from runtime.e2e import E2E_DTYPE

    rows = np.zeros(1, E2E_DTYPE)
    rows["e2e_us"] = 2_000.0
    assert latency_stats(rows)["momentum"]["p50_ms"] == 2.0


def test_percentiles_and_share_by_hand():
    # 1 to 101 ms in steps of 1: the percentiles are on the grid; 15 of 101 are within 15 ms.
    got = latency_stats(e2e_rows(range(1, 102), SigType.LIQUIDATION))
    assert got == {
        "liquidation": {
            "n": 101, "p50_ms": 51.0, "p95_ms": 96.0, "p99_ms": 100.0, "budget_ms": 15.0, "share_in_budget": 15 / 101,
        }
    }  # fmt: skip


def test_every_type_has_its_budget():
    assert {s.name.lower(): E2E_BUDGET_MS[s] for s in SigType} == {
        "momentum": 15.0, "divergence": 50.0, "liquidation": 15.0, "reclaim": 30.0, "reversion": 50.0,
    }  # fmt: skip


def test_denials_before_the_model_do_not_flatter_it():
    rows = np.concatenate([e2e_rows([9.0] * 4), e2e_rows([0.1] * 96, asked=False)])
    assert (latency_stats(rows)["momentum"]["n"], latency_stats(rows)["momentum"]["p50_ms"]) == (4, 9.0)
    assert sum(latency_histogram(rows)["counts"]) == 4
    never = e2e_rows([0.1] * 96, asked=False)
    assert latency_stats(never)["momentum"]["n"] == 96


def test_times_that_are_none_are_left_out():
    rows = e2e_rows([1.0, np.nan, 0.0, np.inf])
    assert latency_stats(rows)["momentum"]["n"] == 1
    assert latency_stats(None) == latency_stats(rows[:0]) == latency_stats(rows[1:]) == {}


def test_histogram_counts_every_row_once_whatever_its_size():
    assert (HISTOGRAM_EDGES_MS[0], HISTOGRAM_EDGES_MS[8], HISTOGRAM_EDGES_MS[-1]) == (0.1, 1.0, 1000.0)
    got = latency_histogram(e2e_rows([0.01, 1.1, 1.2, 5_000.0]))
    assert got["edges_ms"] == list(HISTOGRAM_EDGES_MS)
    assert {i: n for i, n in enumerate(got["counts"]) if n} == {0: 1, 8: 2, 31: 1}


def test_rows_of_the_report():
    (row,) = latency_rows({("B", True): e2e_rows([2.0]), ("B", False): e2e_rows([])})
    assert (row["profile"], row["model"], list(row["by_type"])) == ("B", True, ["momentum"])


def test_rows_without_a_field_are_refused():
    with pytest.raises(ValueError, match="lack the fields asked, e2e_us"):
        latency_stats(np.zeros(2, [("sig_type", "i1")]))
