"""What every table is made of: the table itself, and numbers as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["DASH", "Table", "arm_key", "arm_name", "cut", "find_arm", "interval_text", "number"]

DASH = "-"


@dataclass(frozen=True)
class Table:
    """Cells are text; ``numeric`` columns are aligned right; ``marks`` names a row's tone ("", "na", "head")."""

    title: str
    columns: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[str, ...], ...]
    marks: tuple[str, ...]
    note: str = ""


def number(value: float | int | None, form: str = "+.2f") -> str:
    """A number as text, a dash where there is none."""
    return DASH if value is None else format(value, form)


def interval_text(cell: Mapping[str, float | None], form: str = "+.2f") -> str:
    """A value with its bounds, where it has some."""
    value = number(cell["value"], form)
    return value if cell["low"] is None else f"{value} [{cell['low']:{form}}, {cell['high']:{form}}]"


def arm_key(row: Mapping) -> dict[str, object]:
    """What names an arm, from a row of metrics.json."""
    return {k: row[k] for k in ("fee_tier", "profile", "model")}


def arm_name(key: Mapping) -> str:
    """As ``ArmInput.name``, from a row of metrics.json."""
    return f"{key['fee_tier']} {key['profile']} {'model' if key['model'] else 'no model'}"


def find_arm(rows: Sequence[Mapping], key: Mapping, **more: object) -> Mapping | None:
    """The row of the arm, None where there is none."""
    wanted = {**arm_key(key), **more}
    return next((r for r in rows if all(r[k] == v for k, v in wanted.items())), None)


def cut(text: object, most: int = 300) -> str:
    """Text that others wrote, at most so long, in one line."""
    line = " ".join(str(text).split())
    return line if len(line) <= most else line[: most - 4] + " ..."
