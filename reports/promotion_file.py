"""metrics.json as the promotion reads it: what is missing, null or of another kind is a sentence, never a guess."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from .matrix import HEADLINE_PROFILE, SCHEMA

__all__ = ["Absent", "MetricsFile"]


class Absent(Exception):
    """A rule cannot be judged; the message says what metrics.json lacks."""


@dataclass(frozen=True)
class MetricsFile:
    """Reading by path. Every reader raises ``Absent`` with the place where metrics.json differs from its schema."""

    metrics: object
    unreadable: str = ""

    @property
    def other_schema(self) -> str:
        """What is wrong with the file as a whole, its version first of all; empty where nothing is."""
        if self.unreadable:
            return self.unreadable
        if not isinstance(self.metrics, Mapping):
            return f"the file is no JSON object but {_kind(self.metrics)}"
        found = self.metrics.get("schema")
        return "" if found == SCHEMA else f"the file has schema {_short(found)}, this version reads {SCHEMA}"

    def section(self, name: str) -> object:
        if self.other_schema:
            raise Absent(self.other_schema)
        return self.field(self.metrics, name, "metrics.json")

    def field(self, part: object, name: str, where: str) -> object:
        if not isinstance(part, Mapping):
            raise Absent(f"{where} is no object but {_kind(part)}")
        if name not in part:
            raise Absent(f"{where} has no {name!r}")
        return part[name]

    def number(self, part: object, name: str, where: str) -> float:
        value = self.field(part, name, where)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Absent(f"{where}: {name} is {_kind(value)}, a number is needed")
        try:
            out = float(value)
        except OverflowError:
            out = math.inf
        if not math.isfinite(out):
            raise Absent(f"{where}: {name} is not finite")
        return out

    def count(self, part: object, name: str, where: str) -> int:
        value = self.number(part, name, where)
        if value < 0 or value != int(value):
            raise Absent(f"{where}: {name} is {value:g}, a count is needed")
        return int(value)

    def text(self, part: object, name: str, where: str) -> str:
        value = self.field(part, name, where)
        if not isinstance(value, str):
            raise Absent(f"{where}: {name} is {_kind(value)}, text is needed")
        return value

    def only(self, rows: object, where: str, **key: object) -> Mapping:
        """The one row that has these values; none or two of them is a damaged file."""
        if not isinstance(rows, list | tuple):
            raise Absent(f"{where} is no list but {_kind(rows)}")
        # True == 1 in Python, but no file of ours says model = 1.
        found = [
            r
            for r in rows
            if isinstance(r, Mapping) and all(r.get(k) == v and type(r.get(k)) is type(v) for k, v in key.items())
        ]
        if len(found) != 1:
            named = ", ".join(f"{k} {v}" for k, v in key.items())
            raise Absent(f"{where} has {len(found)} rows of {named}, one is needed")
        return found[0]

    @property
    def fee_tier(self) -> str:
        """The tier that was named."""
        run = self.section("run")
        if self.field(run, "fee_tier_given", "run") in (None, ""):
            raise Absent("no fee tier was named")
        return self.text(run, "fee_tier_given", "run")

    @property
    def arm(self) -> dict[str, object]:
        """What names the arm that a promotion rests on."""
        return {"fee_tier": self.fee_tier, "profile": HEADLINE_PROFILE, "model": True}


def _kind(value: object) -> str:
    if value is None:
        return "null"
    return {bool: "true or false", str: "text", list: "a list", dict: "an object"}.get(type(value), "a number")


def _short(value: object) -> str:
    return repr(value[:60]) if isinstance(value, str) else _kind(value)
