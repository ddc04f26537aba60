"""The simulated book keeps to its slots whatever one message does to it."""

from __future__ import annotations

from dataclasses import astuple, fields

import numpy as np

from feature_repo.events import EVENT_DTYPE
from feature_repo.market import sim_book, sim_kernel
from feature_repo.market.simulator import SimConfig


def test_a_sweep_of_a_whole_side_stays_within_the_slots():
    """Each level that goes improves the other side; without a bound that ran past the end of the arrays."""
    rng = np.random.Generator(np.random.PCG64(3))
    config = SimConfig(follow_share=1.0)
    cfg = np.array([astuple(config)], [(f.name, "f8") for f in fields(config)])[0]
    state = np.zeros(1, sim_kernel.STATE_DTYPE)
    px, qty = np.zeros((2, sim_book.BOOK_SLOTS), np.int64), np.zeros((2, sim_book.BOOK_SLOTS), np.int64)
    count, out = np.zeros(2, np.int64), np.zeros(4_096, EVENT_DTYPE)
    n = sim_book.open_market(rng, cfg, state[0], out, px, qty, count)
    for direction in (1, -1, 1, -1):
        before = n
        n = sim_book.market(rng, cfg, state[0], out, n, px, qty, count, direction, 10**9)
        n = sim_book.keep_depth(rng, cfg, state[0], out, n, px, qty, count)
        assert n - before <= sim_kernel.MARGIN
        assert (count <= sim_book.MAX_LEVELS + 1).all()
        assert (count >= sim_book.MIN_LEVELS).all()
        assert (np.diff(px[0, : count[0]]) < 0).all()
        assert (np.diff(px[1, : count[1]]) > 0).all()
        assert px[0, 0] < px[1, 0]
