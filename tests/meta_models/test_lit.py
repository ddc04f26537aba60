"""Training of one net: weights, length, learning rate, time limit, determinism, silence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from meta_models import watch
from meta_models.lit import BinaryLit, OptimConfig, class_weights, epochs_for, fit_net, hide_channels
from meta_models.nets.tcn import TCN, TCNConfig
from meta_models.predict import predict_logit

pytestmark = pytest.mark.slow

CPU = OptimConfig(epochs=2, min_steps=1, batch=64, accelerator="cpu")
N = 400


def samples(seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((N, 20, 3)).astype(np.float32)
    return x, (x[:, -3:, 0].mean(axis=1) > 0).astype(np.int64)


def train(optim=CPU, *, seed=3, max_seconds=60.0, **more):
    x, y = samples()
    net = TCNConfig(T=20, C=3, channels=8, dilations=(1, 2), dropout=0.3)
    return fit_net(lambda: TCN(net), x, y, np.ones(N), optim, seed=seed, max_seconds=max_seconds, **more)


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


def test_a_limit_that_the_last_epoch_reaches_has_cut_nothing_off():
    whole = train(OptimConfig(epochs=1, min_steps=1, batch=64, accelerator="cpu"), max_seconds=0.001)
    assert whole.epochs == 1
    assert not whole.stopped_by_time


def test_it_learns():
    x, y = samples(1)
    result = train(OptimConfig(epochs=12, batch=32, lr=1e-2, accelerator="cpu"))
    assert ((predict_logit(result.net, x) > 0) == y).mean() > 0.8


def test_hidden_channels_are_hidden_at_every_step_and_the_rest_is_scaled_up():
    torch.manual_seed(0)
    x = 1.0 + torch.rand(500, 6, 24)
    kept = (hide_channels(x, 0.25) / x).round(decimals=4)
    assert torch.equal(kept, kept[:, :1].expand_as(kept))
    assert kept.unique().tolist() == pytest.approx([0.0, 1.3333])
    assert (kept[:, 0] == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert (kept[:, 0] == 0).sum(dim=1).unique().numel() > 3  # each window has its own
    assert torch.equal(hide_channels(x, 0.0), x)


def test_channels_are_hidden_from_the_net_in_training_and_never_afterwards():
    x, _ = samples(1)
    shown = replace(CPU, channel_dropout=0.0)
    assert not np.array_equal(predict_logit(train(shown).net, x), predict_logit(train().net, x))
    net = train().net
    assert np.array_equal(predict_logit(net, x), predict_logit(net, x))


def test_watched_rows_are_predicted_after_each_epoch_and_change_nothing():
    x, _ = samples(1)
    plain, watched = train(), train(watch=x[:50], keep=True)
    assert plain.watched.shape == (2, 0)
    assert plain.states == ()
    assert watched.watched.shape == (2, 50)
    assert not np.array_equal(watched.watched[0], watched.watched[1])
    np.testing.assert_array_equal(watched.watched[-1], predict_logit(watched.net, x[:50]).astype(np.float32))
    for net in (plain.net, watched.net):
        assert all(torch.equal(v, watched.states[-1][k]) for k, v in net.state_dict().items())
    assert any(not torch.equal(v, watched.states[0][k]) for k, v in plain.net.state_dict().items())


class Killed(Exception):
    pass


@pytest.mark.parametrize("after", [1, 3, 5])
def test_a_fit_that_was_stopped_goes_on_and_ends_with_the_same_bits(after, tmp_path, monkeypatch):
    monkeypatch.setattr(watch, "CHECKPOINT_S", 0.0)
    six = OptimConfig(epochs=6, min_steps=1, batch=64, accelerator="cpu")
    x, _ = samples(1)
    file = tmp_path / "fit.ckpt"
    done = []

    def kill(fraction):
        done.append(fraction)
        if len(done) == after:
            raise Killed

    with pytest.raises(Killed):
        train(six, watch=x[:50], keep=True, checkpoint=file, progress=kill)
    seen = []
    went_on = train(six, watch=x[:50], keep=True, checkpoint=file, progress=seen.append)
    whole = train(six, watch=x[:50], keep=True)
    assert len(seen) == 6 - after  # the epochs that were done are not done again
    assert went_on.epochs == 6
    np.testing.assert_array_equal(went_on.watched, whole.watched)
    assert all(torch.equal(v, whole.net.state_dict()[k]) for k, v in went_on.net.state_dict().items())


def test_a_short_fit_writes_no_checkpoint(tmp_path):
    train(checkpoint=tmp_path / "fit.ckpt")
    assert list(tmp_path.iterdir()) == []


def test_focal_loss_is_another_fit():
    focal = OptimConfig(epochs=2, min_steps=1, batch=64, accelerator="cpu", loss="focal", gamma=2.0)
    x, _ = samples(1)
    assert not np.allclose(predict_logit(train(focal).net, x), predict_logit(train().net, x))
