"""The Transformer: its attention, what the newest step is told, and the sizes it takes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from feature_repo.errors import InputError
from meta_models.nets.transformer import Attention, Block, Transformer, TransformerConfig

pytestmark = pytest.mark.slow  # torch alone takes seconds to import


@pytest.fixture
def net() -> Transformer:
    torch.manual_seed(0)
    net = Transformer(TransformerConfig(T=32, C=3)).eval()
    nn.init.normal_(net.head.weight)
    return net


@pytest.mark.parametrize("asking", [1, 7])
def test_attention_is_the_published_one(asking):
    torch.manual_seed(0)
    attention = Attention(width=8, heads=2)
    h = torch.randn(1, 7, 8)
    q, kv, out = (
        (m.weight.detach().numpy().astype(float), m.bias.detach().numpy().astype(float))
        for m in (attention.query, attention.key_value, attention.out)
    )
    rows = h[0].numpy().astype(float)
    query = rows[-asking:] @ q[0].T + q[1]
    key, value = np.split(rows @ kv[0].T + kv[1], 2, axis=1)
    heads = []
    for part in (slice(0, 4), slice(4, 8)):
        score = np.exp(query[:, part] @ key[:, part].T / np.sqrt(4))
        heads.append(score / score.sum(axis=1, keepdims=True) @ value[:, part])
    expected = np.concatenate(heads, axis=1) @ out[0].T + out[1]
    got = attention(h[:, -asking:], h).detach().numpy()
    assert got[0] == pytest.approx(expected, abs=1e-6)


def test_the_newest_step_alone_gets_what_it_gets_in_company():
    torch.manual_seed(0)
    block = Block(width=32, heads=2, dropout=0.1).eval()
    h = torch.randn(4, 32, 32)
    assert torch.allclose(block(h, newest_only=True), block(h, newest_only=False)[:, -1:], atol=1e-6)


def test_the_newest_step_sees_every_other(net):
    x = torch.randn(1, 32, 3, requires_grad=True)
    net(x).sum().backward()
    assert (x.grad[0].abs().sum(dim=1) > 0).all()


@pytest.mark.parametrize("step", [0, 15, 30])
def test_the_order_of_the_steps_counts(net, step):
    x = torch.randn(4, 32, 3)
    swapped = x.clone()
    swapped[:, [step, step - 5 if step else 5]] = x[:, [step - 5 if step else 5, step]]
    assert (net(x) - net(swapped)).abs().min() > 1e-6


def test_windows_do_not_look_at_each_other(net):
    x = torch.randn(6, 32, 3)
    assert torch.allclose(net(x.flip(0)), net(x).flip(0), atol=1e-6)


def test_dropout_only_in_training(net):
    x = torch.randn(6, 32, 3)
    assert torch.equal(net(x), net(x))
    net.train()
    assert not torch.equal(net(x), net(x))


def test_no_stock_encoder_inside():
    kinds = {type(m) for m in Transformer().modules()}
    assert kinds.isdisjoint({nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.MultiheadAttention})
    assert Attention in kinds


@pytest.mark.parametrize("T", [20, 31, 65, 100])
def test_other_lengths_are_refused(T):
    with pytest.raises(InputError, match=r"T in \[32, 64\]"):
        TransformerConfig(T=T)


@pytest.mark.parametrize(
    "bad",
    [
        {"C": 0},
        {"width": 31},
        {"width": 65},
        {"layers": 1},
        {"layers": 4},
        {"heads": 1},
        {"heads": 5},
        {"dropout": 1.0},
    ],
)
def test_other_sizes_are_refused_by_name(bad):
    (name,) = bad
    with pytest.raises(InputError, match=f"{name} = {bad[name]}"):
        TransformerConfig(**bad)


def test_heads_divide_the_width():
    with pytest.raises(InputError, match="width = 32, heads = 3"):
        TransformerConfig(heads=3)
    config = TransformerConfig(T=32, width=48, heads=3, layers=3)
    assert Transformer(config)(torch.zeros(2, 32, 24)).tolist() == [0.0, 0.0]
