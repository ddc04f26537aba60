"""One check of a day, and what several come to."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from reports.drift_file import ALERT, GROUPS, NA, OK, STATUSES, WARN

__all__ = ["DriftCheck", "DriftResult", "graded", "worst"]


@dataclass(frozen=True)
class DriftCheck:
    """One row of the table.

    Attributes
    ----------
    value : None where there is none; the status is N/A then, or the note says what stands in its place
    threshold : in words, with its numbers
    n : what the value was computed from
    """

    group: str
    name: str
    status: str
    value: float | None
    threshold: str
    n: int
    note: str = ""

    def __post_init__(self) -> None:
        if self.group not in GROUPS or self.status not in STATUSES:
            raise ValueError(f"a check of group {self.group!r} with status {self.status!r}")
        if self.value is not None and not math.isfinite(self.value):
            raise ValueError(f"{self.group} {self.name}: the value is {self.value}; None where there is none")

    def to_dict(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def missing(cls, group: str, name: str, why: str, n: int = 0) -> DriftCheck:
        return cls(group, name, NA, None, "", n, why)


@dataclass(frozen=True)
class DriftResult:
    """What became of a day: the worst of its checks, all of them, the folder of its pages; whether it is made up."""

    status: str
    checks: tuple[DriftCheck, ...]
    path: Path
    simulated: bool


def worst(checks: Iterable[DriftCheck]) -> str:
    """The worst status; N/A without a check that has one."""
    return max((c.status for c in checks), key=STATUSES.index, default=NA)


def graded(value: float, warn: float, alert: float, *, below: bool = False) -> str:
    """OK, WARN or ALERT of a value that is bad above its limits, or ``below`` them. What is no number is an ALERT."""
    if not math.isfinite(value):
        return ALERT
    sign = -1.0 if below else 1.0
    return ALERT if sign * (value - alert) > 0 else WARN if sign * (value - warn) > 0 else OK
