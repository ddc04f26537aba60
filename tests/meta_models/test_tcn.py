"""The net: shapes, causality, and the refusal of windows it was not made for."""

from __future__ import annotations

import pytest
import torch

from feature_repo.errors import InputError
from meta_models import TCN
from meta_models.nets.tcn import TCNConfig

pytestmark = pytest.mark.slow  # torch alone takes seconds to import


def test_one_logit_a_window():
    net = TCN(TCNConfig()).eval()
    assert net(torch.randn(5, 64, 24)).shape == (5,)
    assert net(torch.zeros(1, 64, 24)).tolist() == [0.0]  # untrained: even odds


@pytest.mark.parametrize("step", [0, 7, 19])
def test_no_step_sees_a_later_one(step):
    torch.manual_seed(0)
    net = TCN(TCNConfig(T=20, C=3, channels=8)).eval()
    x = torch.randn(4, 20, 3)
    changed = x.clone()
    changed[:, step:] += 10.0
    before, after = net.features(x), net.features(changed)
    assert torch.equal(before[:, :, :step], after[:, :, :step])
    assert not torch.equal(before[:, :, step], after[:, :, step])


def test_the_newest_step_sees_61_windows_back_and_no_further():
    torch.manual_seed(0)
    net = TCN(TCNConfig(T=100, C=2, channels=8)).eval()
    x = torch.randn(1, 100, 2, requires_grad=True)
    net.features(x)[0, :, -1].sum().backward()
    reached = x.grad[0].abs().sum(dim=1) > 0
    assert reached.nonzero().min().item() >= 100 - 61
    assert reached[40:].any()


@pytest.mark.parametrize("T", [19, 101])
def test_other_lengths_are_refused(T):
    with pytest.raises(InputError, match=r"\[20, 100\]"):
        TCNConfig(T=T)


@pytest.mark.parametrize("bad", [{"channels": 0}, {"dilations": ()}, {"dropout": 1.0}, {"C": 0}, {"kernel": 0}])
def test_impossible_shapes_are_refused(bad):
    with pytest.raises(InputError):
        TCNConfig(**bad)


@pytest.mark.parametrize("shape", [(2, 63, 24), (2, 64, 23), (64, 24)])
def test_a_window_of_another_shape_is_refused(shape):
    with pytest.raises(InputError, match="T=64, C=24"):
        TCN()(torch.zeros(shape))
