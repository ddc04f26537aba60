"""A picture of one tape: price with its marks, spread, and the depth of both sides."""

from __future__ import annotations

import tempfile
from datetime import UTC
from pathlib import Path

import matplotlib
import matplotlib.dates as mdates
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from feature_repo.constants import SECOND_NS
from feature_repo.errors import InputError
from feature_repo.market.summary import Marks, Summary, utc_text
from feature_repo.market.walk import STEP_NS
from feature_repo.paths import atomic_path

from .canvas import AMBER, BLUE, DPI, INK, dress, new_figure

__all__ = ["FORMATS", "check_target", "draw_tape"]

FORMATS = (".png", ".svg", ".pdf")
_BINS = 1_200
_BUY, _SELL, _GAP, _LIQUIDATION = BLUE, AMBER, "#b00020", "#7b1fa2"
_SHOWN_TRADES = 60
_NAMED_GAPS = 500


def check_target(target: Path) -> None:
    """Refuse, before any work, a place that the picture cannot be written to.

    Raises
    ------
    InputError
        For another format than ``FORMATS``, a folder, or a place that takes no file.
    """
    target = Path(target)
    if target.suffix.lower() not in FORMATS:
        raise InputError(f"the picture {target}", f"a name that ends in {', '.join(FORMATS)}", "Give another name")
    if target.is_dir():
        raise InputError(f"the picture {target} is a folder", "the name of a file", "Give another name")
    # Folders that are missing are made: what must take files is the first one that is there.
    there = next(p for p in target.absolute().parents if p.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise InputError(
            f"the picture {target} cannot be written ({error.strerror})", "a folder that takes files", "Give another"
        ) from error


def draw_tape(summary: Summary, target: Path) -> Path:
    """Draw mid, spread and top-5 depth over UTC time; nothing is left half-written.

    A long tape is binned: each bin shows the range of its 100 ms values.
    """
    target = Path(target)
    figure = new_figure(11.0, 8.2)
    price, spread, depth = figure.subplots(3, 1, sharex=True, gridspec_kw={"height_ratios": (3, 1, 1.3)})
    bins = _Bins(summary)
    _draw_price(price, bins, summary)
    _draw_spread(spread, bins, summary)
    _draw_depth(depth, bins)
    _draw_gaps((price, spread, depth), bins, summary)
    dress(price, spread, depth)
    _time_axis(depth, bins)
    price.set_title(_title(summary), fontsize=11, loc="left", color=INK)
    if summary.simulated:
        figure.text(0.5, 0.55, "SIMULATED", ha="center", va="center", fontsize=64, color=_GAP, alpha=0.10, rotation=24)
    kind = target.suffix.lower().removeprefix(".")
    # Without the library's version and the date in it, the same tape gives the same bytes.
    metadata = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[kind]
    with atomic_path(target) as beside, matplotlib.rc_context({"svg.hashsalt": "ofi-meta"}):
        figure.savefig(beside, format=kind, dpi=DPI, metadata=metadata)
    return target


class _Bins:
    """Windows put together so that at most ``_BINS`` remain; an empty bin breaks every line."""

    def __init__(self, summary: Summary) -> None:
        w, tick = summary.walk.windows, summary.tick
        source = 1 if summary.walk.quote_messages else 0
        self.origin_ns = summary.walk.origin_ns
        width = max(1, -(-int(w["k"][-1] + 1) // _BINS))
        starts = np.flatnonzero(np.diff(w["k"] // width, prepend=-1))
        number = w["k"][starts] // width
        self.total = int(number[-1]) + 1
        self._at = number
        bid, ask = w["bid"][:, source], w["ask"][:, source]
        spread = (ask - bid) / tick
        # fmin and fmax pass over windows without quotes, a plain minimum would spread their NaN.
        self.low, self.high = self._place(np.fmin.reduceat(bid, starts)), self._place(np.fmax.reduceat(ask, starts))
        self.mid = self._place(_mean((bid + ask) / 2, starts))
        self.spread = self._place(_mean(spread, starts))
        self.spread_low = self._place(np.fmin.reduceat(spread, starts))
        self.spread_high = self._place(np.fmax.reduceat(spread, starts))
        self.bid_depth = self._place(_mean(w["bid_qty5"].astype("f8"), starts))
        self.ask_depth = self._place(_mean(w["ask_qty5"].astype("f8"), starts))
        self.width_ns = width * STEP_NS
        self.time = _dates(self.origin_ns + (np.arange(self.total) + 0.5) * self.width_ns)
        last_ns = max(summary.last_ns, summary.first_ns + STEP_NS)
        self.span = _dates(np.array([summary.first_ns, last_ns], "f8"))

    def _place(self, values: np.ndarray) -> np.ndarray:
        out = np.full(self.total, np.nan)
        out[self._at] = values
        return out


def _mean(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Mean of each bin over the windows that have a value."""
    known = np.isfinite(values)
    n = np.add.reduceat(known.astype(np.int64), starts)
    total = np.add.reduceat(np.where(known, values, 0.0), starts)
    return np.divide(total, n, out=np.full(len(starts), np.nan), where=n > 0)


def _dates(t_ns: np.ndarray) -> np.ndarray:
    """Days since 1970, as matplotlib counts time."""
    return np.asarray(t_ns, "f8") / (86_400 * SECOND_NS)


def _draw_price(ax: Axes, bins: _Bins, summary: Summary) -> None:
    ax.fill_between(bins.time, bins.low, bins.high, color=INK, alpha=0.18, linewidth=0, label="lowest bid, highest ask")
    ax.step(bins.time, bins.mid, color=INK, linewidth=0.9, where="mid", label="mid")
    trades = summary.trades
    top = np.sort(np.argsort(-trades.qty, kind="stable")[:_SHOWN_TRADES])
    largest = Marks(*(getattr(trades, n)[top] for n in ("t_ns", "px", "qty", "side")))
    for side, marker, colour, word in ((1, "^", _BUY, "bought"), (-1, "v", _SELL, "sold")):
        at = largest.side == side
        if at.any():
            size = 12 + 70 * largest.qty[at] / largest.qty.max()
            label = f"largest trades, {word} ({np.count_nonzero(at)})"
            ax.scatter(
                _dates(largest.t_ns[at]), largest.px[at], s=size, marker=marker, color=colour, alpha=0.75,
                linewidths=0, label=label, zorder=3,
            )  # fmt: skip
    forced = summary.liquidations
    if len(forced.t_ns):
        n = summary.rows_by_kind["liquidation"]
        ax.scatter(
            _dates(forced.t_ns), forced.px, s=28, marker="x", color=_LIQUIDATION, linewidths=1.1,
            label=f"liquidations ({n:,})", zorder=4,
        )  # fmt: skip
    ax.set_ylabel("price")
    ax.ticklabel_format(axis="y", useOffset=False, style="plain")


def _draw_spread(ax: Axes, bins: _Bins, summary: Summary) -> None:
    ax.fill_between(bins.time, bins.spread_low, bins.spread_high, color=_BUY, alpha=0.25, linewidth=0, step="mid")
    ax.step(bins.time, bins.spread, color=_BUY, linewidth=0.9, where="mid")
    known = bins.spread_high[np.isfinite(bins.spread_high)]
    if len(known):
        # A single wide moment must not flatten the rest.
        top = max(2.5, 1.25 * float(np.quantile(known, 0.995)))
        ax.set_ylim(0, top)
        if known.max() > top:
            ax.text(
                1.0, 0.97, f"up to {known.max():,.0f}", transform=ax.transAxes, ha="right", va="top", fontsize=8,
                color=INK,
            )  # fmt: skip
    ax.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    ax.set_ylabel(f"spread, ticks of {summary.tick:g}")


def _draw_depth(ax: Axes, bins: _Bins) -> None:
    ax.fill_between(bins.time, 0, bins.bid_depth, color=_BUY, alpha=0.55, linewidth=0, step="mid", label="bid")
    ax.fill_between(bins.time, 0, -bins.ask_depth, color=_SELL, alpha=0.55, linewidth=0, step="mid", label="ask")
    ax.axhline(0.0, color=INK, linewidth=0.6)
    known = np.concatenate([bins.bid_depth, bins.ask_depth])
    known = known[np.isfinite(known)]
    if len(known):
        top = 1.15 * float(np.quantile(known, 0.995))
        ax.set_ylim(-top, top)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{abs(v):,.0f}" if abs(v) >= 10 else f"{abs(v):.3g}"))
    ax.set_ylabel("size of the best 5 levels")
    ax.legend(frameon=False, fontsize=8, loc="upper left", ncols=2)


def _draw_gaps(axes: tuple[Axes, ...], bins: _Bins, summary: Summary) -> None:
    least = 0.0015 * float(bins.span[1] - bins.span[0])  # of the width: a short gap is still seen
    for n, gap in enumerate(summary.gaps[:_NAMED_GAPS]):
        start, end = _dates(np.array([gap.start_ns, gap.end_ns or summary.last_ns], "f8"))
        for ax in axes:
            label = f"no book after a gap ({len(summary.gaps):,})" if n == 0 and ax is axes[0] else None
            ax.axvspan(start, max(end, start + least), color=_GAP, alpha=0.22, linewidth=0, label=label, zorder=0)
    axes[0].legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=6)


def _time_axis(ax: Axes, bins: _Bins) -> None:
    locator = mdates.AutoDateLocator(tz=UTC, minticks=5, maxticks=10)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator, tz=UTC))
    ax.set_xlim(*bins.span)
    ax.set_xlabel("UTC")


def _title(summary: Summary) -> str:
    first, last = utc_text(summary.first_ns, 0), utc_text(summary.last_ns, 0)
    banner = "SIMULATED  " if summary.simulated else ""
    return f"{banner}{summary.symbol} on {summary.venue}, {first} to {last} UTC, {summary.rows:,} rows"
