"""How far a release is rolled out. Each step is a release of its own; this part of its manifest says which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["CAPS", "STAGES", "STEP", "STEP_TRADES", "Rollout", "is_rollout", "stage_of"]

CAPS = {"shadow": 0.0, "small_live": 0.2, "scaled": 1.0}
"""Largest share of the full size by stage, whatever the buckets say."""
STAGES = tuple(CAPS)
STEP = 0.2
"""A bucket grows by so much of the full size at a time."""
STEP_TRADES = 100
"""Trades behind each step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """Attributes
    ----------
    stage : "shadow", "small_live" or "scaled"
    previous : tag that a rollback goes to; None: there is none, and a rollback stops everything
    base : tag of the candidate that it is a copy of
    since_ns : when it was made, ns UTC
    """

    stage: str
    previous: str | None
    base: str
    since_ns: int


def stage_of(rollout: Rollout | None) -> str:
    """Its stage; "candidate" for a release that was never rolled out."""
    return "candidate" if rollout is None else rollout.stage


def is_rollout(v: Any) -> bool:
    """Whether this is a roll-out as a manifest's JSON has it; None is one, too."""
    return v is None or (
        isinstance(v, dict)
        and v.keys() == {"stage", "previous", "base", "since_ns"}
        and v["stage"] in STAGES
        and (v["previous"] is None or isinstance(v["previous"], str))
        and isinstance(v["base"], str)
        and isinstance(v["since_ns"], int)
        and not isinstance(v["since_ns"], bool)
        and 0 <= v["since_ns"] < 2**63
    )
