"""The fused torch module: normaliser, nets, stack and calibrator as one function of (x, ctx)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from feature_repo.errors import InputError

from .calibrators import Isotonic, Platt
from .normalise import Scale
from .stack import Stack

__all__ = ["FusedGraph", "IsotonicLayer", "PlattLayer", "ScaleLayer", "SingleNet", "StackLayer", "calibrator_layer"]


class ScaleLayer(nn.Module):
    """`Scale` as tensor operations: float32 [..., C] -> float32 [..., C]."""

    def __init__(self, scale: Scale) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(scale.mean))
        self.register_buffer("scale", torch.tensor(scale.scale))
        self.clip = float(scale.clip)

    def forward(self, x: Tensor) -> Tensor:
        return torch.clamp((x - self.mean) / self.scale, -self.clip, self.clip)


class StackLayer(nn.Module):
    """`Stack`: logits [N, M], ctx [N, 8] -> score [N]."""

    def __init__(self, stack: Stack) -> None:
        super().__init__()
        self.ctx_scale = ScaleLayer(stack.ctx_scale)
        self.register_buffer("ctx_weight", _float32(stack.ctx_weight))
        self.register_buffer("logit_weight", _float32(stack.logit_weight))
        self.register_buffer("bias", _float32(stack.bias))

    def forward(self, logits: Tensor, ctx: Tensor) -> Tensor:
        # Sums of products, not a matrix product: the same order of additions for a batch of one and of many.
        nets, context = (logits * self.logit_weight).sum(-1), (self.ctx_scale(ctx) * self.ctx_weight).sum(-1)
        return nets + context + self.bias  # [N]


class PlattLayer(nn.Module):
    """`Platt`: score [N] -> p [N]."""

    def __init__(self, platt: Platt) -> None:
        super().__init__()
        self.register_buffer("slope", _float32(platt.slope))
        self.register_buffer("offset", _float32(platt.offset))

    def forward(self, score: Tensor) -> Tensor:
        return torch.sigmoid(self.slope * score + self.offset)


class IsotonicLayer(nn.Module):
    """`Isotonic`: score [N] -> p [N]; the sum of K - 1 ramps is the broken line through K knots."""

    def __init__(self, isotonic: Isotonic) -> None:
        super().__init__()
        x, y = isotonic.x, isotonic.y
        if len(x) == 1:  # a constant; onnxruntime cannot add up a row of no ramps
            x, y = np.append(x, x[0] + 1.0), np.append(y, y[0])
        self.register_buffer("start", _float32(y[0]))
        self.register_buffer("x", _float32(x[:-1]))
        self.register_buffer("dx", _float32(np.diff(x)))
        self.register_buffer("slope", _float32(np.diff(y) / np.diff(x)))

    def forward(self, score: Tensor) -> Tensor:
        p = torch.sigmoid(score).unsqueeze(-1)  # [N] -> [N, 1]
        ramps = torch.minimum(torch.relu(p - self.x), self.dx) * self.slope  # [N, K - 1]
        return self.start + ramps.sum(-1)  # [N]


def calibrator_layer(calibrator: Platt | Isotonic) -> nn.Module:
    """The layer of either calibrator."""
    return PlattLayer(calibrator) if isinstance(calibrator, Platt) else IsotonicLayer(calibrator)


class FusedGraph(nn.Module):
    """Side-aligned raw windows and context to a calibrated probability.

    ``forward``: x float32 [N, T, C], ctx float32 [N, 8] -> p float32 [N, 1]. The windows are normalised once; every net
    sees the same ones. A net to which the stack gives no weight still runs: the graph is what was trained and judged.

    Parameters
    ----------
    scale : of the windows' channels
    nets : M modules, normalised float32 [N, T, C] -> logit [N], in the order of ``stack.logit_weight``
    stack : of M members
    calibrator : Platt or Isotonic

    Raises
    ------
    InputError
        When the stack weighs another number of nets.
    """

    def __init__(self, scale: Scale, nets: Sequence[nn.Module], stack: Stack, calibrator: Platt | Isotonic) -> None:
        super().__init__()
        if len(nets) != len(stack.logit_weight):
            raise InputError(
                f"{len(nets)} nets and a stack of {len(stack.logit_weight)}",
                "as many nets as the stack weighs",
                "Pass the nets that the stack was fitted on, in its order",
            )
        self.scale = ScaleLayer(scale)
        self.nets = nn.ModuleList(nets)
        self.stack = StackLayer(stack)
        self.calibrator = calibrator_layer(calibrator)
        self.eval()

    def forward(self, x: Tensor, ctx: Tensor) -> Tensor:
        scaled = self.scale(x)
        logits = torch.stack([net(scaled) for net in self.nets], dim=-1)  # M x [N, T, C] -> [N, M]
        return self.calibrator(self.stack(logits, ctx)).unsqueeze(-1)  # [N] -> [N, 1]


class SingleNet(nn.Module):
    """One net on its own, through its own Platt line: x float32 [N, T, C] -> p float32 [N, 1]."""

    def __init__(self, scale: Scale, net: nn.Module, platt: Platt) -> None:
        super().__init__()
        self.scale = ScaleLayer(scale)
        self.net = net
        self.platt = PlattLayer(platt)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.platt(self.net(self.scale(x))).unsqueeze(-1)  # [N, T, C] -> [N] -> [N, 1]


def _float32(values: np.ndarray | float) -> Tensor:
    return torch.tensor(np.asarray(values, np.float32))
