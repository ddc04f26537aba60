"""Made-up samples with something to learn in them: the target follows the last rows of channel 0 and one context."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from feature_repo.constants import SECOND_NS
from feature_repo.fields import CTX_NAMES
from meta_models.labels import LABEL_DTYPE

T0 = 1_767_571_200 * SECOND_NS


@dataclass
class Made:
    x: np.ndarray
    ctx: np.ndarray
    labels: np.ndarray
    ts_ns: np.ndarray
    truth: np.ndarray  # the probability that y was drawn with


def make(n: int, *, T: int = 20, C: int = 3, hours: float = 12.0, strength: float = 3.0, seed: int = 0) -> Made:
    rng = np.random.default_rng(seed)
    scale = np.geomspace(1e-2, 1e5, C).astype(np.float32)  # as unlike as spreads and depths
    z = rng.standard_normal((n, T, C)).astype(np.float32)
    ctx = np.zeros((n, len(CTX_NAMES)), np.float32)
    ctx[np.arange(n), rng.integers(0, 5, n)] = 1.0
    ctx[:, 5:] = rng.uniform(0, 10, (n, 3))
    score = strength * z[:, -4:, 0].mean(axis=1) + 0.1 * strength * (ctx[:, 6] - 5) / 3
    truth = 1 / (1 + np.exp(-score))
    ts_ns = T0 + np.sort(rng.choice(int(hours * 36_000), n, replace=False)) * (SECOND_NS // 10)
    labels = np.zeros(n, LABEL_DTYPE)
    labels["ts_ns"], labels["t_end_ns"] = ts_ns, ts_ns + rng.integers(1, 60, n) * SECOND_NS
    labels["y"] = rng.random(n) < truth
    labels["outcome"] = 1 - labels["y"]
    labels["weight"] = rng.uniform(0.2, 1.0, n)
    return Made(z * scale, ctx, labels, ts_ns, truth)
