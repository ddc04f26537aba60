"""The simulated book keeps to its slots whatever one message does to it, and its gaps keep their law."""

from __future__ import annotations

import numpy as np
import pytest

from feature_repo.events import EVENT_DTYPE
from feature_repo.market import sim_book, sim_kernel
from feature_repo.market.sim_config import SimConfig, kernel_parameters

pytestmark = pytest.mark.slow

QUEUE = 6_000


def _market(rate=50.0, **config):
    rng = np.random.Generator(np.random.PCG64(3))
    cfg = kernel_parameters(SimConfig(**config), edge=0.0, mechanism=0, rate=rate)
    state = np.zeros(1, sim_kernel.STATE_DTYPE)
    state[0]["queue"] = QUEUE
    px, qty = np.zeros((2, sim_book.BOOK_SLOTS), np.int64), np.zeros((2, sim_book.BOOK_SLOTS), np.int64)
    count, out = np.zeros(2, np.int64), np.zeros(8_192, EVENT_DTYPE)
    n = sim_book.open_market(rng, cfg, state[0], out, px, qty, count)
    return rng, cfg, state[0], out, n, px, qty, count


def _sound(px, qty, count, st):
    for side, sign in ((0, -1), (1, 1)):
        assert sim_book.MIN_LEVELS <= count[side] <= sim_book.MAX_LEVELS
        assert (sign * np.diff(px[side, : count[side]]) > 0).all()
        assert (qty[side, : count[side]] > 0).all()
        assert qty[side, 0] == st["core"][side] + st["fleet"][side]
    assert px[0, 0] < px[1, 0]


def test_a_sweep_of_a_whole_side_stays_within_the_slots():
    rng, cfg, st, out, n, px, qty, count = _market()
    for direction in (1, -1, 1, -1):
        before = n
        n = sim_book.market(rng, cfg, st, out, n, px, qty, count, direction, 10**9, 0)
        n = sim_book.keep_depth(rng, cfg, st, out, n, px, qty, count)
        assert n - before <= sim_kernel.MARGIN
        _sound(px, qty, count, st)


@pytest.mark.parametrize("lots", [300, 2_000, 11_000, 40_000])
def test_price_and_balance_are_one_sum_of_flow(lots):
    """A move costs as much balance as it is worth: no size of step gains on another."""
    rng, cfg, st, out, n, px, qty, count = _market(queue_sd=0.0, wide_share=0.0, chase_share=0.0)
    paid = cfg["paid_queues"] * QUEUE
    levels, flow, steps = px[1].copy(), 0, 0
    while flow < 60_000:
        n = sim_book.market(rng, cfg, st, out, n, px, qty, count, 1, lots, 0)
        flow, steps = flow + lots, steps + 1
        moved = int(np.flatnonzero(levels == px[1, 0])[0])
        change = moved * paid + st["core"][0] - st["core"][1]
        assert abs(change - flow) <= 2 * steps, steps  # lots, of rounding
    assert moved > 4


def test_an_expected_order_leaves_the_balance_alone():
    rng, cfg, st, out, n, px, qty, count = _market()
    core = st["core"].copy()
    for direction in (1, -1, 1):
        n = sim_book.market(rng, cfg, st, out, n, px, qty, count, direction, 700, direction * 700)
    assert (st["core"] == core).all()


@pytest.mark.parametrize("rate", [50.0, 1_000.0])
def test_gaps_keep_their_distribution_ahead_of_the_price_and_behind_it(rate):
    rng, cfg, st, out, _, px, qty, count = _market(rate)
    draw = np.random.default_rng(1)
    gaps = [[], []]
    for step in range(12_000):
        n = 0
        run = 1 if step // 400 % 2 else -1  # long one-sided runs: every level behind was made on the way
        n = sim_book.market(rng, cfg, st, out, n, px, qty, count, run, int(draw.exponential(3_000)) + 1, 0)
        n = sim_book.even_out(cfg, st, out, n, px, qty)
        n = sim_book.refresh(rng, cfg, st, out, n, px, qty, count, 2)
        sim_book.keep_depth(rng, cfg, st, out, n, px, qty, count)
        if step % 10 == 0 and step % 400 > 200:
            ahead = 1 if run > 0 else 0
            for side in range(2):
                gaps[0 if side == ahead else 1].append(np.abs(np.diff(px[side, 1:6])))
        _sound(px, qty, count, st)
    ahead, behind = (np.concatenate(g) for g in gaps)
    mean = cfg["gap_ticks"]
    assert ahead.mean() == pytest.approx(mean, rel=0.06)
    assert behind.mean() == pytest.approx(mean, rel=0.06)
    assert (ahead.std() / ahead.mean()) ** 2 == pytest.approx(1 / 3, abs=0.08)
    assert (behind.std() / behind.mean()) ** 2 == pytest.approx(1 / 3, abs=0.08)
