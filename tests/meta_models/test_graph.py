"""The fused graph says what the numpy pipeline says: for one net and three, either calibrator, one window and many."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from feature_repo.errors import InputError
from feature_repo.fields import CTX_NAMES
from meta_models.calibrators import Isotonic, Platt, fit_isotonic, fit_platt
from meta_models.graph import FusedGraph, SingleNet, StackLayer
from meta_models.normalise import fit_scale
from meta_models.stack import fit_average, fit_stack
from tests.meta_models.learnable import make

pytestmark = pytest.mark.slow  # torch alone takes seconds to import

T, C = 20, 3


class Sum(nn.Module):
    """A net small enough to be written down twice: the weighted sum of the window's last rows."""

    def __init__(self, rows: int, gain: float) -> None:
        super().__init__()
        self.rows, self.gain = rows, gain

    def forward(self, x):
        return self.gain * x[:, -self.rows :, 0].mean(-1) + 0.1 * x[:, -1, 1]

    def numpy(self, x):
        x = x.astype(np.float64)
        return self.gain * x[:, -self.rows :, 0].mean(-1) + 0.1 * x[:, -1, 1]


NETS = (Sum(4, 2.0), Sum(8, 0.5), Sum(1, 5.0))


@pytest.fixture(scope="module")
def made():
    return make(900, T=T, C=C)


@pytest.fixture(scope="module")
def scale(made):
    return fit_scale(made.x, tuple("abc"))


def pipeline(made, scale, nets, combine, fit):
    """Stack, calibrator and the probabilities of numpy alone, float64."""
    y, weight = made.labels["y"].astype(int), made.labels["weight"]
    logits = np.column_stack([net.numpy(scale(made.x)) for net in nets])
    stack = combine(logits, made.ctx, y, weight, CTX_NAMES)
    score = stack(logits, made.ctx)
    calibrator = fit(score, y, weight)
    return stack, calibrator, calibrator(score)


def run(module, *inputs):
    with torch.inference_mode():
        return module(*(torch.from_numpy(np.ascontiguousarray(v)) for v in inputs)).numpy()


@pytest.mark.parametrize("fit", [fit_platt, fit_isotonic])
@pytest.mark.parametrize("combine", [fit_average, fit_stack])
@pytest.mark.parametrize("members", [1, 3])
def test_fused_equals_numpy_alone_and_in_company(made, scale, members, combine, fit):
    stack, calibrator, expected = pipeline(made, scale, NETS[:members], combine, fit)
    fused = FusedGraph(scale, NETS[:members], stack, calibrator)
    many = run(fused, made.x, made.ctx)
    assert many.shape == (900, 1)
    assert many.dtype == np.float32
    print(f"largest difference: {np.abs(many[:, 0] - expected).max():.1e}")
    assert np.abs(many[:, 0] - expected).max() < 1e-5
    assert np.ptp(expected) > 0.5
    for i in (0, 450, 899):
        assert abs(run(fused, made.x[i : i + 1], made.ctx[i : i + 1])[0, 0] - many[i, 0]) < 1e-6


def test_every_net_is_heard_in_its_place(made, scale):
    stack, calibrator, expected = pipeline(made, scale, NETS, fit_stack, fit_platt)
    assert (stack.logit_weight > 0).sum() >= 2
    swapped = run(FusedGraph(scale, NETS[::-1], stack, calibrator), made.x, made.ctx)[:, 0]
    assert np.abs(swapped - expected).max() > 0.05


def test_the_context_is_heard(made, scale):
    stack, calibrator, _ = pipeline(made, scale, NETS[:1], fit_stack, fit_platt)
    fused = FusedGraph(scale, NETS[:1], stack, calibrator)
    assert np.abs(run(fused, made.x, made.ctx) - run(fused, made.x, made.ctx[::-1])).max() > 0.01


def test_stack_layer_equals_the_stack(made, scale):
    stack, _, _ = pipeline(made, scale, NETS, fit_stack, fit_platt)
    logits = np.random.default_rng(0).normal(0, 3, (900, 3)).astype(np.float32)
    assert np.abs(run(StackLayer(stack), logits, made.ctx) - stack(logits, made.ctx)).max() < 1e-5


def test_single_net_is_the_net_through_its_own_line(made, scale):
    line = Platt(0.7, -0.2)
    p = run(SingleNet(scale, NETS[0], line), made.x)
    assert p.shape == (900, 1)
    assert np.abs(p[:, 0] - line(NETS[0].numpy(scale(made.x)))).max() < 1e-6


def test_a_graph_is_for_inference(made, scale):
    stack, calibrator, _ = pipeline(made, scale, NETS[:1], fit_average, fit_platt)
    loud = nn.Sequential(NETS[0], nn.Dropout(0.5))
    for module in (FusedGraph(scale, [loud], stack, calibrator), SingleNet(scale, loud, calibrator)):
        assert not any(part.training for part in module.modules())


def test_a_stack_of_another_size_is_refused(made, scale):
    stack, _, _ = pipeline(made, scale, NETS, fit_average, fit_platt)
    with pytest.raises(InputError, match="2 nets and a stack of 3"):
        FusedGraph(scale, NETS[:2], stack, Isotonic(np.array([0.2, 0.8]), np.array([0.1, 0.9])))
