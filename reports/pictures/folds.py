"""folds.png: does every fold say the same?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.canvas import AMBER, BLUE, GREY, GRID, INK, dress, new_figure, save, sentence_figure
from reports.tables.training import fold_name, no_model_reason, skill

__all__ = ["draw_folds", "folds_figure"]

_FOLD_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#882255", GREY)
_FOLD_MARKERS = "os^Dv<>P"
_REFERENCES = (("logistic", BLUE), ("boosting", "#009e73"), ("base", AMBER))
_TITLE = {"logistic": "logistic", "boosting": "boosting", "base": "base rate"}
_WIDTH = 0.26


def draw_folds(metrics: Mapping, target: Path) -> Path:
    """Write ``folds_figure``."""
    return save(folds_figure(metrics), target, simulated=bool(metrics["simulated"]))


def folds_figure(metrics: Mapping) -> Figure:
    """Reliability of the model's forecasts, a line a fold, beside the Brier score it saves against each baseline.

    A fold without a model is named; without any model a sentence says why.
    """
    if reason := no_model_reason(metrics):
        return sentence_figure(f"no model: {reason}")
    training = metrics["training"]
    figure = new_figure(8.0 + 0.75 * (len(training["folds"]) + 1), 5.0)
    left, right = figure.subplots(1, 2, width_ratios=(5, 2.2 + 0.75 * (len(training["folds"]) + 1)))
    _reliability(left, training)
    _skills(right, training)
    dress(left, right)
    right.grid(False, axis="x")
    return figure


def _reliability(ax: Axes, training: Mapping) -> None:
    ax.plot([0, 1], [0, 1], color=GRID, linewidth=1.5, zorder=1, label="_perfect")
    ends: list[float] = []
    for i, fold in enumerate(training["folds"]):
        bins = (fold["figures"].get("model") or {}).get("bins") or ()
        look = {
            "color": _FOLD_COLOURS[i % len(_FOLD_COLOURS)],
            "marker": _FOLD_MARKERS[i % len(_FOLD_MARKERS)],
            "markersize": 4,
            "linewidth": 1.1,
        }
        n = f"n = {fold['figures']['model']['n']:,}" if bins else "no model"
        p, y = ([b[key] for b in bins] for key in ("p_mean", "y_rate"))
        ax.plot(p, y, label=f"{fold_name(fold)} ({n})", **look)
        ends += [*p, *y]
    bins = (training["pooled"].get("model") or {}).get("bins") or ()
    p, y = ([b[key] for b in bins] for key in ("p_mean", "y_rate"))
    ax.plot(p, y, color=INK, linewidth=2.4, label=fold_name(None))
    ends += [*p, *y]
    # Forecasts rarely fill [0, 1]: the square that holds them is shown.
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    room = 0.06 * max(high - low, 0.1)
    ax.set_xlim(low - room, high + room)
    ax.set_ylim(low - room, high + room)
    ax.set_xlabel("forecast P")
    ax.set_ylabel("share that reached the target")
    ax.set_title("Reliability by fold, bins of equal mass", fontsize=10, loc="left")
    ax.legend(frameon=False, fontsize=8.5, loc="upper left")


def _skills(ax: Axes, training: Mapping) -> None:
    groups = [*training["folds"], None]
    at = np.arange(len(groups))
    for i, (reference, colour) in enumerate(_REFERENCES):
        found = [skill(training["pooled"] if fold is None else fold["figures"], "model", reference) for fold in groups]
        x = at + (i - 1) * _WIDTH
        height = np.array([np.nan if value is None else value for value in found])
        bars = ax.bar(x, height, width=_WIDTH, color=colour, alpha=0.85, label=f"against {_TITLE[reference]}")
        ax.bar_label(bars, [f"{100 * h:+.1f}" if np.isfinite(h) else "" for h in height], fontsize=7.5, padding=2)
    for x, fold in zip(at, groups, strict=True):
        if fold is not None and not fold["figures"]:
            ax.text(x, 0.0, "no model", ha="center", va="bottom", fontsize=8, color=GREY, rotation=90)
    ax.axhline(0.0, color=INK, linewidth=0.8)
    ax.axvline(len(groups) - 1.5, color=GREY, linewidth=0.8, linestyle=(0, (4, 2)))
    ax.margins(y=0.18)
    ax.set_xticks(at, [fold_name(fold) for fold in groups], fontsize=9)
    ax.yaxis.set_major_formatter(lambda y, _: f"{100 * y:.3g} %")
    ax.set_title("Brier score the model saves; below 0: the baseline is better", fontsize=10, loc="left")
    ax.legend(frameon=False, fontsize=8.5, loc="best")
