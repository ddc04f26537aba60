"""Temporal convolutional network: causal dilated convolutions over the last T microwindows."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from feature_repo.constants import MODEL
from feature_repo.errors import InputError

from .window import check_dropout, check_length, check_window

__all__ = ["TCN", "TCNConfig"]


@dataclass(frozen=True, slots=True)
class TCNConfig:
    """Shape of the net. Two convolutions a block: the last step sees 1 + 2 (kernel - 1) sum(dilations) = 61 windows."""

    T: int = MODEL.T
    C: int = MODEL.C
    channels: int = 32
    kernel: int = 3
    dilations: tuple[int, ...] = (1, 2, 4, 8)
    dropout: float = 0.1

    def __post_init__(self) -> None:
        check_length(self.T)
        if self.C < 1 or self.channels < 1 or self.kernel < 1 or not self.dilations:
            raise InputError(
                f"C = {self.C}, channels = {self.channels}, kernel = {self.kernel}, dilations = {self.dilations}",
                "positive sizes and at least one dilation",
                "Correct the net's configuration",
            )
        check_dropout(self.dropout)


class CausalConv(nn.Module):
    """Convolution that pads on the left only: step t sees t and what came before it."""

    def __init__(self, c_in: int, c_out: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.pad = (kernel - 1) * dilation
        # Two-dimensional with a height of one: on a CPU it runs on the window as it lies in memory, 2.5 x Conv1d.
        self.conv = nn.Conv2d(c_in, c_out, (1, kernel), dilation=(1, dilation))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (self.pad, 0)))  # [N, c_in, 1, T] -> [N, c_out, 1, T]


class Block(nn.Module):
    """Two causal convolutions and a shortcut."""

    def __init__(self, c_in: int, c_out: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = CausalConv(c_in, c_out, kernel, dilation)
        self.conv2 = CausalConv(c_out, c_out, kernel, dilation)
        self.drop = nn.Dropout2d(dropout)  # whole channels, as in the paper; its mask costs nothing
        self.shortcut = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.drop(F.relu(self.conv1(x)))  # [N, c_in, 1, T] -> [N, c_out, 1, T]
        h = self.drop(F.relu(self.conv2(h)))  # [N, c_out, 1, T]
        return F.relu(h + self.shortcut(x))  # [N, c_out, 1, T]


class TCN(nn.Module):
    """Normalised windows to one logit.

    Parameters
    ----------
    config : TCNConfig

    Notes
    -----
    ``forward``: float32 [N, T, C], normalised and finite, oldest step first -> logit float32 [N].

    References
    ----------
    Bai, Kolter, Koltun (2018), An Empirical Evaluation of Generic Convolutional and Recurrent Networks.
    """

    def __init__(self, config: TCNConfig | None = None) -> None:
        super().__init__()
        self.config = config or TCNConfig()
        c = self.config
        widths = (c.C, *(c.channels for _ in c.dilations))
        self.blocks = nn.Sequential(
            *(Block(widths[i], widths[i + 1], c.kernel, d, c.dropout) for i, d in enumerate(c.dilations))
        )
        self.head = nn.Linear(c.channels, 1)
        nn.init.zeros_(self.head.weight)  # the untrained net says "even odds", whatever it is shown
        nn.init.zeros_(self.head.bias)

    def features(self, x: Tensor) -> Tensor:
        """What each step has gathered: float32 [N, T, C] -> [N, channels, T]; step t depends on steps <= t only."""
        check_window(x, self.config.T, self.config.C)
        h = x.unsqueeze(1).permute(0, 3, 1, 2)  # [N, T, C] -> [N, 1, T, C] -> [N, C, 1, T], channels last for free
        return self.blocks(h).squeeze(2)  # [N, channels, 1, T] -> [N, channels, T]

    def forward(self, x: Tensor) -> Tensor:
        h = self.features(x)  # [N, channels, T]
        return self.head(h[:, :, -1]).squeeze(-1)  # the newest step: [N, channels] -> [N, 1] -> [N]
