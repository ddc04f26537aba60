"""honesty.png: every interval of the deciding tier and exit, run by run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .canvas import AMBER, BLUE, GREY, INK, dress, new_figure, save

__all__ = ["draw_honesty", "honesty_figure"]

_COLOUR = {0.0: AMBER, 1.0: BLUE}
_PANELS = {"difference": "model minus no model, bps a candidate", "model_mean": "with the model, net bps a trade"}


def draw_honesty(summary: Mapping[str, Any], target: Path) -> Path:
    """Write ``honesty_figure``."""
    return save(honesty_figure(summary), target, simulated=True)


def honesty_figure(summary: Mapping[str, Any]) -> Figure:
    """A row of panels a model: the difference and the model's own mean, a line a run, edge 0 below edge 1.

    Full marks: the run claims that the model beats no model. A mark without a line: too few trades for an interval.
    """
    deciding = summary["deciding"]
    rows = [r for r in summary["intervals"] if all(r[k] == deciding[k] for k in ("fee_tier", "exit"))]
    models = list(dict.fromkeys(r["model"] for r in rows))
    most = max(len([r for r in rows if r["model"] == m]) for m in models)
    figure = new_figure(11.0, 1.4 + len(models) * (1.0 + 0.16 * most))
    panels = figure.subplots(len(models), len(_PANELS), squeeze=False)
    for line, model in zip(panels, models, strict=True):
        mine = [r for r in rows if r["model"] == model]
        for panel, (part, title) in zip(line, _PANELS.items(), strict=True):
            _forest(panel, mine, part)
            panel.set_title(f"{model}: {title}", loc="left", fontsize=10, color=INK)
    for edge, colour in _COLOUR.items():
        figure.axes[0].errorbar([], [], xerr=[], fmt="o", color=colour, label=f"edge {edge:g}")
    figure.axes[0].plot([], [], "o", color=GREY, markerfacecolor="white", linestyle="none", label="no claim")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle(
        f"SIMULATED: 95 % intervals of {summary['runs']['done']} runs, profile {deciding['profile']}, "
        f"{deciding['fee_tier']} fees, {deciding['exit']} exit",
        fontsize=11,
        color=INK,
    )
    return figure


def _forest(panel: Axes, rows: Sequence[Mapping[str, Any]], part: str) -> None:
    dress(panel)
    panel.axvline(0.0, color=INK, linewidth=0.8)
    for at, row in enumerate(rows):
        value, low, high = (math.nan if v is None else v for v in row[part])
        colour = _COLOUR[row["edge"]]
        if math.isfinite(low):
            panel.plot([low, high], [at, at], color=colour, linewidth=1.4, solid_capstyle="butt")
        panel.plot(
            [value], [at], "o", color=colour, markersize=4, markerfacecolor=colour if row["claim"] else "white"
        )  # fmt: skip
    panel.set_yticks(range(len(rows)), [f"{row['seed']}" for row in rows], fontsize=6)
    panel.set_ylim(-1, len(rows))
    panel.set_ylabel("seed")
