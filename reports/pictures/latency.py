"""latency.png: how long a decision took here, against the budgets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from reports.canvas import AMBER, BLUE, INK, dress, new_figure, save, sentence_figure
from runtime.budget import E2E_BUDGET_MS

__all__ = ["draw_latency", "latency_figure"]

_SHOWN_PROFILE = "B"


def draw_latency(metrics: Mapping, target: Path) -> Path:
    """Write ``latency_figure``."""
    return save(latency_figure(metrics), target, simulated=bool(metrics["simulated"]))


def latency_figure(metrics: Mapping) -> Figure:
    """Histogram of the end-to-end latency of profile B with and without the model, shares of its decisions."""
    timed = [
        row
        for row in metrics["measured"].get("latency") or ()
        if row["profile"] == _SHOWN_PROFILE and sum(row["histogram"]["counts"])
    ]
    if not timed:
        return sentence_figure("no end-to-end latency was measured: no histogram")
    figure = new_figure(9.0, 4.4)
    ax = figure.subplots()
    budgets: dict[float, list[str]] = {}
    for sig, budget in E2E_BUDGET_MS.items():
        budgets.setdefault(budget, []).append(sig.name.lower())
    seen = list(budgets)
    for row in timed:
        edges, counts = np.array(row["histogram"]["edges_ms"]), np.array(row["histogram"]["counts"])
        some = np.flatnonzero(counts)
        seen += [float(edges[some[0]]), float(edges[some[-1] + 1])]
        ax.stairs(
            counts / counts.sum(),
            edges,
            fill=row["model"],
            color=BLUE if row["model"] else AMBER,
            alpha=0.45 if row["model"] else 1.0,
            linewidth=1.8,
            label=f"{_SHOWN_PROFILE} {'model' if row['model'] else 'no model'} (n = {counts.sum():,})",
        )
    top = 1.28 * ax.dataLim.y1
    for rank, (budget, names) in enumerate(budgets.items()):
        ax.axvline(budget, color=INK, linestyle=(0, (4, 2)), linewidth=1.0)
        # The three budgets stand close to each other: their names go one below the other.
        ax.text(
            budget * 0.97, top * (0.985 - 0.07 * rank), f"{budget:g} ms: {', '.join(names)}", fontsize=8, color=INK,
            ha="right", va="top", bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
        )  # fmt: skip
    ax.set_ylim(0.0, top)
    ax.set_xscale("log")
    ax.set_xlim(min(seen) / 1.6, max(seen) * 1.6)
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=30))
    ax.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    ax.xaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(lambda y, _: f"{100 * y:.0f} %")
    ax.set_xlabel("ms from the event that closes the window to the decision in hand")
    ax.set_ylabel("share of decisions")
    ax.set_title("End-to-end latency, measured on this machine, not reproducible", fontsize=10, loc="left")
    ax.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
    dress(ax)
    return figure
