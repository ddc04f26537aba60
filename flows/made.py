"""What was made from what: a small file beside an output, so that nothing is made twice from the same bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from feature_repo.paths import atomic_path

__all__ = ["read_mark", "unless_made", "write_mark"]

_FILES = "files"


def read_mark(mark: Path) -> dict[str, Any] | None:
    """What a mark says; None for one that is missing or damaged: its output is then made again."""
    try:
        told = json.loads(mark.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) and isinstance(told.get("key"), str) else None


def write_mark(mark: Path, key: str, told: Mapping[str, Any]) -> None:
    """Leave a mark beside an output that is complete."""
    with atomic_path(mark) as beside:
        beside.write_text(json.dumps({"key": key, **told}, indent=1) + "\n", encoding="utf-8")


def unless_made(
    mark: Path,
    key: str,
    make: Callable[[], Mapping[str, Any]],
    *,
    outputs: Callable[[Mapping[str, Any]], Iterable[Path]],
) -> tuple[dict[str, Any], bool]:
    """What ``make`` tells of its output, or told when it was made with the same key and nobody has touched it since.

    Parameters
    ----------
    key : hash of everything that the output depends on
    make : makes the output and returns plain JSON
    outputs : from what was told to the files that it tells of; other commands write them, too

    Returns
    -------
    (told, fresh)
        ``fresh``: this call made it.
    """
    before = read_mark(mark)
    if before is not None and before.pop("key") == key:
        seen = before.pop(_FILES, None)
        if seen and seen == _stamps(outputs(before)):
            return before, False
    mark.unlink(missing_ok=True)  # the old output is about to be replaced: half of a new one must not look like it
    told = dict(make())
    write_mark(mark, key, told | {_FILES: _stamps(outputs(told))})
    return told, True


def _stamps(files: Iterable[Path]) -> dict[str, list[int]]:
    """Size in bytes and time of change, ns, of each file."""
    found = {str(file): file.stat() for file in files}
    return {name: [stat.st_size, stat.st_mtime_ns] for name, stat in sorted(found.items())}
