"""Whether the out-of-sample probabilities mean what they say."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from feature_repo.constants import JUDGE
from runtime.candidate import SigType
from runtime.quality import brier, ece_debiased, ece_plain, reliability_bins

from .records import CalibrationInput

__all__ = ["MIN_CALIBRATION", "CalibrationReport", "Reliability", "TypeCalibration", "calibration_report"]

MIN_CALIBRATION = 10 * JUDGE.ece_bins
"""Labelled forecasts below which the calibration error is N/A: fewer than ten a bin."""
_HISTOGRAM_BINS = 20


@dataclass(frozen=True)
class Reliability:
    """One bin of about equal mass; ``std_error`` of the frequency."""

    n: int
    p_mean: float
    y_rate: float
    std_error: float


@dataclass(frozen=True)
class TypeCalibration:
    """One signal type; NaN below ``MIN_CALIBRATION``."""

    sig_type: str
    n: int
    base_rate: float
    brier: float
    ece: float


@dataclass(frozen=True)
class CalibrationReport:
    """Calibration of all labelled out-of-sample forecasts.

    Attributes
    ----------
    reason_na : why there are no forecasts; empty when there are
    n : labelled forecasts
    brier_base : Brier score of always saying the base rate
    ece : debiased, ece_plain : not; NaN below ``MIN_CALIBRATION``
    histogram : counts of p in 20 equal steps of [0, 1]
    """

    reason_na: str
    n: int
    base_rate: float
    brier: float
    brier_base: float
    ece: float
    ece_plain: float
    bins: tuple[Reliability, ...]
    histogram: tuple[int, ...]
    by_type: tuple[TypeCalibration, ...]

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


def calibration_report(data: CalibrationInput | None) -> CalibrationReport:
    """Reliability, Brier score and debiased ECE of the rows that have both a forecast and a label."""
    nan = float("nan")
    if data is None:
        return CalibrationReport("no model was trained", 0, nan, nan, nan, nan, nan, (), (), ())
    p, y, sig = np.asarray(data.p, np.float64), np.asarray(data.y), np.asarray(data.sig_type)
    use = np.isfinite(p) & (y >= 0)
    p, y, sig = p[use], y[use].astype(np.float64), sig[use]
    if not len(p):
        reason = data.reason_na or f"none of {len(data.p)} candidates has both a forecast and a label"
        return CalibrationReport(reason, 0, nan, nan, nan, nan, nan, (), (), ())
    base = float(y.mean())
    enough = len(p) >= MIN_CALIBRATION
    b = reliability_bins(p, y, JUDGE.ece_bins)
    bins = tuple(
        Reliability(int(n), float(pm), float(yr), float(np.sqrt(yr * (1 - yr) / n)))
        for n, pm, yr in zip(b.n, b.p_mean, b.y_rate, strict=True)
    )
    by_type = []
    for s in SigType:
        at = sig == s
        many = int(at.sum()) >= MIN_CALIBRATION
        by_type.append(
            TypeCalibration(
                s.name.lower(),
                int(at.sum()),
                float(y[at].mean()) if at.any() else nan,
                brier(p[at], y[at]),
                ece_debiased(p[at], y[at], JUDGE.ece_bins) if many else nan,
            )
        )
    return CalibrationReport(
        "",
        len(p),
        base,
        brier(p, y),
        base * (1.0 - base),
        ece_debiased(p, y, JUDGE.ece_bins) if enough else nan,
        ece_plain(p, y, JUDGE.ece_bins) if enough else nan,
        bins,
        tuple(int(c) for c in np.histogram(p, bins=_HISTOGRAM_BINS, range=(0.0, 1.0))[0]),
        tuple(by_type),
    )
