"""The roll-out as a table: from which state which event leads where. Pure: no file, no clock.

::

    candidate --passed--> shadow --step--> small_live --step--> scaled --step--> scaled
        ^                    |                  |                  |
        |                    +------------------+------------------+--drawdown, negative_day, ...--> rolled_back

A state is that of a model, named by the tag of its candidate. What was rolled back comes up again by an operator only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from feature_repo.constants import JUDGE
from feature_repo.errors import InputError

from .buckets import Bucket, BucketTable
from .metrics import ir_trade
from .rollout import CAPS, STEP, STEP_TRADES

__all__ = [
    "AUTOMATIC_ROLLBACKS",
    "TABLE",
    "Action",
    "BucketTrade",
    "Event",
    "Move",
    "State",
    "Step",
    "check_multipliers",
    "first_multipliers",
    "move",
    "next_step",
]


class State(Enum):
    """Of a model."""

    CANDIDATE = "candidate"  # never rolled out, or another one serves
    SHADOW = "shadow"  # serves, and is denied every order
    SMALL_LIVE = "small_live"  # a fifth of the full size, in buckets that were found to pay
    SCALED = "scaled"  # grows bucket by bucket
    ROLLED_BACK = "rolled_back"


class Event(Enum):
    """What may happen to it."""

    PASSED = "passed"  # the promotion rules
    STEP = "step"  # its own trades allow the next step
    DRAWDOWN = "drawdown"
    NEGATIVE_DAY = "negative_day"
    BAD_RECORD = "bad_record"  # a trade that cannot be true: the account is not known any more
    OPERATOR_PROMOTE = "operator_promote"
    OPERATOR_SMALL_LIVE = "operator_small_live"  # past the shadow
    OPERATOR_ROLLBACK = "operator_rollback"


class Action(Enum):
    """What follows."""

    STAGE = "stage"  # a copy of the release with the new stage and multipliers is written and served
    GO_BACK = "go_back"  # the release before is served; without one everything stops


class Move(NamedTuple):
    state: State
    action: Action


_S, _E = State, Event
_STAGED = {s: Move(s, Action.STAGE) for s in (_S.SHADOW, _S.SMALL_LIVE, _S.SCALED)}
_BACK = Move(_S.ROLLED_BACK, Action.GO_BACK)

TABLE: Mapping[tuple[State, Event], Move] = {
    (_S.CANDIDATE, _E.PASSED): _STAGED[_S.SHADOW],
    (_S.CANDIDATE, _E.OPERATOR_PROMOTE): _STAGED[_S.SHADOW],
    (_S.CANDIDATE, _E.OPERATOR_SMALL_LIVE): _STAGED[_S.SMALL_LIVE],
    (_S.SHADOW, _E.STEP): _STAGED[_S.SMALL_LIVE],
    (_S.SHADOW, _E.OPERATOR_PROMOTE): _STAGED[_S.SMALL_LIVE],
    (_S.SHADOW, _E.OPERATOR_SMALL_LIVE): _STAGED[_S.SMALL_LIVE],
    (_S.SHADOW, _E.OPERATOR_ROLLBACK): _BACK,
    (_S.SMALL_LIVE, _E.STEP): _STAGED[_S.SCALED],
    (_S.SMALL_LIVE, _E.DRAWDOWN): _BACK,
    (_S.SMALL_LIVE, _E.NEGATIVE_DAY): _BACK,
    (_S.SMALL_LIVE, _E.BAD_RECORD): _BACK,
    (_S.SMALL_LIVE, _E.OPERATOR_ROLLBACK): _BACK,
    (_S.SCALED, _E.STEP): _STAGED[_S.SCALED],
    (_S.SCALED, _E.DRAWDOWN): _BACK,
    (_S.SCALED, _E.NEGATIVE_DAY): _BACK,
    (_S.SCALED, _E.BAD_RECORD): _BACK,
    (_S.SCALED, _E.OPERATOR_ROLLBACK): _BACK,
    (_S.ROLLED_BACK, _E.OPERATOR_PROMOTE): _STAGED[_S.SHADOW],
    (_S.ROLLED_BACK, _E.OPERATOR_SMALL_LIVE): _STAGED[_S.SMALL_LIVE],
}
"""Anything that is not here is refused."""

AUTOMATIC_ROLLBACKS = (Event.DRAWDOWN, Event.NEGATIVE_DAY, Event.BAD_RECORD)


def move(state: State, event: Event, *, name: str = "the release") -> Move:
    """Where an event leads.

    Raises
    ------
    InputError
        When the table has no such entry.
    """
    found = TABLE.get((state, event))
    if found is None:
        possible = [e.value for s, e in TABLE if s is state]
        raise InputError(
            f"{event.value} for {name}, which is in state {state.value}",
            f"one of {', '.join(possible)}" if possible else "no event at all",
            "See the ladder in docs/roll-out.md",
        )
    return found


class BucketTrade(NamedTuple):
    """One closed trade of a release, or in the shadow one that it would have made.

    Attributes
    ----------
    bucket : of its candidate, as the decision log has it
    t_ns : when it was decided, ns UTC
    net_bps : after all costs, per notional
    """

    bucket: Bucket
    t_ns: int
    net_bps: float


@dataclass(frozen=True, slots=True)
class Step:
    """What a release's own trades allow; ``multipliers`` has every row, changed or not."""

    multipliers: Mapping[Bucket, float]
    why: str


def first_multipliers(table: BucketTable) -> dict[Bucket, float]:
    """Of the small live stage: a fifth in each bucket that the evidence admitted, nothing elsewhere."""
    return {bucket: min(share.multiplier, CAPS["small_live"]) for bucket, share in table.shares.items()}


def next_step(state: State, table: BucketTable, trades: Iterable[BucketTrade]) -> Step | None:
    """The step that a release's trades allow; None where they allow none yet.

    In the shadow: 100 trades since it began, in buckets that may be traded, with a positive IR. Live, bucket by bucket
    with the trades since its multiplier last changed: 0.2 more for at least 100 of them with a positive IR; nothing any
    more from the 30th on while their IR is negative. A bucket at nothing stays there, and one in between as it is.

    Parameters
    ----------
    table : rows of the release that serves
    trades : in any order; earlier ones are left out

    Raises
    ------
    InputError
        When a result is not finite.
    """
    own: dict[Bucket, list[float]] = {}
    for trade in trades:
        if not math.isfinite(trade.net_bps):
            raise InputError(f"a trade in {trade.bucket} with a net of {trade.net_bps} bps", "a number", "Correct it")
        row = table.row_of(trade.bucket)
        if row is not None and table.shares[row].multiplier > 0 and trade.t_ns >= table.shares[row].since_ns:
            own.setdefault(row, []).append(trade.net_bps)
    if state is State.SHADOW:
        return _out_of_the_shadow(table, [net for nets in own.values() for net in nets])
    if state not in (State.SMALL_LIVE, State.SCALED):
        return None
    multipliers = {bucket: share.multiplier for bucket, share in table.shares.items()}
    told = []
    for bucket, nets in own.items():
        now, n, ir = multipliers[bucket], len(nets), _ir(nets)
        if n >= JUDGE.bucket_min_trades and ir < 0:
            multipliers[bucket] = 0.0
        elif n >= STEP_TRADES and ir > 0:
            multipliers[bucket] = min(1.0, round(now + STEP, 10))
        if multipliers[bucket] != now:
            told.append(f"{bucket} {now:g} -> {multipliers[bucket]:g} ({n} trades, IR {ir:+.2f})")
    return Step(multipliers, "; ".join(sorted(told))) if told else None


def _out_of_the_shadow(table: BucketTable, nets: list[float]) -> Step | None:
    if len(nets) < STEP_TRADES or not _ir(nets) > 0:
        return None
    return Step(first_multipliers(table), f"{len(nets)} trades in the shadow, IR {_ir(nets):+.2f}")


def _ir(nets: list[float]) -> float:
    """IR of a trade, of one at least; equal results have no spread, and the sign of their mean decides."""
    ir = ir_trade(nets)
    if not math.isnan(ir):
        return ir
    mean = math.fsum(nets) / len(nets)
    return math.copysign(math.inf, mean) if mean else 0.0


def check_multipliers(stage: str, before: BucketTable, wanted: Mapping[Bucket, float], *, first: bool) -> None:
    """Refuse what is no step.

    Parameters
    ----------
    before : rows of the release that it comes from
    first : out of the shadow or of a candidate; the rows before are then evidence, and not what was traded

    Raises
    ------
    InputError
        When a row is unknown, or a multiplier lies above the stage's cap, grows by more than a step, or from nothing.
    """
    for bucket, multiplier in wanted.items():
        if bucket not in before.shares:
            raise InputError(f"a multiplier for {bucket}", "rows of the release's buckets.csv", "Leave it out")
        now = before.shares[bucket].multiplier
        most = min(now, CAPS[stage]) if first else min(now + STEP, CAPS[stage]) if now > 0 else 0.0
        if not 0 <= multiplier <= most + 1e-9:
            raise InputError(f"the multiplier {multiplier} for {bucket}", f"0 to {most:g}", "One step at a time")
