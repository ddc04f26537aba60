"""Buckets: edges, shrinkage, discovery, multipliers, CSV."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from reports.buckets import bucket_rows, buckets_csv, fit_edges, multiplier
from reports.records import FACTS_DTYPE, ArmInput
from runtime.buckets import BucketEdges
from runtime.decision import Reason
from tests.reports.make import REGULAR, arm, decisions


def _facts(n, rng=None):
    f = np.zeros(n, FACTS_DTYPE)
    f["ofi_z"], f["spread_bps"], f["depth"] = np.arange(n) % 9, 1.0, 5.0
    return f


EDGES = BucketEdges((2.5, 5.5), (0.5, 0.8), (6.0, 7.0), 9)


def test_edges_are_terciles_of_the_training_rows():
    f = np.zeros(9, FACTS_DTYPE)
    f["ofi_z"], f["spread_bps"], f["depth"] = np.arange(9), np.nan, 1.0
    e = fit_edges(f)
    assert e.ofi_z == pytest.approx((8 / 3, 16 / 3))
    assert np.isnan(e.spread_bps).all()
    assert e.depth == (1.0, 1.0)
    assert e.n == 9


def _arm(n=900, good=10.0, bad=-10.0, **more):
    rng = np.random.default_rng(0)
    f = _facts(n)
    net = np.where(f["ofi_z"] > 5.5, good, bad) + rng.normal(0, 10, n)
    return arm(decisions([Reason.ALLOW] * n), net, facts=f, **more)


def test_the_bucket_that_pays_is_found_and_the_others_are_not():
    rows = bucket_rows(_arm(), EDGES, simulated=False)
    parent, *cells = rows
    assert (parent.sig_type, parent.ofi_z, parent.session, parent.n) == ("momentum", "all", "other", 900)
    assert not parent.positive
    got = {(r.ofi_z, r.spread, r.depth): (r.positive, r.n, r.judged_by, r.multiplier) for r in cells}
    assert got == {
        ("low", "high", "low"): (False, 300, "bucket", 0.0),
        ("mid", "high", "low"): (False, 300, "bucket", 0.0),
        ("high", "high", "low"): (True, 300, "bucket", 0.8),
    }
    best = next(r for r in cells if r.positive)
    assert 0 < best.lower80_bps < best.shrunk_bps < best.mean_net_bps
    assert best.p_value < 1e-6


def test_a_bucket_with_few_trades_asks_its_parent():
    good = arm(decisions([Reason.ALLOW] * 100), 10.0 + np.random.default_rng(1).normal(0, 5, 100), facts=_facts(100))
    narrow = BucketEdges((-1.0, 7.5), (0.5, 0.8), (6.0, 7.0), 9)
    rows = {r.ofi_z: r for r in bucket_rows(good, narrow, simulated=False)}
    assert (rows["high"].n, rows["high"].judged_by, rows["high"].positive) == (11, "parent", True)
    assert rows["high"].note == "few trades: 11 of 30, judged by its parent"
    tiny = arm(decisions([Reason.ALLOW] * 10), np.arange(10.0), facts=_facts(10))
    assert not any(r.positive for r in bucket_rows(tiny, narrow, simulated=False))


def test_noise_is_rarely_discovered():
    found = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        n = 27 * 40
        f = np.zeros(n, FACTS_DTYPE)
        f["ofi_z"], f["spread_bps"], f["depth"] = rng.integers(0, 9, (3, n))
        edges = BucketEdges((2.5, 5.5), (2.5, 5.5), (2.5, 5.5), n)
        a = arm(decisions([Reason.ALLOW] * n), rng.normal(0, 10, n), facts=f)
        found += any(r.positive for r in bucket_rows(a, edges, simulated=False))
    assert found <= 8


def test_a_bound_above_zero_is_not_yet_a_discovery():
    # One state in nine at p about 0.03: above the 80 % bound, and what luck shows in nine states.
    n = 900
    f = _facts(n)
    f["ofi_z"], f["spread_bps"] = np.arange(n) % 3, np.arange(n) // 3 % 3
    cell = f["ofi_z"] * 3 + f["spread_bps"]
    alternating = np.where(np.arange(n) // 9 % 2, 10.0, -10.0)
    means = np.array([3.0, -3.0, -3.2, -3.4, -3.0, -3.2, -3.4, -3.0, -3.2])
    edges = BucketEdges((0.5, 1.5), (0.5, 1.5), (6.0, 7.0), n)
    a = arm(decisions([Reason.ALLOW] * n), alternating + means[cell.astype(int)], facts=f)
    rows = [r for r in bucket_rows(a, edges, simulated=False) if r.ofi_z != "all"]
    best = max(rows, key=lambda r: r.mean_net_bps)
    assert best.lower80_bps > 0
    assert best.p_value == pytest.approx(0.0285, abs=0.0005)
    assert not best.positive


def test_session_splits_and_denied_candidates_stay_out():
    d = decisions([Reason.ALLOW, Reason.EV] * 60, session=np.repeat([True, False], 60))
    rows = bucket_rows(arm(d, 1.0, facts=_facts(120)), EDGES, simulated=False)
    assert {(r.session, r.n) for r in rows if r.ofi_z == "all"} == {("handover", 30), ("other", 30)}


def test_unknown_states_count_for_the_parent_only():
    f = _facts(60)
    f["ofi_z"][:10] = np.nan
    rows = bucket_rows(arm(decisions([Reason.ALLOW] * 60), 1.0, facts=f), EDGES, simulated=False)
    assert rows[0].n == 60
    assert sum(r.n for r in rows[1:]) == 50
    assert len(bucket_rows(_arm(), None, simulated=False)) == 1


@pytest.mark.parametrize(
    ("positive", "n", "want"),
    [(False, 900, 0.0), (True, 30, 0.2), (True, 99, 0.2), (True, 100, 0.4), (True, 250, 0.6), (True, 9_999, 1.0)],
)
def test_multiplier_steps(positive, n, want):
    assert multiplier(positive, n) == pytest.approx(want)


def test_csv_says_simulated_in_its_first_column_even_when_empty():
    rows = (
        *bucket_rows(_arm(), EDGES, simulated=True),
        *bucket_rows(ArmInput("B", True, REGULAR, reason_na="12 of 200 labels"), EDGES, simulated=True),
        *bucket_rows(arm(decisions([Reason.EV]), 1.0), EDGES, simulated=True),
    )
    text = buckets_csv(rows)
    read = list(csv.DictReader(io.StringIO(text)))
    assert text.startswith("simulated,fee_tier,profile,model,")
    assert "nan" not in text.lower()
    assert all(r["simulated"] == "true" for r in read)
    assert [r["note"] for r in read[-2:]] == ["N/A: 12 of 200 labels", "no trades"]
    assert (read[-1]["n"], read[-1]["mean_net_bps"]) == ("0", "")
