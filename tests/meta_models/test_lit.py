"""Training of one net: weights, the validation tail, time limit, determinism, silence."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from feature_repo.constants import SECOND_NS
from meta_models.lit import OptimConfig, class_weights, fit_net, predict_logit, validation_tail
from meta_models.nets.tcn import TCN, TCNConfig

CPU = OptimConfig(epochs=2, batch=64, accelerator="cpu")
N = 400
START = np.arange(N) * 60 * SECOND_NS


def samples(seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((N, 20, 3)).astype(np.float32)
    return x, (x[:, -3:, 0].mean(axis=1) > 0).astype(np.int64)


def train(optim=CPU, *, seed=3, max_seconds=60.0, progress=None):
    x, y = samples()
    net = TCNConfig(T=20, C=3, channels=8, dilations=(1, 2))
    end = START + 30 * SECOND_NS
    return fit_net(
        lambda: TCN(net), x, y, np.ones(N), START, end, optim, seed=seed, max_seconds=max_seconds, progress=progress
    )


def test_class_weights_balance_and_average_one():
    y, unique = np.array([1, 0, 0, 0]), np.array([0.5, 1.0, 0.25, 0.25])
    w = class_weights(y, unique)
    assert w.tolist() == pytest.approx([2.0, 4 / 3, 1 / 3, 1 / 3])
    assert w.mean() == pytest.approx(1.0)
    assert w[y == 1].sum() == pytest.approx(w[y == 0].sum())


def test_validation_tail_is_last_in_time_and_purged():
    _, y = samples()
    shuffled = np.random.default_rng(0).permutation(N)
    role = np.empty(N, np.int8)
    role[shuffled] = validation_tail(y[shuffled], START[shuffled], START[shuffled] + 30 * SECOND_NS, CPU)[np.arange(N)]
    assert (role[-60:] == 1).all()
    # 60 s apart, 30 s long, a hole of 360 s: 340 - 1 starts 60 s before the tail; six of them are too near.
    assert (role[-66:-60] == -1).all()
    assert (role[:-66] == 0).all()


def test_no_tail_where_it_would_be_thin_or_the_purge_too_dear():
    _, y = samples()
    assert validation_tail(y[:200], START[:200], START[:200] + 1, CPU) is None  # 30 rows
    assert validation_tail(np.r_[y[:380], np.zeros(20, int)], START, START + 400 * 60 * SECOND_NS, CPU) is None
    assert validation_tail(np.r_[y[:300], np.zeros(100, int)], START, START + 1, CPU) is None  # one class


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


def test_the_best_epoch_is_kept_not_the_last():
    # A learning rate that ruins the net at once: nothing after the first epoch can be better for long.
    result = train(OptimConfig(epochs=6, patience=6, batch=64, lr=0.3, accelerator="cpu"))
    x, y = samples()
    role = validation_tail(y, START, START + 30 * SECOND_NS, CPU)
    tail = role == 1
    logit, w = predict_logit(result.net, x[tail]), class_weights(y[tail], np.ones(tail.sum()))
    loss = np.average(np.logaddexp(0, np.where(y[tail] == 1, -logit, logit)), weights=w)
    assert result.epochs == 6
    assert loss == pytest.approx(result.valid_loss, rel=1e-4)


def test_progress_ends_at_one_and_the_time_limit_is_told():
    seen = []
    whole = train(progress=seen.append)
    assert seen == [0.5, 1.0]
    assert not whole.stopped_by_time
    cut = train(OptimConfig(epochs=50, patience=50, accelerator="cpu"), max_seconds=0.001)
    assert cut.stopped_by_time
    assert cut.epochs == 1


def test_it_learns():
    x, y = samples(1)
    result = train(OptimConfig(epochs=12, batch=32, lr=1e-2, accelerator="cpu"))
    assert ((predict_logit(result.net, x) > 0) == y).mean() > 0.8
