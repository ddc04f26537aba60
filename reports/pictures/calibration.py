"""calibration.png: do the forecasts come true as often as they say?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from reports.calibration_report import CalibrationReport
from reports.canvas import AMBER, BLUE, GRID, dress, new_figure, save, sentence_figure

__all__ = ["calibration_figure", "draw_calibration"]


OUT_OF_SAMPLE = "Out-of-sample calibration"


def draw_calibration(report: CalibrationReport, target: Path, *, simulated: bool, title: str = OUT_OF_SAMPLE) -> Path:
    """Write ``calibration_figure``."""
    return save(calibration_figure(report, title), target, simulated=simulated)


def calibration_figure(report: CalibrationReport, title: str = OUT_OF_SAMPLE) -> Figure:
    """Reliability of the forecasts over a histogram of them; a sentence where there are none."""
    if report.reason_na:
        return sentence_figure(f"no model: {report.reason_na.removeprefix('no model: ')}", 6.4, 2.6)
    figure = new_figure(6.4, 6.4)
    top, bottom = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (3, 1)})
    p = np.array([b.p_mean for b in report.bins])
    y = np.array([b.y_rate for b in report.bins])
    err = 1.96 * np.array([b.std_error for b in report.bins])
    top.plot([0, 1], [0, 1], color=GRID, linewidth=1.5, zorder=1, label="perfect")
    top.axhline(report.base_rate, color=AMBER, linestyle="--", linewidth=1, label=f"base rate {report.base_rate:.3f}")
    top.errorbar(p, y, yerr=err, color=BLUE, marker="o", markersize=4, linewidth=1.2, capsize=2, label="bins, 95 %")
    top.set_ylabel("share that reached the target")
    low, high = top.get_ylim()
    top.set_ylim(max(-0.05, low), min(1.05, high))
    top.legend(frameon=False, loc="upper left")
    ece = f"{report.ece:.3f}" if np.isfinite(report.ece) else "N/A"
    top.set_title(
        f"{title}, n = {report.n:,}, {len(report.bins)} bins of equal mass\n"
        f"Brier {report.brier:.4f} (base rate {report.brier_base:.4f}), ECE debiased {ece}",
        fontsize=10,
        loc="left",
    )
    counts = np.array(report.histogram)
    steps = np.linspace(0.0, 1.0, len(counts) + 1)
    bottom.bar(steps[:-1], counts, width=np.diff(steps), align="edge", color=BLUE, alpha=0.6, edgecolor="white")
    bottom.set_xlabel("forecast P")
    bottom.set_ylabel("candidates")
    bottom.set_xlim(0, 1)
    dress(top, bottom)
    return figure
