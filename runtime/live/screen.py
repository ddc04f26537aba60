"""The vitals for a person: one screen on a terminal, one line every ten seconds anywhere else."""

from __future__ import annotations

from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from ..decision import Reason
from .figures import (
    NA,
    as_duration,
    as_number,
    as_p,
    as_rate,
    as_utc,
    ascii_only,
    book_text,
    mean_p,
    release_text,
    why_text,
)
from .page import NO_ORDERS, render
from .vitals_view import Health, VitalsView

__all__ = ["Screen", "plain_line"]

REFRESH_HZ = 4.0
PLAIN_NS = 10_000_000_000


def plain_line(view: VitalsView, health: Health) -> str:
    """What matters most of it in one line, for a log."""
    marks = "".join(f" {name}" for name, so in (("REPLAY", view.replay), ("SIMULATED", view.simulated)) if so)
    parts = [
        f"{as_utc(view.now_ns, '%Y-%m-%dT%H:%M:%SZ')} {view.symbol} {view.venue}{marks}",
        f"{release_text(view)}, profile {view.profile}",
        why_text(health),
        f"feed age {as_duration(view.feed_age_ms)}, messages {as_rate(view.messages_per_s)}, book {book_text(view)}, "
        f"gaps {view.gaps:,}, reconnects {view.reconnects:,}",
        f"{view.decisions:,} decisions, {view.by_reason[Reason.ALLOW]:,} allowed, mean P {as_p(mean_p(view.p))}",
        _e2e(view),
        f"{view.recorded_lines:,} lines recorded, {view.lost_lines:,} lost" if view.recording else "not recorded",
        NO_ORDERS,
    ]
    return "; ".join(part.rstrip(".") for part in parts)


def _e2e(view: VitalsView) -> str:
    """Of the signal type that is nearest to its budget."""
    known = [(x.p95_ms / x.budget_ms, t, x) for t, x in view.e2e.items() if x.p95_ms is not None]
    if not known:
        return f"E2E {NA}"
    _, sig_type, x = max(known)
    return f"E2E P95 {as_number(x.p95_ms)} of {x.budget_ms:.0f} ms ({sig_type.name.lower()})"


class Screen:
    """Shows what it is given: on a terminal four times a second in place, elsewhere a plain line every 10 s.

    ::

        with Screen() as screen:
            view = vitals.snapshot(now_ns)
            screen.update(view, view.health())

    What else is to be seen goes through ``screen.console``, which prints above it.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()
        self._live: Live | None = None
        self._printed_ns: int | None = None
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            self._live = Live(Text(f"Starting; {NO_ORDERS}."), console=self.console, refresh_per_second=REFRESH_HZ)

    def update(self, view: VitalsView, health: Health) -> None:
        """Show this from now on. Cheap: what is drawn is drawn by a thread of its own."""
        if self._live is not None:
            self._live.update(render(view, health, height=self.console.height - 1))
        elif self._due(view.now_ns):
            self._printed_ns = view.now_ns
            line = plain_line(view, health)
            self.console.print(Text(ascii_only(line) if self.console.options.ascii_only else line), soft_wrap=True)

    def _due(self, now_ns: int) -> bool:
        last_ns = self._printed_ns  # a clock that was set back must not silence the log
        return last_ns is None or not 0 <= now_ns - last_ns < PLAIN_NS

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
