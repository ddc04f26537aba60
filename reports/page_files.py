"""Files that others wrote and the page shows: read with limits, and what cannot be read is a sentence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from feature_repo.constants import SECOND_NS

from .tables.cell import DASH, cut

__all__ = ["MOST_BYTES", "Unreadable", "read_object", "text_of", "time_text"]

MOST_BYTES = 2_000_000
"""A longer file is not read: the page is for people."""


class Unreadable(Exception):
    """The message says why, without the path."""


def read_object(path: Path, schema: str | None = None, *, most: int = MOST_BYTES) -> Mapping:
    """The JSON object in a file of at most so many bytes.

    Raises
    ------
    Unreadable
        When there is no such file, or it is too long, no JSON object or of another schema.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(most + 1)
    except FileNotFoundError:
        raise Unreadable("there is no such file") from None
    except OSError as error:
        raise Unreadable(f"it cannot be opened ({type(error).__name__})") from None
    if len(data) > most:
        raise Unreadable(f"it is longer than {most // 1_000_000} MB")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise Unreadable("it is no JSON") from None
    if not isinstance(found, Mapping):
        raise Unreadable("it is no JSON object")
    if schema is not None and found.get("schema") != schema:
        raise Unreadable(f"its schema is {cut(found.get('schema'), 60)}, not {schema}")
    return found


def text_of(found: Mapping, name: str, most: int = 200) -> str:
    """A text of the object in one line; a dash where there is none."""
    value = found.get(name)
    return cut(value, most) if isinstance(value, str) and value.strip() else DASH


def time_text(at_ns: object) -> str:
    """A time as UTC; a dash where it is none."""
    if isinstance(at_ns, bool) or not isinstance(at_ns, int):
        return DASH
    try:
        return f"{datetime.fromtimestamp(at_ns // SECOND_NS, UTC):%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return DASH
