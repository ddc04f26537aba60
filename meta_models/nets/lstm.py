"""Long short-term memory: one pass over the last T microwindows, read at the newest."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from torch import Tensor, nn

from feature_repo.constants import MODEL

from .window import check_dropout, check_length, check_sizes, check_window

__all__ = ["LSTM", "LSTMConfig"]


@dataclass(frozen=True, slots=True)
class LSTMConfig:
    """Shape of the net; T in [20, 100]."""

    T: int = MODEL.T
    C: int = MODEL.C
    hidden: int = 32
    layers: int = 1
    dropout: float = 0.1

    def __post_init__(self) -> None:
        check_length(self.T)
        check_sizes(C=(self.C, 1, inf), hidden=(self.hidden, 32, 64), layers=(self.layers, 1, 2))
        check_dropout(self.dropout)


class LSTM(nn.Module):
    """Normalised windows to one logit.

    Parameters
    ----------
    config : LSTMConfig

    Notes
    -----
    ``forward``: float32 [N, T, C], normalised and finite, oldest step first -> logit float32 [N].

    References
    ----------
    Hochreiter, Schmidhuber (1997), Long Short-Term Memory; forget gates open at the start: Jozefowicz, Zaremba,
    Sutskever (2015), An Empirical Exploration of Recurrent Network Architectures.
    """

    def __init__(self, config: LSTMConfig | None = None) -> None:
        super().__init__()
        self.config = config or LSTMConfig()
        c = self.config
        between = c.dropout if c.layers > 1 else 0.0
        self.lstm = nn.LSTM(c.C, c.hidden, c.layers, batch_first=True, dropout=between)
        for layer in range(c.layers):
            bias = getattr(self.lstm, f"bias_ih_l{layer}")  # gates i, f, g, o
            nn.init.ones_(bias.data[c.hidden : 2 * c.hidden])
        self.drop = nn.Dropout(c.dropout)
        self.head = nn.Linear(c.hidden, 1)
        nn.init.zeros_(self.head.weight)  # the untrained net says "even odds", whatever it is shown
        nn.init.zeros_(self.head.bias)

    def features(self, x: Tensor) -> Tensor:
        """What each step remembers: float32 [N, T, C] -> [N, T, hidden]; step t depends on steps <= t only."""
        check_window(x, self.config.T, self.config.C)
        return self.lstm(x)[0]  # [N, T, C] -> [N, T, hidden]; it begins with nothing in memory

    def forward(self, x: Tensor) -> Tensor:
        newest = self.features(x)[:, -1]  # [N, T, hidden] -> [N, hidden]
        return self.head(self.drop(newest)).squeeze(-1)  # [N, hidden] -> [N, 1] -> [N]
