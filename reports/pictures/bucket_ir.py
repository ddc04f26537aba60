"""bucket_ir.png: in which market states does it pay?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from feature_repo.constants import JUDGE
from reports.buckets import TERCILES, BucketRow
from reports.canvas import GREY, INK, ink_on, new_figure, save, sentence_figure, write_in
from runtime.candidate import SigType

__all__ = ["bucket_figure", "draw_buckets"]

_CELLS = tuple(product(TERCILES, TERCILES, TERCILES))  # ofi_z, spread, depth
_GAP = 0.5  # between the parents' column and the cells, and between terciles of ofi_z
_MAP = matplotlib.colormaps["RdBu"]
_LEAST_SPAN = 0.05


def draw_buckets(rows: Sequence[BucketRow], target: Path, *, simulated: bool, fee_tier: str | None = None) -> Path:
    """Write ``bucket_figure``."""
    return save(bucket_figure(rows, fee_tier), target, simulated=simulated)


def bucket_figure(rows: Sequence[BucketRow], fee_tier: str | None = None) -> Figure:
    """IR a trade of each bucket: signal type x session down, terciles of OFI, spread and depth across.

    A panel with the model and one without, at one fee tier. Blue pays, red costs; a bucket with fewer trades than are
    judged is grey and hatched, whatever its IR; a frame marks what a roll-out may trade on its own evidence.

    Parameters
    ----------
    rows : of ``bucket_rows``, any arms
    fee_tier : by default that of the first row
    """
    tier = fee_tier if fee_tier is not None else next((r.fee_tier for r in rows), "")
    mine = [r for r in rows if r.fee_tier == tier]
    if not any(r.n for r in mine):
        return sentence_figure("no trades: no buckets")
    judged = [abs(r.ir_trade) for r in mine if _enough(r)]
    span = max([_LEAST_SPAN, *judged])
    colours = ScalarMappable(Normalize(-span, span), _MAP)
    panels_of = [(m, [r for r in mine if r.model == m]) for m in (False, True)]
    keys = [sorted({_line(r) for r in part if r.n}, reverse=False) for _, part in panels_of]
    heights = [max(2, len(k)) for k in keys]
    figure = new_figure(13.0, 2.9 + 0.46 * sum(heights))
    panels = figure.subplots(2, 1, gridspec_kw={"height_ratios": [h + 1.6 for h in heights]})
    for ax, (model, part), lines in zip(panels, panels_of, keys, strict=True):
        name = f"{part[0].profile if part else 'B'} {'model' if model else 'no model'}"
        if not lines:
            write_in(ax, f"{name}: {part[0].note if part and part[0].note else 'no trades'}")
            continue
        _panel(ax, part, lines, colours)
        ax.set_title(f"{name}, {tier} fees, {part[0].exit} exit, each candidate on its own", fontsize=10, loc="left")
    bar = figure.colorbar(colours, ax=list(panels), shrink=0.7, aspect=30, pad=0.01)
    bar.set_label("IR a trade (mean / std of net bps)", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    figure.supxlabel(
        f"above: IR, below: trades; grey, hatched: fewer than {JUDGE.bucket_min_trades} trades; "
        "judged as their signal and session (all); framed: may be traded in a roll-out; blank: no trade",
        fontsize=9,
        color=INK,
    )
    return figure


def _enough(row: BucketRow) -> bool:
    return row.n >= JUDGE.bucket_min_trades and bool(np.isfinite(row.ir_trade))


def _line(row: BucketRow) -> tuple[int, str]:
    return int(SigType[row.sig_type.upper()]), row.session


def _x(row: BucketRow) -> float:
    """Left edge of a bucket's cell; parents stand in a column of their own."""
    if row.ofi_z == "all":
        return -1.0 - _GAP
    at = _CELLS.index((row.ofi_z, row.spread, row.depth))
    return at + _GAP * (at // 9)


def _panel(ax: Axes, rows: Sequence[BucketRow], lines: Sequence[tuple[int, str]], colours: ScalarMappable) -> None:
    for row in rows:
        if not row.n:
            continue
        x, y = _x(row), lines.index(_line(row))
        if _enough(row):
            face = colours.to_rgba(row.ir_trade)
            ax.add_patch(Rectangle((x, y), 1, 1, facecolor=face, edgecolor="white", linewidth=1.0))
            ink = ink_on(face)
            ax.text(x + 0.5, y + 0.36, f"{row.ir_trade:+.2f}", ha="center", va="center", fontsize=7, color=ink)
            ax.text(x + 0.5, y + 0.74, f"{row.n:,}", ha="center", va="center", fontsize=6, color=ink)
        else:
            grey = {"facecolor": "#eceff2", "edgecolor": "#c3cad1", "hatch": "////", "linewidth": 0.0}
            ax.add_patch(Rectangle((x + 0.03, y + 0.03), 0.94, 0.94, **grey))
            ax.text(
                x + 0.5, y + 0.5, f"{row.n:,}", ha="center", va="center", fontsize=6.5, color=INK,
                bbox={"facecolor": "#eceff2", "edgecolor": "none", "pad": 0.8},
            )  # fmt: skip
        if row.positive and row.judged_by == "bucket":
            ax.add_patch(
                Rectangle((x + 0.06, y + 0.06), 0.88, 0.88, fill=False, edgecolor=INK, linewidth=1.8, zorder=3)
            )  # fmt: skip
    for inside in (*ax.texts, *ax.patches):
        inside.set_in_layout(False)  # they lie within the axes: measuring each would take most of the time
    ax.set_xlim(-1.1 - _GAP, len(_CELLS) + 2 * _GAP + 0.1)
    ax.set_ylim(len(lines), 0)
    ax.set_yticks(
        [i + 0.5 for i in range(len(lines))],
        [f"{SigType(sig).name.lower()}, {session}" for sig, session in lines],
        fontsize=8.5,
    )
    ticks = [(-0.5 - _GAP, "all")]
    ticks += [(at + _GAP * (at // 9) + 0.5, cell[2][0].upper()) for at, cell in enumerate(_CELLS)]
    ax.set_xticks([t for t, _ in ticks], [name for _, name in ticks], fontsize=7.5)
    for group in range(9):
        middle = 3 * group + 1.5 + _GAP * (group // 3)
        _below(ax, middle, -16, f"spread {TERCILES[group % 3]}", 7.5)
        if group % 3 == 1:
            _below(ax, middle, -28, f"OFI {TERCILES[group // 3]}", 9)
    _below(ax, -0.5 - _GAP, -16, "depth:", 7.5)
    for group in range(1, 9):
        x = 3 * group + _GAP * (group // 3)
        if group % 3:
            ax.axvline(x, color=GREY, linewidth=0.8)
    ax.tick_params(length=0)
    for side in ax.spines.values():
        side.set_visible(False)


def _below(ax: Axes, x: float, points: float, text: str, size: float) -> None:
    ax.annotate(
        text, (x, 0.0), xycoords=("data", "axes fraction"), xytext=(0, points), textcoords="offset points",
        ha="center", va="top", fontsize=size, color=INK,
    )  # fmt: skip
