"""importance.png: which channels the model would miss, fold by fold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from reports.canvas import INK, ink_on, new_figure, save, sentence_figure
from reports.tables.importance import IMPORTANCE_KINDS, IMPORTANCE_UNIT, importance_order, importance_values
from reports.tables.training import no_model_reason

__all__ = ["draw_importance", "importance_figure"]

_SHOWN = ("permutation", "ablation")
_MAP = matplotlib.colormaps["RdBu"]
_LEAST_SPAN = 1.0  # x 0.0001 of Brier: less than that is shown as nothing


def draw_importance(metrics: Mapping, target: Path) -> Path:
    """Write ``importance_figure``."""
    return save(importance_figure(metrics), target, simulated=bool(metrics["simulated"]))


def importance_figure(metrics: Mapping) -> Figure:
    """Channels down, folds across, a panel for shuffling and one for holding a channel at its training mean.

    Blue: the Brier score rises without the channel, so the model uses it; red: it falls. The channel that is missed
    most stands on top.
    """
    order = importance_order(metrics)
    if not order:
        reason = no_model_reason(metrics)
        return sentence_figure(f"no model: {reason}" if reason else "the importance of channels was not computed")
    figure = new_figure(5.4 + 1.1 * len(importance_values(metrics, _SHOWN[0])[0]), 1.7 + 0.27 * len(order))
    panels = figure.subplots(1, len(_SHOWN), sharey=True)
    grids = [_grid(metrics, kind, order) for kind in _SHOWN]
    seen = np.concatenate([np.abs(grid[np.isfinite(grid)]) for _, grid in grids])
    span = max(_LEAST_SPAN, float(seen.max(initial=0.0)))
    colours = ScalarMappable(Normalize(-span, span), _MAP)
    for ax, kind, (columns, grid) in zip(panels, _SHOWN, grids, strict=True):
        _panel(ax, grid, columns, colours)
        ax.set_title(IMPORTANCE_KINDS[kind], fontsize=10, loc="left")
    panels[0].set_yticks(np.arange(len(order)), order, fontsize=8.5)
    bar = figure.colorbar(colours, ax=list(panels), shrink=0.7, aspect=30, pad=0.02)
    bar.set_label("rise of the Brier score, x 0.0001", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    figure.suptitle(
        "Out of sample without each channel; blue: the model uses it", fontsize=11, x=0.01, ha="left", color=INK
    )
    return figure


def _grid(metrics: Mapping, kind: str, order: list[str]) -> tuple[list[str], np.ndarray]:
    """Names of the columns and the values [channels, folds and their mean], NaN where unknown."""
    folds, values = importance_values(metrics, kind)
    grid = np.array([values[name] for name in order], dtype=float) / IMPORTANCE_UNIT
    known = np.isfinite(grid).sum(axis=1)
    mean = np.where(known > 0, np.nansum(grid, axis=1) / np.maximum(known, 1), np.nan)
    return [*folds, "mean"], np.column_stack([grid, mean])


def _panel(ax: Axes, grid: np.ndarray, columns: list[str], colours: ScalarMappable) -> None:
    rgba = colours.to_rgba(np.nan_to_num(grid))
    rgba[~np.isfinite(grid)] = (1.0, 1.0, 1.0, 1.0)
    ax.imshow(rgba, aspect="auto", interpolation="nearest")
    for (y, x), value in np.ndenumerate(grid):
        text = f"{value:+.1f}" if np.isfinite(value) else "-"
        ax.text(x, y, text, ha="center", va="center", fontsize=7.5, color=ink_on(rgba[y, x]))
    ax.axvline(len(columns) - 1.5, color="white", linewidth=4)
    ax.set_xticks(np.arange(len(columns)), columns, fontsize=8.5)
    ax.tick_params(length=0)
    for side in ax.spines.values():
        side.set_visible(False)
