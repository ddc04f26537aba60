"""Training of one net: weights, length, learning rate, time limit, determinism, silence."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from meta_models.lit import BinaryLit, OptimConfig, class_weights, epochs_for, fit_net, predict_logit
from meta_models.nets.tcn import TCN, TCNConfig

pytestmark = pytest.mark.slow

CPU = OptimConfig(epochs=2, min_steps=1, batch=64, accelerator="cpu")
N = 400


def samples(seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((N, 20, 3)).astype(np.float32)
    return x, (x[:, -3:, 0].mean(axis=1) > 0).astype(np.int64)


def train(optim=CPU, *, seed=3, max_seconds=60.0, progress=None):
    x, y = samples()
    net = TCNConfig(T=20, C=3, channels=8, dilations=(1, 2))
    return fit_net(lambda: TCN(net), x, y, np.ones(N), optim, seed=seed, max_seconds=max_seconds, progress=progress)


def test_class_weights_balance_and_average_one():
    y, unique = np.array([1, 0, 0, 0]), np.array([0.5, 1.0, 0.25, 0.25])
    w = class_weights(y, unique)
    assert w.tolist() == pytest.approx([2.0, 4 / 3, 1 / 3, 1 / 3])
    assert w.mean() == pytest.approx(1.0)
    assert w[y == 1].sum() == pytest.approx(w[y == 0].sum())


def test_few_rows_get_more_epochs():
    assert [epochs_for(n, OptimConfig()) for n in (1, 128, 129, 1_280, 1_281, 4_000)] == [80, 80, 40, 8, 8, 8]
    assert train(OptimConfig(epochs=2, min_steps=30, batch=64, accelerator="cpu")).epochs == 5  # of 7 batches


def test_learning_rate_rises_to_its_peak_and_ends_at_nothing(monkeypatch):
    seen = []
    step = BinaryLit.training_step

    def watched(self, batch, i):
        seen.append(self.trainer.optimizers[0].param_groups[0]["lr"])
        return step(self, batch, i)

    monkeypatch.setattr(BinaryLit, "training_step", watched)
    train(OptimConfig(epochs=10, batch=64, lr=1e-2, accelerator="cpu"))  # of 7 batches; the peak after 14
    assert len(seen) == 80 // 7 * 7 + 7  # the steps asked for, in whole epochs
    assert np.argmax(seen) == round(0.2 * len(seen)) - 1
    assert max(seen) == pytest.approx(1e-2, rel=1e-3)
    assert seen[0] < 1e-3
    assert seen[-1] < 1e-6


def test_same_seed_same_net_and_the_caller_keeps_his_random_state(capfd):
    torch.manual_seed(11)
    state = torch.get_rng_state()
    threads = torch.get_num_threads()
    a, b, other = train(), train(), train(seed=4)
    x, _ = samples(1)
    assert predict_logit(a.net, x).tolist() == predict_logit(b.net, x).tolist()
    assert predict_logit(a.net, x).tolist() != predict_logit(other.net, x).tolist()
    assert torch.equal(state, torch.get_rng_state())
    assert torch.get_num_threads() == threads
    out = capfd.readouterr()
    assert out.out == ""
    assert out.err == ""


def test_progress_ends_at_one_and_the_time_limit_is_told():
    seen = []
    whole = train(progress=seen.append)
    assert seen == [0.5, 1.0]
    assert not whole.stopped_by_time
    cut = train(OptimConfig(epochs=50, accelerator="cpu"), max_seconds=0.001)
    assert cut.stopped_by_time
    assert cut.epochs == 1


def test_it_learns():
    x, y = samples(1)
    result = train(OptimConfig(epochs=12, batch=32, lr=1e-2, accelerator="cpu"))
    assert ((predict_logit(result.net, x) > 0) == y).mean() > 0.8
