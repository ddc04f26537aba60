"""What every net keeps: one logit a window, even odds untrained, same bits under a seed, same answer in ONNX."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import FrozenInstanceError

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from feature_repo.errors import InputError
from meta_models.lit import OptimConfig, fit_net
from meta_models.nets.linear import Linear, LinearConfig
from meta_models.nets.lstm import LSTM, LSTMConfig
from meta_models.nets.tcn import TCN, TCNConfig
from meta_models.nets.transformer import Transformer, TransformerConfig
from meta_models.normalise import fit_scale
from meta_models.predict import predict_logit
from tests.meta_models.learnable import make

pytestmark = pytest.mark.slow

KINDS = {
    "tcn": (TCNConfig, TCN),
    "transformer": (TransformerConfig, Transformer),
    "lstm": (LSTMConfig, LSTM),
    "linear": (LinearConfig, Linear),
}
every_net = pytest.mark.parametrize("name", KINDS)
T, C, TRAIN = 32, 3, 800


def small(name: str) -> nn.Module:
    config, net = KINDS[name]
    return net(config(T=T, C=C))


def awake(make_net: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """As after a training: the head says something."""
    torch.manual_seed(seed)
    net = make_net()
    nn.init.normal_(net.head.weight, std=0.3)
    nn.init.normal_(net.head.bias)
    return net.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def made():
    samples = make(1_200, T=T, C=C, strength=6.0, seed=5)
    names = tuple(map(str, range(C)))
    return fit_scale(samples.x[:TRAIN], names)(samples.x), samples.labels["y"].astype(int), samples.truth


@every_net
def test_one_logit_a_window_whatever_the_batch(name):
    config, kind = KINDS[name]
    assert (config().T, config().C) == (64, 24)
    net = awake(kind)
    x = torch.randn(5, 64, 24)
    many = net(x)
    assert many.shape == (5,)
    assert many.dtype == torch.float32
    one = net(x[2:3])
    assert one.shape == (1,)
    assert (one[0] - many[2]).abs() <= 1e-6
    assert many.std() > 0.01


@every_net
def test_untrained_is_even_odds(name):
    _, kind = KINDS[name]
    assert kind()(8 * torch.randn(3, 64, 24)).tolist() == [0.0, 0.0, 0.0]


@every_net
@pytest.mark.parametrize("shape", [(2, T - 1, C), (2, T, C + 1), (T, C), (2, C, T)])
def test_a_window_of_another_shape_is_refused(name, shape):
    with pytest.raises(InputError, match=rf"\[N, T={T}, C={C}\]"):
        small(name)(torch.zeros(shape))


@every_net
def test_a_config_cannot_be_changed(name):
    config = KINDS[name][0]()
    with pytest.raises(FrozenInstanceError):
        config.T = 32
    assert not hasattr(config, "__dict__")
    assert config == KINDS[name][0]()


@every_net
@pytest.mark.parametrize("T", [19, 101])
def test_no_net_takes_other_lengths(name, T):
    with pytest.raises(InputError, match=f"T = {T} windows"):
        KINDS[name][0](T=T)


@every_net
def test_onnx_and_torchscript_say_what_torch_says(name):
    net = awake(KINDS[name][1])
    x = torch.randn(300, 64, 24)
    buffer = io.BytesIO()
    axes = {"x": {0: "N"}, "logit": {0: "N"}}
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the exporter recommends its successor
        torch.onnx.export(
            net, (x[:2],), buffer, dynamo=False, opset_version=17,
            input_names=["x"], output_names=["logit"], dynamic_axes=axes,
        )  # fmt: skip
        traced = torch.jit.trace(net, x[:2])
    model = onnx.load_from_string(buffer.getvalue())
    onnx.checker.check_model(model, full_check=True)
    assert [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")] == [17]
    session = ort.InferenceSession(buffer.getvalue())
    for rows in (1, 3, 300):
        with torch.inference_mode():
            p, script = torch.sigmoid(net(x[:rows])), torch.sigmoid(traced(x[:rows]))
        (logit,) = session.run(["logit"], {"x": x[:rows].numpy()})
        assert logit.shape == (rows,)
        diff = (torch.sigmoid(torch.from_numpy(logit)) - p).abs().max().item()
        print(f"largest difference, {name}, {rows} rows: {diff:.1e}")
        assert diff <= 1e-6
        assert (script - p).abs().max() <= 1e-6
    assert p.std() > 0.01


@every_net
def test_same_seed_same_bits(name, made):
    x, y, _ = made
    optim = OptimConfig(epochs=1, min_steps=1, batch=64, lr=1e-2, accelerator="cpu")

    def train(seed):
        result = fit_net(lambda: small(name), x[:128], y[:128], np.ones(128), optim, seed=seed, max_seconds=60)
        return predict_logit(result.net, x[128:200]).tolist()

    first = train(3)
    assert train(3) == first
    assert train(4) != first


@every_net
def test_it_learns_a_made_up_signal(name, made):
    x, y, truth = made
    optim = OptimConfig(epochs=10, min_steps=1, batch=64, lr=5e-3, accelerator="cpu")
    net = fit_net(lambda: small(name), x[:TRAIN], y[:TRAIN], np.ones(TRAIN), optim, seed=1, max_seconds=600).net
    learnt, best = (roc_auc_score(y[TRAIN:], p) for p in (predict_logit(net, x[TRAIN:]), truth[TRAIN:]))
    print(f"{name}: AUC {learnt:.3f}, of the truth {best:.3f}")
    assert learnt > best - 0.1
