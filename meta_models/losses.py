"""What the nets are trained to make small: weighted binary cross-entropy, or focal loss."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from feature_repo.errors import InputError

__all__ = ["LOSSES", "Loss", "bce", "focal", "loss_of"]

LOSSES = ("bce", "focal")
_GAMMA_MIN, _GAMMA_MAX = 1.0, 2.0

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(logit [B], y 0/1 [B], weight [B]), all float32 -> scalar."""


def loss_of(name: str, gamma: float = 2.0) -> Loss:
    """The loss of this name; it can be pickled.

    Parameters
    ----------
    name : "bce" or "focal"
    gamma : of the focal loss, in [1, 2]; cross-entropy has none and does not look at it

    Raises
    ------
    InputError
        Another name, or a gamma outside.
    """
    if name not in LOSSES:
        raise InputError(f"loss {name!r}", f"one of: {', '.join(LOSSES)}", "Give one of these names")
    if name == "bce":
        return bce
    if not _GAMMA_MIN <= gamma <= _GAMMA_MAX:
        raise InputError(f"gamma = {gamma}", f"gamma in [{_GAMMA_MIN:g}, {_GAMMA_MAX:g}]", "Give another gamma")
    return partial(focal, gamma=gamma)


def bce(logit: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """Mean of weight x cross-entropy.

    Weights average 1 over the training rows; dividing by the batch's own sum would undo them in small batches.
    """
    return (F.binary_cross_entropy_with_logits(logit, y, reduction="none") * weight).mean()


def focal(logit: Tensor, y: Tensor, weight: Tensor, gamma: float) -> Tensor:
    """Mean of weight x (1 - p_t)^gamma x cross-entropy, p_t the probability given to the class that came.

    What is easily told counts for less. The classes' weights are in ``weight``, where the paper has its alpha. Its
    probabilities lean towards one half; the calibrator after the net turns them back.

    References
    ----------
    Lin, Goyal, Girshick, He, Dollar (2017), Focal Loss for Dense Object Detection, equation 4.
    """
    missed = torch.sigmoid((1.0 - 2.0 * y) * logit)  # 1 - p_t without a difference of nearly equal numbers
    return (missed**gamma * F.binary_cross_entropy_with_logits(logit, y, reduction="none") * weight).mean()
