"""What every picture shares: colours that colour-blind readers tell apart, axes, the watermark, how it is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from feature_repo.paths import atomic_path

__all__ = [
    "AMBER",
    "BLUE",
    "DPI",
    "GREY",
    "GRID",
    "INK",
    "PROFILE_COLOUR",
    "dress",
    "ink_on",
    "new_figure",
    "save",
    "sentence_figure",
    "write_in",
]

INK, GREY, GRID, BLUE, AMBER = "#1f2933", "#7b8794", "#d9dee3", "#1f5fa8", "#c77700"
PROFILE_COLOUR = {"A": "#0072b2", "B": "#d55e00", "C": "#009e73", "C6": "#cc79a7"}
"""Okabe and Ito's set, chosen to be told apart by colour-blind readers."""
DPI = 110


def new_figure(width: float, height: float) -> Figure:
    """An empty white figure, inches, with its own canvas: no state is shared between pictures."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def dress(*axes: Axes) -> None:
    """Grid behind the data, no frame at the top and the right."""
    for ax in axes:
        ax.grid(True, color=GRID, linewidth=0.6)
        ax.set_axisbelow(True)
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)


def ink_on(rgba: Sequence[float]) -> str:
    """The colour of a text that can be read on the given ground."""
    return "white" if 0.2126 * rgba[0] + 0.7152 * rgba[1] + 0.0722 * rgba[2] < 0.45 else INK


def sentence_figure(sentence: str, width: float = 9.0, height: float = 2.4) -> Figure:
    """What stands where there is nothing to draw."""
    figure = new_figure(width, height)
    figure.text(0.5, 0.5, sentence, ha="center", va="center", wrap=True, fontsize=12, color=INK)
    return figure


def write_in(ax: Axes, sentence: str) -> None:
    """The sentence in the place of axes that would be empty."""
    ax.set_axis_off()
    ax.text(
        0.5, 0.5, sentence, ha="center", va="center", wrap=True, fontsize=11, color=GREY, transform=ax.transAxes
    )  # fmt: skip


def save(figure: Figure, target: Path, *, simulated: bool) -> Path:
    """Write the PNG, whole or not at all; the same figure gives the same bytes."""
    if simulated:
        figure.text(
            0.5, 0.5, "SIMULATED", ha="center", va="center", fontsize=54, color="#b00020", alpha=0.10, rotation=28
        )
    with atomic_path(target) as beside:
        # Without the library's version in it, the same input gives the same bytes.
        figure.savefig(beside, format="png", dpi=DPI, metadata={"Software": None})
    return Path(target)
