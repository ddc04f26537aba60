"""What a person reads in the UI after a run: tables, sentences, links. A run must not fail for want of one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect import get_run_logger
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from .fan_out import Outcome

__all__ = ["file_link", "outcome_table", "page_text", "rows_table"]


def rows_table(key: str, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """A table artifact."""
    create_table_artifact([dict(r) for r in rows], key=_key_of(key), description=title)


def outcome_table(
    key: str, title: str, outcomes: Sequence[Outcome[Any, Any]], told: Callable[[Any], Mapping[str, Any]]
) -> None:
    """A row an item: what became of it, and what ``told`` says of what was made; what failed stands in the log, too."""
    rows = [
        {
            "item": str(o.item),
            "state": _state(o),
            **(told(o.value) if o.ok else {}),
            "error": o.error or "",
        }
        for o in outcomes
    ]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    rows_table(key, title, [{name: row.get(name, "") for name in columns} for row in rows])
    for o in outcomes:
        if not o.ok:
            get_run_logger().error("%s: %s", o.item, o.error)


def page_text(key: str, title: str, text: str) -> None:
    """A markdown artifact."""
    create_markdown_artifact(text, key=_key_of(key), description=title)


def file_link(key: str, title: str, path: Path) -> None:
    """A link to a file on the machine that ran the flow."""
    create_link_artifact(Path(path).resolve().as_uri(), link_text=Path(path).name, key=_key_of(key), description=title)


def _state(outcome: Outcome[Any, Any]) -> str:
    if not outcome.ok:
        return "failed"
    fresh = getattr(outcome.value, "fresh", None)
    return "done" if fresh is None or fresh else "as before"


def _key_of(*parts: str) -> str:
    """A key as the UI accepts one: lower case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")
