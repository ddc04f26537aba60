"""Distances within a span: what day distances are measured against."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr, wasserstein_distance

from reports.drift.pieces import Scores, correlation, dependence_pieces, grid_of, marginal_pieces, pieces_of
from reports.drift.sampling import even_rows, spread_rows
from tests.reports.make_drift import DAY_NS, START

MINUTE_NS = 60 * 10**9


def times(n, span_ns=DAY_NS):
    return START + np.sort(np.random.default_rng(0).integers(0, span_ns, n))


def test_a_day_against_a_day_is_cut_into_quarters_and_their_parts():
    pieces = pieces_of(times(5_000), DAY_NS)
    assert pieces.blocks == 144
    assert set((pieces.last - pieces.first).tolist()) == {36, 18, 9}
    assert pieces.hours == 6.0
    assert pieces.first.min() == 0
    assert pieces.last.max() == 144


def test_a_span_of_many_days_is_cut_into_days():
    pieces = pieces_of(times(20_000, 20 * DAY_NS), DAY_NS)
    assert pieces.hours == pytest.approx(24.0, rel=0.05)


def test_a_piece_is_as_much_data_and_not_as_much_clock():
    t = times(5_000)
    t = t[(t < START + DAY_NS // 4) | (t > START + DAY_NS // 2)]
    assert pieces_of(t, DAY_NS).blocks in (108, 109)


@pytest.mark.parametrize("minutes", [0, 5, 70])
def test_too_short_a_span_has_no_pieces(minutes):
    assert pieces_of(times(500, minutes * MINUTE_NS) if minutes else np.zeros(0, np.int64), DAY_NS) is None


@pytest.mark.parametrize("kind", ["heavy tail", "flag", "mostly zero"])
def test_the_distance_of_a_piece_is_that_of_its_rows_from_all_others(kind):
    rng, t = np.random.default_rng(3), times(4_000)
    x = np.exp(rng.normal(size=len(t))) + (t - START) / DAY_NS
    if kind != "heavy tail":
        x = (rng.random(len(t)) < (t - START) / DAY_NS).astype(float)
    if kind == "mostly zero":
        x *= np.where(rng.random(len(t)) < 0.1, rng.normal(size=len(t)), 0.0)
    pieces = pieces_of(t, DAY_NS)
    found = marginal_pieces(x, pieces, grid_of(x), 2.0)
    for k in (0, len(pieces.first) // 2, len(pieces.first) - 1):
        inside = (pieces.block >= pieces.first[k]) & (pieces.block < pieces.last[k])
        wanted = wasserstein_distance(x[inside], x[~inside]) / 2.0
        assert found[k] == pytest.approx(wanted, rel=0.02, abs=1e-3)


def test_the_shrinkage_is_that_of_independent_blocks():
    """Means of independent rows: a piece's distance from the rest, shrunk, is as large as that of two whole days."""
    rng, t = np.random.default_rng(4), times(6_000)
    pieces = pieces_of(t, DAY_NS)
    own, days = [], []
    for _ in range(200):
        x = rng.normal(size=len(t))
        sums, rest = pieces.sums(np.bincount(pieces.block, weights=x, minlength=pieces.blocks))
        n, m = pieces.sums(np.bincount(pieces.block, minlength=pieces.blocks).astype(float))
        own.append(((sums / n - rest / m) * pieces.shrink)[0])
        days.append(x.mean() - rng.normal(size=len(t)).mean())
    assert np.std(own) == pytest.approx(np.std(days), rel=0.2)


def means_apart(x, pieces):
    sums, rest = pieces.sums(np.bincount(pieces.block, weights=x, minlength=pieces.blocks))
    n, m = pieces.sums(np.bincount(pieces.block, minlength=pieces.blocks).astype(float))
    return np.abs(sums / n - rest / m)


def test_what_forgets_itself_is_held_to_the_shrunk_distance_and_what_stays_to_the_plain_one():
    t = times(6_000)
    pieces = pieces_of(t, DAY_NS)
    noise = means_apart(np.random.default_rng(8).normal(size=len(t)), pieces)
    assert pieces.farthest(noise) < 1.4 * (noise * pieces.shrink).max()
    trend = means_apart((t - START) / DAY_NS, pieces)
    longest = (pieces.last - pieces.first) == 36
    assert pieces.farthest(trend) > 1.7 * (trend * pieces.shrink)[longest].max()
    assert pieces.farthest(trend) > trend.max()


def test_each_column_has_a_growth_of_its_own():
    t = times(6_000)
    pieces = pieces_of(t, DAY_NS)
    both = np.stack([means_apart(x, pieces) for x in (np.random.default_rng(8).normal(size=len(t)), t / DAY_NS)], 1)
    assert pieces.farthest(both) == pytest.approx([pieces.farthest(both[:, 0]), pieces.farthest(both[:, 1])])


def test_no_distance_is_no_limit():
    pieces = pieces_of(times(6_000), DAY_NS)
    assert pieces.farthest(np.zeros(len(pieces.first))) == 0.0


def test_scores_are_ranks_and_their_correlation_is_spearmans():
    x = np.exp(np.random.default_rng(5).normal(size=(800, 3)))
    x[:, 2] += 2 * x[:, 0]
    found = correlation(Scores(x)(x))
    assert found == pytest.approx(spearmanr(x).statistic, abs=1e-9)


def test_a_column_that_does_not_move_goes_with_nothing():
    x = np.random.default_rng(6).normal(size=(100, 2))
    x[:, 1] = 3.0
    assert correlation(Scores(x)(x))[0, 1] == 0.0


def test_the_change_of_correlation_of_a_piece_is_that_of_its_rows():
    rng, t = np.random.default_rng(7), times(4_000)
    x = rng.normal(size=(len(t), 2))
    x[:, 1] += x[:, 0]
    late = t > START + DAY_NS // 2
    x[late, 1] -= 3 * x[late, 0]
    pieces, z = pieces_of(t, DAY_NS), Scores(x)(x)
    found = dependence_pieces(z, pieces)
    k = len(found) - 1
    inside = pieces.block >= pieces.first[k]
    wanted = correlation(z[inside]) - correlation(z[~inside])
    assert found[k] == pytest.approx(wanted, abs=1e-9)
    assert found[k][0, 1] < -0.1


def test_rows_are_drawn_evenly_and_the_same_again():
    rows = even_rows(100_000, 1_000, 7)
    assert len(rows) == 1_000
    assert (rows // 100 == np.arange(1_000)).all()
    assert (rows == even_rows(100_000, 1_000, 7)).all()
    assert (rows != even_rows(100_000, 1_000, 8)).any()
    assert even_rows(5, 10, 7).tolist() == [0, 1, 2, 3, 4]


def test_days_give_rows_as_they_have_them():
    assert spread_rows({"a": 300, "b": 100}, 40) == {"a": 30, "b": 10}
    assert spread_rows({"a": 3, "b": 1}, 40) == {"a": 3, "b": 1}
    assert sum(spread_rows({"a": 7, "b": 11, "c": 13}, 10).values()) == 10
