"""The console that tables are printed on."""

from __future__ import annotations

from rich.console import Console

__all__ = ["wide_console"]

MIN_WIDTH = 120


def wide_console(console: Console | None = None) -> Console:
    """The console given, or a new one, at least wide enough for the tables.

    A pipe counts as 80 columns, and a table squeezed into them loses its names and times.
    """
    console = console or Console()
    console.width = max(console.width, MIN_WIDTH)
    return console
