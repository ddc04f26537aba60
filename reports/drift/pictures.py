"""The pictures of the drift page: distances against their limits, calibration over the day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from matplotlib.dates import DateFormatter
from matplotlib.figure import Figure

from feature_repo.constants import SECOND_NS
from feature_repo.fields import CHANNELS
from reports.canvas import AMBER, BLUE, GREY, dress, new_figure, save, sentence_figure
from reports.drift_file import ALERT, WARN

from .distance import Distance
from .limits import DriftLimits
from .model import Rolling

__all__ = ["channel_figure", "draw_channels", "draw_rolling", "rolling_figure"]

_RED = "#b3261e"
_MOST = 2.0


def draw_channels(distances: Sequence[Distance] | None, target: Path, *, simulated: bool) -> Path:
    """Write ``channel_figure``."""
    return save(channel_figure(distances), target, simulated=simulated)


def draw_rolling(windows: Rolling, limits: DriftLimits, target: Path, *, simulated: bool) -> Path:
    """Write ``rolling_figure``."""
    return save(rolling_figure(windows, limits), target, simulated=simulated)


def channel_figure(distances: Sequence[Distance] | None) -> Figure:
    """A bar a channel: its distance in units of its own ALERT limit."""
    if distances is None:
        return sentence_figure("no rows to compare on one of the sides", 6.4, 2.4)
    figure = new_figure(6.4, 6.2)
    ax = figure.subplots()
    ratio = np.array([d.value / d.alert for d in distances])
    colours = [{ALERT: _RED, WARN: AMBER}.get(d.status, BLUE) for d in distances]
    places = np.arange(len(ratio))[::-1]
    ax.barh(places, np.minimum(ratio, _MOST), color=colours, height=0.7)
    for place, r, d in zip(places, ratio, distances, strict=True):
        beyond = "+" if r > _MOST else ""
        ax.text(min(r, _MOST) + 0.02, place, f"{d.value:.2g}{beyond}", va="center", fontsize=7, color=GREY)
    ax.axvline(1.0, color=_RED, linewidth=1.2, linestyle="--", label="ALERT limit")
    ax.set_yticks(places, CHANNELS, fontsize=8)
    ax.set_xlim(0, _MOST * 1.1)
    ax.set_xlabel("distance / ALERT limit of the channel (figures: distance in deviations)")
    ax.set_title("How far each channel is from the training span", fontsize=10, loc="left")
    ax.legend(frameon=False, loc="lower right", fontsize=8)
    dress(ax)
    return figure


def rolling_figure(windows: Rolling, limits: DriftLimits) -> Figure:
    """Brier score and debiased ECE over the latest labels, through the day."""
    if not len(windows.t_ns):
        return sentence_figure("too few labels on the day for a rolling calibration", 6.4, 2.4)
    figure = new_figure(6.4, 4.6)
    top, bottom = figure.subplots(2, 1, sharex=True)
    times = [datetime.fromtimestamp(t / SECOND_NS, UTC) for t in windows.t_ns.tolist()]
    mark = "o" if len(times) < 3 else None
    top.plot(times, windows.brier, color=BLUE, marker=mark, label="model")
    top.plot(times, windows.base, color=AMBER, linestyle="--", marker=mark, label="the window's own share of targets")
    top.set_ylabel("Brier score")
    top.legend(frameon=False, fontsize=8)
    top.set_title(f"Over the latest {limits.rolling_labels} labels, hours in UTC", fontsize=10, loc="left")
    bottom.plot(times, windows.ece, color=BLUE, marker=mark)
    bottom.axhline(limits.ece_warn, color=AMBER, linestyle="--", linewidth=1, label=f"{limits.ece_warn:g}")
    bottom.axhline(limits.ece_alert, color=_RED, linestyle="--", linewidth=1, label=f"{limits.ece_alert:g}")
    bottom.set_ylabel("ECE, debiased")
    bottom.set_ylim(bottom=0)
    bottom.legend(frameon=False, fontsize=8)
    bottom.xaxis.set_major_formatter(DateFormatter("%H:%M", tz=UTC))
    dress(top, bottom)
    return figure
