"""rejections.png: why each arm said no."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from reports.canvas import GREY, INK, dress, new_figure, save, sentence_figure
from reports.records import REASONS
from reports.tables.cell import arm_name
from runtime.decision import Reason

__all__ = ["draw_rejections", "rejection_figure"]

# Blue: the market is too thin; purple: the signal is incomplete; yellow to red: it costs too much; green: the model.
# Reasons that speak of damaged input share one grey and differ in their hatch.
_COLOUR = {
    Reason.SPREAD: "#56b4e9",
    Reason.DEPTH: "#0072b2",
    Reason.RECLAIM: "#cc79a7",
    Reason.REWARD_UNKNOWN: "#882255",
    Reason.SLIPPAGE: "#f0e442",
    Reason.MIN_STOP: "#e69f00",
    Reason.EV: "#d55e00",
    Reason.MODEL_ERROR: "#1f2933",
    Reason.P_BELOW_TAU: "#009e73",
    Reason.NOT_ROLLED_OUT: "#44aa99",
    Reason.SIZE_TOO_SMALL: "#88ccaa",
}
_DARK = (Reason.DEPTH, Reason.REWARD_UNKNOWN, Reason.EV, Reason.MODEL_ERROR, Reason.P_BELOW_TAU)
_OTHER, _ALLOWED = "#b8c0c8", "#f1f3f5"
_GREY = tuple(r for r in REASONS if r not in _COLOUR and r is not Reason.ALLOW)
_HATCH = dict(
    zip(_GREY, ("///", "\\\\\\", "xxx", "...", "ooo", "+++", "---", "|||", "//..", "--oo", "||..", "**"), strict=False)
)
_WRITTEN = 0.055  # share from which a number fits into its part of the bar


def draw_rejections(metrics: Mapping, target: Path) -> Path:
    """Write ``rejection_figure``."""
    return save(rejection_figure(metrics), target, simulated=bool(metrics["simulated"]))


def rejection_figure(metrics: Mapping) -> Figure:
    """One bar an arm: shares of its own candidates by the first check that failed, in the order of the gate."""
    arms = [a for a in metrics["matrix"] if a.get("reason_rates") is not None and a["candidates"]]
    if not arms:
        return sentence_figure("no candidates were judged: no rejections")
    order = [r for r in REASONS if any(a["reason_rates"].get(r.value) for a in arms)]
    figure = new_figure(10.0, 1.7 + 0.34 * len(arms))
    ax = figure.subplots()
    at = np.arange(len(arms))
    left = np.zeros(len(arms))
    for reason in order:
        share = np.array([a["reason_rates"].get(reason.value, 0.0) for a in arms])
        colour = _COLOUR.get(reason, _OTHER)
        ax.barh(
            at, share, left=left, height=0.74, color=colour, hatch=_HATCH.get(reason), edgecolor="white", linewidth=0.8,
            label=reason.value.replace("_", " "),
        )  # fmt: skip
        for y, x, width in zip(at, left, share, strict=True):
            if width >= _WRITTEN:
                ink = "white" if reason in _DARK else INK
                ax.text(x + width / 2, y, f"{100 * width:.0f}", ha="center", va="center", fontsize=8, color=ink)
        left += share
    allowed = np.clip(1.0 - left, 0.0, 1.0)
    ax.barh(at, allowed, left=left, height=0.74, color=_ALLOWED, edgecolor=GREY, linewidth=0.6, label="allowed")
    for y, x, width in zip(at, left, allowed, strict=True):
        if width >= _WRITTEN:
            ax.text(x + width / 2, y, f"{100 * width:.0f}", ha="center", va="center", fontsize=8, color=INK)
    ax.set_yticks(at, [f"{arm_name(a)} (n = {a['candidates']:,})" for a in arms], fontsize=8.5)
    ax.set_ylim(len(arms) - 0.4, -0.6)
    ax.set_xlim(0.0, 1.0)
    ax.xaxis.set_major_formatter(lambda x, _: f"{100 * x:.0f} %")
    ax.set_title("What became of the candidates in the profile's tiers (%)", fontsize=10, loc="left")
    dress(ax)
    ax.grid(False, axis="y")
    figure.legend(frameon=False, fontsize=8.5, loc="outside lower center", ncols=min(7, len(order) + 1))
    return figure
