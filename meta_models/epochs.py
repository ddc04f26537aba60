"""When to stop: one epoch for all nets of a member in a span, by the loss on purged rows they were not trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .calibrators import fit_platt

__all__ = ["Epochs", "choose_epoch"]


@dataclass(frozen=True, slots=True)
class Epochs:
    """Which epoch was taken.

    Attributes
    ----------
    chosen : counted from 1
    planned : how many were run
    loss : weighted log loss of the watched rows after each epoch, nats
    """

    chosen: int
    planned: int
    loss: tuple[float, ...]


def choose_epoch(watched: np.ndarray, y: np.ndarray, weight: np.ndarray) -> Epochs:
    """The planned end, unless an earlier epoch's out-of-fold log loss is lower by more than its standard error.

    The learning rate falls to nothing at the planned end, so that an epoch in the middle is a noisier net; it is taken
    only where the rest of the way shows as overfitting (the one-standard-error rule, in favour of the plan).

    The logits of all inner nets after an epoch go through one Platt line first: what counts is how they rank and how
    well the nets' scales agree, not how bold they are, which the calibrator mends anyhow.

    Parameters
    ----------
    watched : float [E, N], logits of each row by the net that was not trained on it
    y : 0/1 [N]
    weight : float [N]; their sum is the effective sample

    References
    ----------
    Breiman, Friedman, Olshen, Stone (1984), Classification and Regression Trees, 3.4.3 (one standard error).
    """
    truth, weight = np.asarray(y, float), np.asarray(weight, float)
    loss = np.stack([_losses(logit, truth, weight) for logit in np.asarray(watched, float)])  # [E, N]
    mean = loss @ weight / weight.sum()
    best, last = int(np.argmin(mean)), len(mean) - 1
    worse = loss[last] - loss[best]
    error = np.sqrt(np.average((worse - worse @ weight / weight.sum()) ** 2, weights=weight) / weight.sum())
    chosen = best if mean[last] - mean[best] > error else last
    return Epochs(chosen + 1, len(mean), tuple(mean.tolist()))


def _losses(logit: np.ndarray, truth: np.ndarray, weight: np.ndarray) -> np.ndarray:
    p = np.clip(fit_platt(logit, truth, weight)(logit), 1e-7, 1 - 1e-7)
    return -(truth * np.log(p) + (1 - truth) * np.log1p(-p))
