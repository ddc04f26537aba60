"""The console that tables are printed on."""

from __future__ import annotations

from rich.console import Console

__all__ = ["wide_console"]

MIN_WIDTH = 124


def wide_console() -> Console:
    """A pipe counts as 80 columns, and a table squeezed into them loses its tags and times."""
    console = Console()
    console.width = max(console.width, MIN_WIDTH)
    return console
