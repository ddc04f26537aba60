"""Numbers and states of the vitals as a person reads them."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from .vitals_view import STARTING, Health, PHistogram, VitalsView

__all__ = [
    "NA",
    "as_duration",
    "as_number",
    "as_p",
    "as_price",
    "as_rate",
    "as_share",
    "as_short",
    "as_utc",
    "ascii_only",
    "book_text",
    "mean_p",
    "release_text",
    "state_of",
    "why_text",
]

NA = "n/a"


def state_of(health: Health) -> str:
    """ "healthy", "starting" or "not healthy"."""
    healthy, reasons = health
    if healthy:
        return "healthy"
    return "starting" if all(r.startswith(STARTING) for r in reasons) else "not healthy"


def why_text(health: Health) -> str:
    """The state and all its reasons."""
    reasons = [reason.removeprefix(STARTING) for reason in health[1]]
    return f"{state_of(health)}: {' '.join(reasons)}" if reasons else state_of(health)


def release_text(view: VitalsView) -> str:
    """What serves."""
    return f"release {view.release}" if view.release else "no release: guards only"


def book_text(view: VitalsView) -> str:
    """Whether the book is valid, and since when it is not."""
    if view.book_valid:
        return "valid"
    if view.book_since_ns is None:
        return "none yet"
    return f"INVALID {as_duration(max(0.0, (view.now_ns - view.book_since_ns) / 1e6))}"


def mean_p(p: PHistogram) -> float:
    """Of every P that was answered; NaN without any."""
    return p.sum / p.count if p.count else math.nan


def as_p(p: float) -> str:
    """A probability to three digits."""
    return "-" if math.isnan(p) else f"{p:.3f}"


def as_share(share: float | None) -> str:
    """Whole only where it is whole."""
    if share is None:
        return "-"
    return f"{share:.0%}" if share in (0.0, 1.0) else f"{min(share, 0.999):.1%}"


def as_number(value: float | None) -> str:
    """Milliseconds without their unit in five characters; beyond ten seconds, seconds with theirs."""
    if value is None:
        return "-"
    if value < 100:
        return f"{value:.1f}"
    return f"{value:,.0f}" if value < 10_000 else f"{value / 1e3:.0f} s"


def as_price(price: float) -> str:
    """Quote currency, with as many digits as tell it from its neighbours."""
    return f"{price:,.2f}" if price >= 100 else f"{price:.5g}"


def as_rate(per_s: float | None) -> str:
    """Whole numbers per second."""
    return NA if per_s is None else f"{as_short(round(per_s))} /s"


def as_duration(ms: float | None) -> str:
    """A duration in the unit that reads best."""
    if ms is None:
        return NA
    for most, divisor, digits, unit in (
        (10, 1, 1, "ms"),
        (1e4, 1, 0, "ms"),
        (6e5, 1e3, 0, "s"),
        (3.6e7, 6e4, 0, "min"),
    ):
        if ms < most:
            return f"{ms / divisor:,.{digits}f} {unit}"
    return f"{ms / 3.6e6:,.0f} h"


def as_short(n: int) -> str:
    """Up to seven characters."""
    if n < 1_000_000:
        return f"{n:,}"
    return f"{n / 1e6:,.1f} M" if n < 1_000_000_000 else f"{n / 1e9:,.1f} G"


def as_utc(t_ns: int, format_: str) -> str:
    """A time, ns UTC, in a format of ``strftime``."""
    try:
        at = datetime.fromtimestamp(t_ns // 1_000_000_000, UTC)
    except (OverflowError, ValueError, OSError):  # a user's candidate may say anything
        return NA
    return at.replace(microsecond=t_ns // 1_000 % 1_000_000).strftime(format_)


def ascii_only(text: str) -> str:
    """An error in another alphabet must not be an error of its own."""
    return text.encode("ascii", "replace").decode()
