"""The command of a module that writes a page of the documents."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from .paths import atomic_path

__all__ = ["page_command"]


def page_command(page: Callable[[], str], argv: Sequence[str] | None) -> int:
    """Write the page to the path given, or to standard output; the exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments:
        sys.stdout.write(page())
        return 0
    with atomic_path(Path(arguments[0])) as beside:
        beside.write_text(page(), encoding="utf-8")
    return 0
