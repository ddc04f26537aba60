"""One epoch for all nets of a span: the planned end, unless the rest of the way is overfitting beyond luck."""

from __future__ import annotations

import numpy as np
import pytest

from meta_models.epochs import choose_epoch

N = 2_000


def curve(skills, seed=0, n=N):
    """Logits of epochs that know the truth more or less well: float [E, n], and y."""
    rng = np.random.default_rng(seed)
    score, noise = rng.standard_normal(n), rng.standard_normal((len(skills), n))
    y = (rng.random(n) < 1 / (1 + np.exp(-2 * score))).astype(int)
    return np.stack([s * score + np.sqrt(1 - s * s) * e for s, e in zip(skills, noise, strict=True)]), y


def test_clear_overfitting_stops_at_the_best_epoch():
    watched, y = curve([0.2, 0.8, 0.9, 0.5, 0.2])
    assert choose_epoch(watched, y, np.ones(N)).chosen == 3


def test_a_difference_within_its_error_stays_with_the_plan():
    watched, y = curve([0.1, 0.9, 0.9, 0.9], seed=2)
    found = choose_epoch(watched, y, np.ones(N))
    assert (found.chosen, found.planned) == (4, 4)
    assert np.argmin(found.loss) != 3  # luck alone would have stopped earlier


def test_few_unique_labels_widen_the_error():
    # The same rows, each worth a fiftieth: 40 labels do not tell 0.8 from 0.6.
    watched, y = curve([0.1, 0.8, 0.6], seed=3)
    assert choose_epoch(watched, y, np.ones(N)).chosen == 2
    assert choose_epoch(watched, y, np.full(N, 0.01)).chosen == 3


def test_boldness_is_no_merit_and_no_fault():
    watched, y = curve([0.9, 0.9])
    plain = choose_epoch(watched, y, np.ones(N)).loss
    bold = choose_epoch(watched * np.array([[1.0], [50.0]]), y, np.ones(N)).loss
    assert bold == pytest.approx(plain, abs=1e-5)


def test_loss_is_the_weighted_log_loss_after_the_best_line():
    watched, y = curve([0.9])
    weight = np.random.default_rng(1).uniform(0.1, 1.0, N)
    (loss,) = choose_epoch(watched, y, weight).loss
    base = np.average(y, weights=weight)
    assert loss < -(base * np.log(base) + (1 - base) * np.log(1 - base))
    grid = []
    for slope in np.linspace(0.5, 4.0, 71):
        for offset in np.linspace(-0.3, 0.3, 13):
            p = 1 / (1 + np.exp(-(slope * watched[0] + offset)))
            grid.append(np.average(-(y * np.log(p) + (1 - y) * np.log(1 - p)), weights=weight))
    assert loss == pytest.approx(min(grid), abs=1e-3)
