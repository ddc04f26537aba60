"""calibration.png and equity.png, drawn without a display."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from feature_repo.constants import SECOND_NS
from feature_repo.paths import atomic_path

from .calibration_report import CalibrationReport
from .matrix import Curve
from .records import JUDGED_EXIT

__all__ = ["draw_calibration", "draw_equity"]

_INK, _GRID, _BLUE, _AMBER = "#1f2933", "#d9dee3", "#1f5fa8", "#c77700"
_PROFILE_COLOUR = {"A": "#1f5fa8", "B": "#c2410c", "C": "#4d7c0f"}
_DPI = 110


def draw_calibration(report: CalibrationReport, target: Path, *, simulated: bool) -> Path:
    """Reliability of the out-of-sample forecasts over a histogram of them; a sentence where there are none."""
    if report.reason_na:
        figure = _figure(6.4, 2.6)
        _say(figure, f"no model: {report.reason_na.removeprefix('no model: ')}")
        return _save(figure, target, simulated)
    figure = _figure(6.4, 6.4)
    top, bottom = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (3, 1)})
    p = np.array([b.p_mean for b in report.bins])
    y = np.array([b.y_rate for b in report.bins])
    err = 1.96 * np.array([b.std_error for b in report.bins])
    top.plot([0, 1], [0, 1], color=_GRID, linewidth=1.5, zorder=1, label="perfect")
    top.axhline(report.base_rate, color=_AMBER, linestyle="--", linewidth=1, label=f"base rate {report.base_rate:.3f}")
    top.errorbar(p, y, yerr=err, color=_BLUE, marker="o", markersize=4, linewidth=1.2, capsize=2, label="bins, 95 %")
    top.set_ylabel("share that reached the target")
    low, high = top.get_ylim()
    top.set_ylim(max(-0.05, low), min(1.05, high))
    top.legend(frameon=False, loc="upper left")
    ece = f"{report.ece:.3f}" if np.isfinite(report.ece) else "N/A"
    top.set_title(
        f"Out-of-sample calibration, n = {report.n:,}, {len(report.bins)} bins of equal mass\n"
        f"Brier {report.brier:.4f} (base rate {report.brier_base:.4f}), ECE debiased {ece}",
        fontsize=10,
        loc="left",
    )
    counts = np.array(report.histogram)
    steps = np.linspace(0.0, 1.0, len(counts) + 1)
    bottom.bar(steps[:-1], counts, width=np.diff(steps), align="edge", color=_BLUE, alpha=0.6, edgecolor="white")
    bottom.set_xlabel("forecast P")
    bottom.set_ylabel("candidates")
    bottom.set_xlim(0, 1)
    _dress(top, bottom)
    return _save(figure, target, simulated)


def draw_equity(curves: Sequence[Curve], target: Path, *, simulated: bool, exit_: str = JUDGED_EXIT) -> Path:
    """Cumulated net bps of every arm, a panel a fee tier; solid with the model, dashed without."""
    drawn = [c for c in curves if len(c.t_ns)]
    if not drawn:
        figure = _figure(9.0, 3.0)
        _say(figure, "no trades: no equity curve")
        return _save(figure, target, simulated)
    tiers = list(dict.fromkeys(c.fee_tier for c in drawn))
    figure = _figure(9.0, 1.2 + 3.2 * len(tiers))
    panels = figure.subplots(len(tiers), 1, sharex=True, squeeze=False)[:, 0]
    start = min(int(c.t_ns[0]) for c in drawn)
    for panel, tier in zip(panels, tiers, strict=True):
        panel.axhline(0.0, color=_INK, linewidth=0.8)
        for c in drawn:
            if c.fee_tier != tier:
                continue
            hours = np.concatenate([[0.0], (c.t_ns - start) / (3600 * SECOND_NS)])
            panel.step(
                hours,
                np.concatenate([[0.0], c.cum_bps]),
                where="post",
                color=_PROFILE_COLOUR[c.profile[:1]],
                linestyle="-" if c.model else "--",
                linewidth=1.6 if c.model else 1.0,
                label=f"{c.profile} {'model' if c.model else 'no model'} (n = {len(c.t_ns):,})",
            )
        panel.set_title(f"{tier} fees, {exit_} exit, one position, equal notional", fontsize=10, loc="left")
        panel.set_ylabel("cumulated net bps")
        panel.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    panels[-1].set_xlabel("hours from the first exit")
    _dress(*panels)
    return _save(figure, target, simulated)


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _dress(*axes: object) -> None:
    for ax in axes:
        ax.grid(True, color=_GRID, linewidth=0.6)
        ax.set_axisbelow(True)
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)


def _say(figure: Figure, sentence: str) -> None:
    figure.text(0.5, 0.5, sentence, ha="center", va="center", wrap=True, fontsize=12, color=_INK)


def _save(figure: Figure, target: Path, simulated: bool) -> Path:
    if simulated:
        figure.text(
            0.5, 0.5, "SIMULATED", ha="center", va="center", fontsize=54, color="#b00020", alpha=0.10, rotation=28
        )
    with atomic_path(target) as beside:
        # Without the library's version in it, the same input gives the same bytes.
        figure.savefig(beside, format="png", dpi=_DPI, metadata={"Software": None})
    return Path(target)
