"""The LSTM: what a step may see, what it computes, and the sizes it takes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from feature_repo.errors import InputError
from meta_models.nets.lstm import LSTM, LSTMConfig

pytestmark = pytest.mark.slow  # torch alone takes seconds to import

SMALL = LSTMConfig(T=20, C=3)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("step", [0, 7, 19])
def test_no_step_sees_a_later_one(step, layers):
    torch.manual_seed(0)
    net = LSTM(LSTMConfig(T=20, C=3, layers=layers)).eval()
    x = torch.randn(4, 20, 3)
    changed = x.clone()
    changed[:, step:] += 10.0
    before, after = net.features(x), net.features(changed)
    assert before.shape == (4, 20, 32)
    assert torch.equal(before[:, :step], after[:, :step])
    assert not torch.equal(before[:, step], after[:, step])


def test_the_newest_step_is_read_and_remembers_the_oldest():
    torch.manual_seed(0)
    net = LSTM(LSTMConfig(T=100, C=2)).eval()
    torch.nn.init.ones_(net.head.weight)
    x = torch.randn(1, 100, 2, requires_grad=True)
    net(x).sum().backward()
    assert torch.allclose(net(x), net.features(x)[:, -1].sum(dim=1))
    assert (x.grad[0].abs().sum(dim=1) > 0).all()


def test_it_computes_the_published_recurrence():
    torch.manual_seed(0)
    net = LSTM(SMALL).eval()
    x = torch.randn(2, 20, 3)
    lstm = {k: v.detach().numpy().astype(float) for k, v in net.lstm.named_parameters()}

    def squash(z):
        return 1 / (1 + np.exp(-z))

    h = c = np.zeros((2, 32))
    for step in range(20):
        gates = x[:, step].numpy() @ lstm["weight_ih_l0"].T + lstm["bias_ih_l0"]
        i, f, g, o = np.split(gates + h @ lstm["weight_hh_l0"].T + lstm["bias_hh_l0"], 4, axis=1)
        c = squash(f) * c + squash(i) * np.tanh(g)
        h = squash(o) * np.tanh(c)
        assert net.features(x)[:, step].detach().numpy() == pytest.approx(h, abs=1e-6)


def test_forget_gates_are_open_at_the_start():
    net = LSTM(LSTMConfig(layers=2))
    for layer in range(2):
        bias = getattr(net.lstm, f"bias_ih_l{layer}").detach()
        assert (bias[32:64] == 1.0).all()
        assert (bias[:32].abs() < 0.2).all()
        assert (bias[64:].abs() < 0.2).all()


def test_windows_do_not_look_at_each_other():
    torch.manual_seed(0)
    net = LSTM(SMALL).eval()
    torch.nn.init.ones_(net.head.weight)
    x = torch.randn(6, 20, 3)
    assert torch.allclose(net(x.flip(0)), net(x).flip(0), atol=1e-6)


def test_dropout_only_in_training():
    torch.manual_seed(0)
    net = LSTM(LSTMConfig(T=20, C=3, dropout=0.5))
    torch.nn.init.ones_(net.head.weight)
    x = torch.randn(6, 20, 3)
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert torch.equal(net(x), net(x))


@pytest.mark.parametrize(
    "bad", [{"C": 0}, {"hidden": 31}, {"hidden": 65}, {"layers": 0}, {"layers": 3}, {"dropout": 1.0}, {"dropout": -0.1}]
)
def test_other_sizes_are_refused_by_name(bad):
    (name,) = bad
    with pytest.raises(InputError, match=f"{name} = {bad[name]}"):
        LSTMConfig(**bad)


@pytest.mark.parametrize("good", [{"hidden": 64, "layers": 2}, {"T": 20}, {"T": 100}, {"dropout": 0.0}])
def test_the_bounds_themselves_are_taken(good):
    config = LSTMConfig(**good)
    assert LSTM(config)(torch.zeros(1, config.T, config.C)).tolist() == [0.0]
