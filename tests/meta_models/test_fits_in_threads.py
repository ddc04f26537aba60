"""Fits that run in threads of one process give the bits that each gives alone: torch has one random state a process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from meta_models.jobs import Fitted, Job, run_jobs
from meta_models.lit import OptimConfig
from meta_models.nets.tcn import TCNConfig
from meta_models.normalise import fit_scale

pytestmark = pytest.mark.slow

NET = TCNConfig(T=20, C=3, channels=8, dilations=(1, 2))
OPTIM = OptimConfig(epochs=6, min_steps=1, batch=16, lr=1e-2, accelerator="cpu")
N = 160


def fit(seed: int) -> Fitted:
    rng = np.random.default_rng(5)
    x, y = rng.standard_normal((N, 20, 3)).astype(np.float32), np.arange(N) % 2
    job = Job(NET, fit_scale(x, ("a", "b", "c")), np.arange(120), np.arange(120, N), seed, True, 6, 600.0)
    (made,) = run_jobs([job], x, y, np.ones(N), OPTIM)
    for _ in range(50):  # the weights that a fresh net begins with are drawn, too
        made.net(NET, 1)
    return made


def test_at_the_same_time_as_one_after_the_other():
    seeds = (1, 2, 3, 4)
    alone = [fit(seed) for seed in seeds]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(fit, seeds))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.watched, other.watched)
        for mine, theirs in zip(one.states, other.states, strict=True):
            assert all(np.array_equal(mine[k].numpy(), theirs[k].numpy()) for k in mine)
    assert not np.array_equal(alone[0].watched, alone[1].watched), "seeds matter"
