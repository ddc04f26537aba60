"""releases/history.jsonl: a line for each change of what serves. It only grows; the link beside it is what holds.

A process may die between the two. The next one finds that the last line names another release than the link, and adds a
line "recovered"; half a line at the end is cut off first. A line in the middle that cannot be read is passed over, and
counted: from then on only a person may roll out further.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["HISTORY_NAME", "History", "append_line", "cut_torn_tail", "read_history", "rolled_back_bases"]

HISTORY_NAME = "history.jsonl"
Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class History:
    """Attributes
    ----------
    lines : in their order
    unreadable : whole lines that are no JSON object
    torn : whether the last line is not whole
    """

    lines: Sequence[Line] = ()
    unreadable: int = 0
    torn: bool = False

    @property
    def last(self) -> Line | None:
        """The latest line that can be read."""
        return self.lines[-1] if self.lines else None

    def last_of(self, tag: str) -> Line | None:
        """The latest line in which a release came to serve."""
        return next((line for line in reversed(self.lines) if line.get("tag") == tag), None)

    def served(self) -> set[str]:
        """Tags that ever served."""
        return {str(line[key]) for line in self.lines for key in ("tag", "previous") if line.get(key)}


def read_history(releases: Path) -> History:
    """All that can be read of it; an empty one where there is none."""
    file = Path(releases) / HISTORY_NAME
    data = file.read_bytes() if file.is_file() else b""
    whole, newline, tail = data.rpartition(b"\n")
    parsed = [_parse(line) for line in whole.split(b"\n")] if newline else []
    lines = tuple(line for line in parsed if line is not None)
    return History(lines, len(parsed) - len(lines), bool(tail))


def cut_torn_tail(releases: Path) -> None:
    """Take half a line off the end; a whole one that lacks its end gets it. Only with the lock in hand."""
    file = Path(releases) / HISTORY_NAME
    data = file.read_bytes() if file.is_file() else b""
    whole, newline, tail = data.rpartition(b"\n")
    if not tail:
        return
    if _parse(tail) is None:
        os.truncate(file, len(whole) + len(newline))
    else:
        _append(file, b"\n")


def append_line(releases: Path, line: Line) -> None:
    """Add a line, on disk when this returns. Only with the lock in hand."""
    _append(Path(releases) / HISTORY_NAME, json.dumps(line, sort_keys=True).encode() + b"\n")


def rolled_back_bases(lines: Sequence[Line]) -> set[str]:
    """Models whose latest change was a rollback, and that no operator has promoted since."""
    bases: set[str] = set()
    for line in lines:
        if line.get("rolled_back"):
            bases.add(str(line["rolled_back"]))
        elif str(line.get("event", "")).startswith("operator_"):
            bases.discard(str(line.get("base")))
    return bases


def _append(file: Path, data: bytes) -> None:
    with file.open("ab") as history:
        history.write(data)
        history.flush()
        os.fsync(history.fileno())


def _parse(line: bytes) -> Line | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
