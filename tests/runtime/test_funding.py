"""A settlement is charged at the last rate announced before it."""

from __future__ import annotations

import numpy as np

from feature_repo.events import EVENT_DTYPE, FUNDING
from runtime.funding import settlements


def rows(*entries: tuple[int, int, float]) -> np.ndarray:
    out = np.zeros(len(entries), EVENT_DTYPE)
    for i, (exch_ts, settles, rate) in enumerate(entries):
        out[i] = (FUNDING, exch_ts, exch_ts + 5, 3_500.0, 0.0, 0, settles, rate)
    return out


def test_the_last_announced_rate_counts():
    found = settlements(rows((10, 100, 0.0001), (50, 100, 0.0003), (110, 200, -0.0002)))
    assert found.tolist() == [(100, 0.0003), (200, -0.0002)]


def test_a_rate_announced_at_or_after_the_settlement_does_not():
    found = settlements(rows((10, 100, 0.0001), (100, 100, 0.0009), (120, 100, 0.0008)))
    assert found.tolist() == [(100, 0.0001)]


def test_rows_without_a_settlement_time_or_rate_are_left_out():
    assert len(settlements(rows((10, 0, 0.0001), (20, 100, np.nan)))) == 0
    assert len(settlements(rows())) == 0
