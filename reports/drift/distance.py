"""Distances of columns between the training span and a day, with the limits that the training span itself sets."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from reports.drift_file import ALERT, OK, WARN

from .check import graded
from .limits import DriftLimits
from .pieces import Pieces, grid_of, marginal_pieces

__all__ = ["LEAST_DEVIATION", "METHOD", "Distance", "column_distance", "normed_wasserstein"]

METHOD = "wasserstein"
"""Evidently's name of the distance: first Wasserstein, normed by the deviation of the reference."""
LEAST_DEVIATION = 0.001
"""As Evidently's distance has it."""


@dataclass(frozen=True)
class Distance:
    """Of one column.

    Attributes
    ----------
    value : in the unit of the limits
    warn, alert : what it may not exceed
    farthest : of the pieces of the training span from the rest of it
    """

    value: float
    warn: float
    alert: float
    farthest: float
    status: str
    note: str

    @property
    def text(self) -> str:
        return f"WARN > {self.warn:.3g}, ALERT > {self.alert:.3g}"


def normed_wasserstein(reference: np.ndarray, current: np.ndarray) -> float:
    """Evidently's distance, in deviations of the reference; inputs finite, float [n] and float [m]."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pandas as pd
        from evidently.legacy.calculations.stattests import wasserstein_stat_test
        from evidently.legacy.core import ColumnType

        answer = wasserstein_stat_test(pd.Series(reference), pd.Series(current), ColumnType.Numerical, 0.0)
    return float(answer.drift_score)


def column_distance(
    reference: np.ndarray,
    current: np.ndarray,
    pieces: Pieces,
    limits: DriftLimits,
    floors: tuple[float, float],
    *,
    normed: bool = True,
    factors: tuple[float, float] | None = None,
    at_least: float = 0.0,
) -> Distance:
    """Judge one column.

    Parameters
    ----------
    reference : float [n], rows of the training span, those of ``pieces``
    current : float [m]
    floors : least WARN and ALERT limits
    normed : in deviations of the reference; False: in the column's own unit
    factors : WARN and ALERT, instead of those for the worst of many columns
    at_least : what the farthest piece counts for if it is nearer

    Returns
    -------
    Distance
        A column that stopped moving is an ALERT whatever its distance, where the quietest piece of the training span
        would have moved ``least_moves`` times. One that never moved in the training span is a WARN at most: nothing is
        known of how far it may go.
    """
    reference, current = np.asarray(reference, np.float64), np.asarray(current, np.float64)
    deviation = max(float(reference.std()), LEAST_DEVIATION)
    value = normed_wasserstein(reference, current) * (1.0 if normed else deviation)
    unit = deviation if normed else 1.0
    apart = marginal_pieces(reference, pieces, grid_of(reference, current), unit)
    farthest = max(at_least, float(pieces.farthest(apart)))
    times = limits.factors(pieces.days) if factors is None else factors
    warn, alert = (max(floor, factor * farthest) for floor, factor in zip(floors, times, strict=True))
    status, note = (
        graded(value, warn, alert),
        f"farthest piece of the training span (up to {pieces.hours:.0f} h): {farthest:.3g}",
    )
    if (reference == reference[0]).all():
        moved = not (current == reference[0]).all()
        still = f"always {reference[0]:.6g} in the training span"
        return Distance(value, warn, alert, farthest, WARN if moved else OK, still)
    if (current == current[0]).all():
        expected = _least_moves(reference, pieces) * len(current)
        if expected >= limits.least_moves:
            status = ALERT
            note = f"always {current[0]:.6g} on this day; {expected:.0f} other values were due"
    return Distance(value, warn, alert, farthest, status, note)


def _least_moves(values: np.ndarray, pieces: Pieces) -> float:
    """Share of rows that differ from the commonest value, in the piece where it is smallest."""
    found, counts = np.unique(values, return_counts=True)
    moved = (values != found[counts.argmax()]).astype(float)
    inside, _ = pieces.sums(np.bincount(pieces.block, weights=moved, minlength=pieces.blocks))
    rows, _ = pieces.sums(np.bincount(pieces.block, minlength=pieces.blocks).astype(float))
    return float((inside / np.maximum(rows, 1.0)).min())
