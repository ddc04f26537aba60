"""Per-channel scale of the aligned windows, fitted on training rows only and carried in the graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from feature_repo.errors import InputError
from feature_repo.fields import CHANNELS

__all__ = ["X_CLIP", "Scale", "channel_names", "fit_scale"]

X_CLIP = 8.0
"""Normalised channels are cut here: one crossed book must not own a gradient."""
_TAIL = 0.005
_ROWS = 200_000


@dataclass(frozen=True, slots=True)
class Scale:
    """``(v - mean) / scale``, cut at ``+-clip``; float32 [C] each, scale > 0."""

    mean: np.ndarray
    scale: np.ndarray
    clip: float = X_CLIP

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """float32 [..., C] -> float32 [..., C]."""
        with np.errstate(over="ignore"):  # a difference beyond float32 is infinite, and cut like any other
            scaled = (values - self.mean) / self.scale
        return np.clip(scaled, -self.clip, self.clip).astype(np.float32, copy=False)


def channel_names(C: int) -> tuple[str, ...]:
    """The catalogue's names, or numbers where the windows are of another width."""
    return CHANNELS if len(CHANNELS) == C else tuple(map(str, range(C)))


def fit_scale(values: np.ndarray, names: tuple[str, ...], clip: float = X_CLIP) -> Scale:
    """Mean and standard deviation per channel after both 0.5 % tails are pulled in.

    A channel that hardly ever moves (forced orders, say) has no tails to speak of and falls back to its plain
    deviation; one that never moves gets a scale of 1 and thereby a normalised value of 0.

    Parameters
    ----------
    values : float32 [..., C], finite
    names : the C channel names, for the message
    clip : bound of the normalised values

    Raises
    ------
    InputError
        When there is no row, or a channel holds NaN or infinities; the message names it.
    """
    rows = values.reshape(-1, values.shape[-1])
    if not len(rows):
        raise InputError("no row to fit a scale on", "at least one window", "Use a longer recording")
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=0))
    if bad.size:
        raise InputError(
            f"values that are not finite in channel {', '.join(names[c] for c in bad)}",
            "finite windows only",
            "Leave out candidates without a valid window",
        )
    # Windows overlap: every other row adds nothing to a quantile.
    rows = rows[:: -(-len(rows) // _ROWS)].astype(np.float64)
    low, high = np.quantile(rows, (_TAIL, 1 - _TAIL), axis=0)
    inner = np.clip(rows, low, high)
    mean, scale, plain = inner.mean(axis=0), inner.std(axis=0), rows.std(axis=0)
    still = scale <= 1e-9 * (1 + np.abs(mean))
    mean, scale = np.where(still, rows.mean(axis=0), mean), np.where(still, plain, scale)
    scale[scale <= 1e-9 * (1 + np.abs(mean))] = 1.0
    return Scale(mean.astype(np.float32), scale.astype(np.float32), clip)
