"""The rows of a training: windows, contexts, labels, and the time that each of them touches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from feature_repo.constants import LABEL, MS_NS, WINDOW_NS

__all__ = ["Samples", "spans_of"]


@dataclass(frozen=True, slots=True)
class Samples:
    """Columns of one training set.

    Attributes
    ----------
    x : float32 [N, T, C], aligned to each candidate's side, not normalised
    ctx : float32 [N, 8]
    y : int64 [N], 1 target, 0 not, -1 no label
    weight : float64 [N], average uniqueness
    t_start, t_end : int64 [N], ns
    """

    x: np.ndarray
    ctx: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    t_start: np.ndarray
    t_end: np.ndarray


def spans_of(labels: np.ndarray, ts_ns: np.ndarray, T: int) -> tuple[np.ndarray, np.ndarray]:
    """Time that each sample touches, int64 ns [N] twice: from its first window to the end of its label.

    Rows without a label reach to the horizon: had they had one, it would have been known by then.
    """
    end = np.where(labels["y"] >= 0, labels["t_end_ns"], ts_ns + LABEL.horizon_ms * MS_NS)
    return ts_ns - T * WINDOW_NS, end
