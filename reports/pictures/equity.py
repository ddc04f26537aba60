"""equity.png: the arms' cumulated results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from feature_repo.constants import SECOND_NS
from reports.canvas import GREY, INK, PROFILE_COLOUR, dress, new_figure, save, sentence_figure
from reports.records import JUDGED_EXIT

if TYPE_CHECKING:
    from reports.matrix import Curve

__all__ = ["draw_equity", "equity_figure"]

_HOUR_NS = 3600 * SECOND_NS


def draw_equity(curves: Sequence[Curve], target: Path, *, simulated: bool) -> Path:
    """Write ``equity_figure``."""
    return save(equity_figure(curves), target, simulated=simulated)


def equity_figure(curves: Sequence[Curve]) -> Figure:
    """Cumulated net bps of every arm, a panel a fee tier; solid with the model, dashed without.

    A variant that traded exactly as its profile is named in the legend and not drawn over it.
    """
    drawn = [c for c in curves if len(c.t_ns)]
    if not drawn:
        return sentence_figure("no trades: no equity curve")
    tiers = list(dict.fromkeys(c.fee_tier for c in curves))
    figure = new_figure(10.0, 1.2 + 3.2 * len(tiers))
    panels = figure.subplots(len(tiers), 1, sharex=True, squeeze=False)[:, 0]
    start = min(int(c.t_ns[0]) for c in drawn)
    for panel, tier in zip(panels, tiers, strict=True):
        panel.axhline(0.0, color=INK, linewidth=0.8)
        mine = [c for c in curves if c.fee_tier == tier]
        for c in mine:
            name = f"{c.profile} {'model' if c.model else 'no model'}"
            if twin := _same_as_its_profile(c, mine):
                panel.plot([], [], color="none", label=f"{name}: as {twin}")
                continue
            colour = PROFILE_COLOUR.get(c.profile, GREY)
            if not len(c.t_ns):
                panel.plot([], [], color=colour, linestyle=":", label=f"{name} (no trades)")
                continue
            panel.step(
                np.concatenate([[0.0], (c.t_ns - start) / _HOUR_NS]),
                np.concatenate([[0.0], c.cum_bps]),
                where="post",
                color=colour,
                linestyle="-" if c.model else "--",
                linewidth=1.8 if c.model else 1.1,
                label=f"{name} (n = {len(c.t_ns):,})",
            )
        panel.set_title(f"{tier} fees, {JUDGED_EXIT} exit, one position, equal notional", fontsize=10, loc="left")
        panel.set_ylabel("cumulated net bps")
        panel.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    panels[-1].set_xlabel("hours from the first exit")
    dress(*panels)
    return figure


def _same_as_its_profile(curve: Curve, others: Sequence[Curve]) -> str:
    """The profile's letter where ``curve`` is a variant that traded no differently, else nothing."""
    letter = curve.profile[:1]
    same = curve.profile != letter and any(
        (o.profile, o.model) == (letter, curve.model)
        and np.array_equal(o.t_ns, curve.t_ns)
        and np.array_equal(o.cum_bps, curve.cum_bps)
        for o in others
    )
    return letter if same else ""
