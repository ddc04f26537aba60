"""Weighted cross-entropy and focal loss against the formulas in numpy, far from the middle too."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from feature_repo.errors import InputError
from meta_models.losses import bce, focal, loss_of

pytestmark = pytest.mark.slow  # torch alone takes seconds to import

rng = np.random.default_rng(0)
LOGIT = rng.normal(0, 3, 200)
Y = rng.integers(0, 2, 200).astype(float)
WEIGHT = rng.uniform(0.1, 3, 200)


def tensors(*arrays):
    return tuple(torch.tensor(a, dtype=torch.float32) for a in arrays)


def oracle(logit, y, weight, gamma):
    p = 1 / (1 + np.exp(-logit))
    p_t = np.where(y == 1, p, 1 - p)
    return np.mean(weight * (1 - p_t) ** gamma * -np.log(p_t))


@pytest.mark.parametrize("gamma", [1.0, 1.5, 2.0])
def test_focal_is_the_formula_of_the_paper(gamma):
    got = loss_of("focal", gamma)(*tensors(LOGIT, Y, WEIGHT)).item()
    assert got == pytest.approx(oracle(LOGIT, Y, WEIGHT, gamma), rel=1e-5)
    assert got < 0.9 * oracle(LOGIT, Y, WEIGHT, 0.0)


def test_bce_is_the_weighted_mean_and_not_divided_by_the_weights():
    assert loss_of("bce")(*tensors(LOGIT, Y, WEIGHT)).item() == pytest.approx(oracle(LOGIT, Y, WEIGHT, 0.0), rel=1e-5)
    once, twice = (bce(*tensors(LOGIT, Y, k * WEIGHT)).item() for k in (1, 2))
    assert twice == pytest.approx(2 * once, rel=1e-6)


def test_focal_becomes_bce_as_gamma_goes_to_nothing():
    given = tensors(LOGIT, Y, WEIGHT)
    assert focal(*given, gamma=0.0).item() == pytest.approx(bce(*given).item(), rel=1e-6)
    off = [focal(*given, gamma=g).item() - bce(*given).item() for g in (0.1, 0.01, 0.001)]
    assert abs(off[0]) > 5 * abs(off[1]) > 25 * abs(off[2]) > 0


def test_what_is_easily_told_counts_for_less():
    easy, hard = ([*tensors([logit], [1.0], [1.0])] for logit in (3.0, -3.0))
    share = {name: (loss_of(name)(*easy) / loss_of(name)(*hard)).item() for name in ("bce", "focal")}
    assert share["focal"] == pytest.approx(share["bce"] * np.exp(-3.0) ** 2, rel=1e-4)  # (1 - p) / p of +3, squared


@pytest.mark.parametrize("name", ["bce", "focal"])
@pytest.mark.parametrize("gamma", [1.0, 1.5, 2.0])
def test_sure_answers_have_finite_slopes(name, gamma):
    logit, y, weight = tensors([-200.0, -40.0, 40.0, 200.0] * 2, [0.0] * 4 + [1.0] * 4, [1.0] * 8)
    logit.requires_grad_()
    loss = loss_of(name, gamma)(logit, y, weight)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logit.grad).all()
    assert logit.grad[[2, 3]].tolist() == pytest.approx([1 / 8, 1 / 8], rel=1e-4)  # wrong and sure: full slope
    assert logit.grad[[0, 1]].tolist() == pytest.approx([0, 0], abs=1e-12)


@pytest.mark.parametrize("gamma", [1.0, 2.0])
def test_the_slope_is_that_of_the_formula(gamma):
    logit, y, weight = tensors(LOGIT[:20], Y[:20], WEIGHT[:20])
    logit.requires_grad_()
    loss_of("focal", gamma)(logit, y, weight).backward()
    for i in range(20):
        up, down = (LOGIT[:20] + step * (np.arange(20) == i) for step in (1e-5, -1e-5))
        slope = (oracle(up, Y[:20], WEIGHT[:20], gamma) - oracle(down, Y[:20], WEIGHT[:20], gamma)) / 2e-5
        assert logit.grad[i].item() == pytest.approx(slope, rel=1e-3, abs=1e-7)


@pytest.mark.parametrize("gamma", [0.99, 2.01, 0.0, float("nan")])
def test_gamma_outside_is_refused(gamma):
    with pytest.raises(InputError, match=r"\[1, 2\]"):
        loss_of("focal", gamma)


def test_another_name_is_refused():
    with pytest.raises(InputError, match="one of: bce, focal"):
        loss_of("hinge")


@pytest.mark.parametrize("name", ["bce", "focal"])
def test_it_can_be_sent_to_another_process(name):
    sent = pickle.loads(pickle.dumps(loss_of(name, 1.5)))
    given = tensors(LOGIT, Y, WEIGHT)
    assert sent(*given).item() == loss_of(name, 1.5)(*given).item()
