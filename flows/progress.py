"""Progress bars with the stage's name, and how long each stage took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.status import Status

__all__ = ["SERVER_START", "Stages", "parts", "server_is_up"]

SERVER_START = Status("starting the embedded Prefect server", console=Console(stderr=True))
"""Shown from the command until the flow itself runs: Prefect and its server take some ten seconds to load."""


def server_is_up() -> None:
    """The flow runs: nothing is waited for any more.

    A function, because a served flow goes to its own process with all that it names, and a status cannot be sent.
    """
    SERVER_START.stop()


class Stages:
    """Shows one bar a stage and keeps its wall time.

    On a terminal the bar is live; elsewhere (a log, CI) one line is written when the stage ends.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[float], None]]:
        """Yield a callback that takes the fraction done, 0 to 1."""
        with self.together() as begin, begin(name) as advance:
            yield advance

    @contextmanager
    def together(self) -> Iterator[Callable[[str], AbstractContextManager[Callable[[float], None]]]]:
        """Yield what ``stage`` is for stages that run side by side, each in a thread."""
        bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<28}"),
            BarColumn(bar_width=40),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        with bars:
            yield lambda name: self._one(bars, name)

    @contextmanager
    def _one(self, bars: Progress, name: str) -> Iterator[Callable[[float], None]]:
        began = time.perf_counter()
        row = bars.add_task(name, total=1.0)

        def advance(fraction: float) -> None:
            bars.update(row, completed=min(max(fraction, 0.0), 1.0))

        try:
            yield advance
        finally:
            bars.remove_task(row)
        took = time.perf_counter() - began
        self.seconds[name] = self.seconds.get(name, 0.0) + took
        self.console.print(f"[green]done[/] {name:<28} {took:6.1f} s", highlight=False)


def parts(progress: Callable[[float], None] | None, shares: Sequence[float]) -> Iterator[Callable[[float], None]]:
    """One bar for several steps: a callback for each of them, which takes the fraction of that step.

    Parameters
    ----------
    shares : of the bar, one a step; together 1
    """
    start = 0.0
    for share in shares:

        def tell(fraction: float, start: float = start, share: float = share) -> None:
            if progress is not None:
                progress(start + share * min(max(fraction, 0.0), 1.0))

        yield tell
        start += share
