"""SIMULATED: at edge 0 nothing foretells the price, at edge 1 the last windows do, whichever the mechanism."""

from __future__ import annotations

from collections import Counter
from functools import cache

import numpy as np
import pytest

from feature_repo.market.simulator import MECHANISMS

from .sim_proof import Skill, first_touch, interval, prove, spots_of

PLACES = ("candidates, R", "candidates, R / 2", "grid")


@cache
def _spots(seed: int, edge: float, mechanism: str):
    """Of one quiet day."""
    return spots_of(seed=seed, edge=edge, mechanism=mechanism)


def _proof(place: str, days: int, edge: float, mechanism: str):
    seeds = range(20, 20 + 2 * days)
    days_of = [_spots(seed, edge, mechanism)[place] for seed in seeds]
    return prove(days_of[:days], days_of[days:])


def test_first_touch_is_the_first_touch():
    mid = np.full(700, 100.0)
    mid[10:] = 100.11
    mid[20:] = 99.5
    at, near, far = np.array([0, 15]), np.full(2, 10.0), np.full(2, 60.0)
    assert first_touch(mid, at, near).tolist() == [1, 0]
    assert first_touch(mid, at, far).tolist() == [-1, 0]


def test_an_interval_holds_its_middle():
    told = interval(list(np.linspace(0, 1, 1_001)), 0.4)
    assert told == Skill(0.4, pytest.approx(0.005), pytest.approx(0.995))


@pytest.mark.long
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_without_an_edge_nobody_knows_which_barrier_comes_first(mechanism):
    for place in PLACES:
        proof = _proof(place, 4, 0.0, mechanism)
        assert proof.n > 5_000, place
        assert proof.auc.low < 0.5 < proof.auc.high, (place, str(proof.auc))
        assert proof.auc.high - proof.auc.low < 0.15, (place, str(proof.auc))  # sharp enough to tell
        assert proof.corr.low < 0.0 < proof.corr.high, (place, str(proof.corr))
        # What a book leaves over for the next move is less than a level, and far below any barrier.
        assert proof.drift.low < 0.4, (place, str(proof.drift))
        assert proof.drift.high > -0.4, (place, str(proof.drift))


@pytest.mark.long
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_with_an_edge_the_last_windows_know(mechanism):
    for place in PLACES:
        proof = _proof(place, 1, 1.0, mechanism)
        assert proof.auc.low > 0.5, (place, str(proof.auc))
        assert proof.corr.low > 0.0, (place, str(proof.corr))
    assert _proof(PLACES[0], 1, 1.0, mechanism).auc.value > 0.62


@pytest.mark.slow
@pytest.mark.parametrize(("edge", "mechanism"), [(0.0, "flow"), (1.0, "book")])
def test_a_quiet_day_gives_candidates_of_every_type_and_barriers_are_met(edge, mechanism):
    spots = _spots(20, edge, mechanism)[PLACES[0]]
    kinds = Counter(spots.kinds.tolist())
    assert 2_500 < sum(kinds.values()) < 8_000
    for kind in ("momentum", "divergence", "liquidation", "reclaim", "reversion"):
        assert kinds[kind] >= 40, kinds
    assert (spots.up >= 0).mean() > 0.25
