"""sensitivity.png: net bps of an arm as one knob is turned."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from feature_repo.constants import ORDER
from reports.canvas import AMBER, BLUE, GREY, INK, dress, new_figure, save, sentence_figure, write_in
from reports.sensitivity import KNOBS
from runtime.profiles import PROFILES

__all__ = ["draw_sensitivity", "sensitivity_figure"]

_COLOURS = (BLUE, AMBER, "#009e73", "#cc79a7", INK)  # an arm each
_LINES = (("-", "o"), ("--", "s"), (":", "^"), ("-.", "D"))  # a fee tier each
_LOG_SPAN = 20.0  # largest / least setting from which an axis is logarithmic
_ROOM = 0.045  # of the axis' width between two numbers below it
_ASIDE = 0.13  # of the axis' width: how far from the curve a labelled case stands


def draw_sensitivity(metrics: Mapping, target: Path) -> Path:
    """Write ``sensitivity_figure``."""
    return save(sensitivity_figure(metrics), target, simulated=bool(metrics["simulated"]))


def sensitivity_figure(metrics: Mapping) -> Figure:
    """A panel a knob: mean net bps with its 95 % band, trades (of a size: what was filled of it) below each point, the
    run's own setting as a line.

    Colour is the arm, line style the fee tier. A point that is named and not placed on the axis, such as the tape's own
    latency, stands beside the curve as a star.
    """
    points = (metrics.get("sensitivity") or {}).get("points") or ()
    if not points:
        return sentence_figure("sensitivity was not computed: no curves")
    arms = sorted({_arm(p) for p in points}, key=lambda arm: (arm[0], not arm[1]))
    tiers = list(dict.fromkeys(p["fee_tier"] for p in points if p["fee_tier"]))
    figure = new_figure(11.0, 8.0 + 0.3 * len(arms) * max(1, len(tiers)))
    panels = figure.subplots(2, 2).ravel()
    for ax, knob in zip(panels, KNOBS, strict=True):
        mine = [p for p in points if p["knob"] == knob]
        if not mine:
            write_in(ax, f"{KNOBS[knob]}: not computed")
            continue
        _panel(ax, knob, mine, arms, tiers)
        _mark_defaults(ax, knob, mine, metrics)
        dress(ax)
    figure.legend(handles=_legend(arms, tiers), frameon=False, fontsize=9, loc="outside lower center", ncols=6)
    figure.suptitle(
        "Sensitivity: one knob turned, the rest as in the run; 95 % bands; small numbers: trades",
        fontsize=11, x=0.01, ha="left",
    )  # fmt: skip
    return figure


def _arm(point: Mapping) -> tuple[str, bool]:
    return point["profile"], point["model"]


def _arm_text(arm: tuple[str, bool]) -> str:
    return f"{arm[0]} {'model' if arm[1] else 'no model'}"


def _panel(
    ax: Axes, knob: str, points: Sequence[Mapping], arms: Sequence[tuple[str, bool]], tiers: Sequence[str]
) -> None:
    settings = sorted({p["value"] for p in points if _on_curve(p)})
    if settings and settings[0] > 0 and settings[-1] / settings[0] >= _LOG_SPAN:
        ax.set_xscale("log")
        ax.xaxis.set_minor_locator(NullLocator())
    aside = _beyond(ax, settings)
    ax.axhline(0.0, color=INK, linewidth=0.8)
    line = 0
    named: list[Mapping] = []
    for arm in arms:
        for tier in dict.fromkeys(p["fee_tier"] for p in points):
            mine = [p for p in points if _arm(p) == arm and p["fee_tier"] == tier]
            if not mine:
                continue
            colour = _COLOURS[arms.index(arm) % len(_COLOURS)]
            # Along fees there is no tier: the axis says it.
            style, marker = _LINES[(tiers.index(tier) if tier in tiers else 0) % len(_LINES)]
            _curve(ax, [p for p in mine if _on_curve(p)], f"{tier} {_arm_text(arm)}".strip(), colour, style, marker)
            apart = [p for p in mine if not _on_curve(p)]
            for p in apart:
                _star(ax, p, aside, colour)
            named += apart
            counts = [(p["value"] if _on_curve(p) else aside, _count(p)) for p in mine]
            _counts(ax, counts, line, colour, tier if len(tiers) > 1 else "")
            line += 1
    ticks = [(x, f"{x:,g}") for x in sorted(_thinned(ax, settings))]
    if named:
        ticks.append((aside, named[0]["label"].replace(" ", "\n")))
    ax.set_xticks([x for x, _ in ticks], [text for _, text in ticks], fontsize=8)
    # Room above the ticks' names for one line of counts a curve.
    ax.tick_params(axis="x", pad=3 + 11 * line)
    what = "; small numbers: share that was filled" if knob == "base_size_usd" else ""
    ax.set_title(KNOBS[knob] + what, fontsize=10, loc="left")
    ax.set_ylabel("net bps a trade")


def _on_curve(point: Mapping) -> bool:
    return point["value"] is not None and not point["label"]


def _curve(ax: Axes, points: Sequence[Mapping], name: str, colour: str, style: str, marker: str) -> None:
    curve = sorted((p for p in points if p["net_bps"]["value"] is not None), key=lambda p: p["value"])
    x = [p["value"] for p in curve]
    net = {bound: [_nan(p["net_bps"][bound]) for p in curve] for bound in ("value", "low", "high")}
    ax.plot(x, net["value"], color=colour, marker=marker, markersize=4.5, linewidth=1.5, linestyle=style, label=name)
    ax.fill_between(x, net["low"], net["high"], color=colour, alpha=0.13, linewidth=0)


def _star(ax: Axes, point: Mapping, x: float, colour: str) -> None:
    net = point["net_bps"]
    if net["value"] is None:
        return
    if net["low"] is not None:
        ax.plot([x, x], [net["low"], net["high"]], color=colour, linewidth=1.2, alpha=0.6, label="_bounds")
    ax.plot(
        x, net["value"], color=colour, marker="*", markersize=11, linestyle="none", markeredgecolor="white",
        label=f"_{point['label']}",
    )  # fmt: skip


def _count(point: Mapping) -> str:
    """Trades; of a size, how much of it there was: that, not the result of a trade, is what a larger one runs into."""
    if point["knob"] != "base_size_usd":
        return f"{point['trades']:,}"
    return "-" if point["filled_share"] is None else f"{point['filled_share']:.0%}"


def _counts(ax: Axes, counts: Sequence[tuple[float, str]], line: int, colour: str, title: str) -> None:
    """What stands below each point of one curve, a line below the axis that begins with its title."""
    ax.annotate(
        title, (0.0, 0.0), xycoords="axes fraction", xytext=(-4, -5 - 11 * line), textcoords="offset points",
        ha="right", va="top", fontsize=7, color=colour,
    )  # fmt: skip
    shown = _thinned(ax, [x for x, _ in counts])
    for x, text in counts:
        if x in shown:
            ax.annotate(
                text, (x, 0.0), xycoords=("data", "axes fraction"), xytext=(0, -5 - 11 * line),
                textcoords="offset points", ha="center", va="top", fontsize=7, color=colour,
            )  # fmt: skip


def _beyond(ax: Axes, settings: Sequence[float]) -> float:
    """A place to the right of the curve."""
    if not settings:
        return 1.0
    low, high = _place(ax, [settings[0], settings[-1]])
    there = high + _ASIDE * ((high - low) or 1.0)
    return float(ax.xaxis.get_transform().inverted().transform(np.array([there]))[0])


def _place(ax: Axes, values: Sequence[float]) -> np.ndarray:
    return ax.xaxis.get_transform().transform(np.array(values, dtype=float))


def _thinned(ax: Axes, values: Sequence[float]) -> set[float]:
    """The values whose numbers can stand below the axis without touching the one before."""
    x = sorted(set(values))
    if not x:
        return set()
    at = _place(ax, x)
    room = _ROOM * (at[-1] - at[0])
    kept, last = set(), -math.inf
    for value, where in zip(x, at, strict=True):
        if where - last >= room:
            kept.add(value)
            last = where
    return kept


def _mark_defaults(ax: Axes, knob: str, points: Sequence[Mapping], metrics: Mapping) -> None:
    """A line at what the run itself used; along fees one for each tier of the matrix, by name."""
    if knob == "fee_bps":
        charged = {a["taker_bps"]: a["fee_tier"] for a in metrics["matrix"]}
    else:
        own = {
            "tau": {tau for p in points for tau in _taus(metrics, p["profile"][:1])},
            "latency_ms": {float(ORDER.order_latency_ms)},
            "base_size_usd": {ORDER.base_size_usd},
        }[knob]
        charged = dict.fromkeys(own, "")
    for value, name in charged.items():
        ax.axvline(value, color=GREY, linestyle=(0, (4, 2)), linewidth=1.0, label="_default")
        ax.annotate(
            name, (value, 1.0), xycoords=("data", "axes fraction"), xytext=(-3, -2), textcoords="offset points",
            rotation=90, ha="right", va="top", fontsize=8, color=GREY,
        )  # fmt: skip


def _taus(metrics: Mapping, profile: str) -> set[float]:
    """What the folds' gates asked for; the profile's own where no fold says it."""
    fits = [fold.get("fit") or {} for fold in (metrics.get("training") or {"folds": ()})["folds"]]
    found = {fit["thresholds"]["taus"][profile] for fit in fits if fit.get("thresholds")}
    return found or {PROFILES[profile].tau}


def _legend(arms: Sequence[tuple[str, bool]], tiers: Sequence[str]) -> list[Line2D]:
    out = [
        Line2D([], [], color=_COLOURS[i % len(_COLOURS)], linewidth=3, label=_arm_text(arm))
        for i, arm in enumerate(arms)
    ]
    for i, tier in enumerate(tiers):
        style, marker = _LINES[i % len(_LINES)]
        out.append(Line2D([], [], color=INK, linestyle=style, marker=marker, markersize=4.5, label=f"{tier} fees"))
    out.append(Line2D([], [], color=GREY, linestyle=(0, (4, 2)), label="as in the run"))
    return out


def _nan(value: float | None) -> float:
    return math.nan if value is None else value
