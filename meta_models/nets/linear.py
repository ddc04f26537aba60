"""The logistic baseline as a net: linear on the columns of the window that the baseline sees."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np
import torch
from torch import Tensor, nn

from feature_repo.constants import MODEL
from feature_repo.errors import InputError

from ..baseline import flat_weights
from ..normalise import Scale
from .window import check_length, check_sizes, check_window

__all__ = ["Linear", "LinearConfig"]


@dataclass(frozen=True, slots=True)
class LinearConfig:
    """Shape of the net; T in [20, 100]."""

    T: int = MODEL.T
    C: int = MODEL.C

    def __post_init__(self) -> None:
        check_length(self.T)
        check_sizes(C=(self.C, 1, inf))


class Linear(nn.Module):
    """Normalised windows to one logit: fixed means over time, R a channel, then one weight a column.

    Parameters
    ----------
    config : LinearConfig

    Notes
    -----
    ``forward``: float32 [N, T, C], normalised and finite, oldest step first -> logit float32 [N].
    The columns are those of `meta_models.baseline.flatten`.
    """

    def __init__(self, config: LinearConfig | None = None) -> None:
        super().__init__()
        self.config = config or LinearConfig()
        over_time = torch.from_numpy(flat_weights(self.config.T))  # [R, T]
        self.register_buffer("over_time", over_time, persistent=False)
        self.head = nn.Linear(len(over_time) * self.config.C, 1)
        nn.init.zeros_(self.head.weight)  # the untrained net says "even odds", whatever it is shown
        nn.init.zeros_(self.head.bias)

    @classmethod
    def fitted(cls, config: LinearConfig, scale: Scale, coef: np.ndarray, intercept: float) -> Linear:
        """The net with the numbers of a fitted logistic regression, in eval mode.

        Parameters
        ----------
        scale, coef, intercept : as `meta_models.baseline.fit_logistic` gives them for the columns of normalised
            windows; coef float [R x C], row-major. The scale cuts nothing and is multiplied in.

        Raises
        ------
        InputError
            Another number of coefficients, values that are not finite, or a scale that cuts.
        """
        net = cls(config).requires_grad_(False).eval()
        coef, columns = np.asarray(coef, np.float64), net.head.in_features
        fits = coef.shape == scale.mean.shape == scale.scale.shape == (columns,) and scale.clip == inf
        if not (fits and np.isfinite([*coef, intercept]).all()):
            raise InputError(
                f"coefficients of shape {coef.shape}, an intercept of {intercept} and a scale of shape "
                f"{scale.mean.shape} that cuts at {scale.clip}",
                f"finite numbers, {columns} of them for T={config.T}, C={config.C}, and a scale without a cut",
                "Use what meta_models.baseline.fit_logistic gives for windows of that shape",
            )
        weight = coef / scale.scale
        net.head.weight.copy_(torch.from_numpy(weight))
        net.head.bias.fill_(float(intercept - weight @ scale.mean))
        return net

    def forward(self, x: Tensor) -> Tensor:
        check_window(x, self.config.T, self.config.C)
        columns = (self.over_time @ x).flatten(1)  # [R, T] @ [N, T, C] -> [N, R, C] -> [N, R x C]
        return self.head(columns).squeeze(-1)  # [N, R x C] -> [N, 1] -> [N]
