"""Transformer: attention over the last T microwindows, asked by the newest."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from feature_repo.constants import MODEL
from feature_repo.errors import InputError

from .window import check_dropout, check_length, check_sizes, check_window

__all__ = ["Transformer", "TransformerConfig"]


@dataclass(frozen=True, slots=True)
class TransformerConfig:
    """Shape of the net; T in [32, 64]. The layer between two attentions is twice as wide as the net."""

    T: int = MODEL.T
    C: int = MODEL.C
    width: int = 32
    layers: int = 2
    heads: int = 2
    dropout: float = 0.1

    def __post_init__(self) -> None:
        check_length(self.T, 32, 64)
        check_sizes(
            C=(self.C, 1, inf), width=(self.width, 32, 64), layers=(self.layers, 2, 3), heads=(self.heads, 2, 4)
        )
        if self.width % self.heads:
            raise InputError(
                f"width = {self.width}, heads = {self.heads}",
                "a width that the heads divide",
                "Correct the net's configuration",
            )
        check_dropout(self.dropout)


class Attention(nn.Module):
    """Scaled dot products between some steps that ask and all steps that answer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, asking: Tensor, all_steps: Tensor) -> Tensor:
        q = self._split(self.query(asking))  # [N, Q, width] -> [N, heads, Q, width / heads]
        k, v = self.key_value(all_steps).chunk(2, dim=-1)  # [N, T, 2 width] -> twice [N, T, width]
        h = F.scaled_dot_product_attention(q, self._split(k), self._split(v))  # [N, heads, Q, width / heads]
        return self.out(h.transpose(1, 2).flatten(2))  # -> [N, Q, heads, width / heads] -> [N, Q, width]

    def _split(self, h: Tensor) -> Tensor:
        return h.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [N, Q, width] -> [N, heads, Q, width / heads]


class Block(nn.Module):
    """Attention, then two linear layers, each normalised before and added to what it was given."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.drop = nn.Dropout(dropout)

    def forward(self, h: Tensor, newest_only: bool) -> Tensor:
        normed = self.norm1(h)  # [N, T, width]
        if newest_only:
            h, asking = h[:, -1:], normed[:, -1:]  # [N, 1, width]
        else:
            asking = normed
        h = h + self.drop(self.attention(asking, normed))  # [N, Q, width], Q = 1 or T
        return h + self.drop(self.mlp(self.norm2(h)))  # [N, Q, width]


class Transformer(nn.Module):
    """Normalised windows to one logit.

    Nothing is masked: the whole window lies in the past. The last layer is asked by the newest step alone, as only that
    one is read; the other steps of that layer would be thrown away.

    Parameters
    ----------
    config : TransformerConfig

    Notes
    -----
    ``forward``: float32 [N, T, C], normalised and finite, oldest step first -> logit float32 [N].

    References
    ----------
    Vaswani et al. (2017), Attention Is All You Need; normalised before each layer: Xiong et al. (2020), On Layer
    Normalization in the Transformer Architecture.
    """

    def __init__(self, config: TransformerConfig | None = None) -> None:
        super().__init__()
        self.config = config or TransformerConfig()
        c = self.config
        self.embed = nn.Linear(c.C, c.width)
        self.position = nn.Parameter(torch.empty(c.T, c.width))
        nn.init.normal_(self.position, std=0.5)  # as large as an embedded step: drowned, it learns late what is new
        self.blocks = nn.ModuleList(Block(c.width, c.heads, c.dropout) for _ in range(c.layers))
        self.norm = nn.LayerNorm(c.width)
        self.head = nn.Linear(c.width, 1)
        nn.init.zeros_(self.head.weight)  # the untrained net says "even odds", whatever it is shown
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        check_window(x, self.config.T, self.config.C)
        h = self.embed(x) + self.position  # [N, T, C] -> [N, T, width]
        for block in self.blocks[:-1]:
            h = block(h, newest_only=False)  # [N, T, width]
        h = self.blocks[-1](h, newest_only=True)  # [N, T, width] -> [N, 1, width]
        return self.head(self.norm(h)).flatten()  # [N, 1, width] -> [N, 1, 1] -> [N]
