"""A seeded stream of damaged questions for a gate; each has one thing wrong that some guard reads."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import fields, replace
from typing import Any

import numpy as np

from feature_repo.constants import WINDOW_NS
from feature_repo.fields import MARKET_DTYPE
from runtime.arms import Decider
from runtime.candidate import Candidate, SigType, Tier
from runtime.decision import Reason

from .gate_builders import TS, candidate, market_row, window

__all__ = ["Damage", "fuzz"]

NAN, INF = math.nan, math.inf
Question = tuple[Any, Any, Any, Any]

_JUNK = (
    None, True, False, "", "1", b"x", [], {}, (), object(), NAN, INF, -INF, 1e300, -1e300, 10**400, -(10**400), 2**63,
    -(2**63), 1j, np.array([1.0, 2.0]), np.array(None), np.zeros(0), np.float64("nan"), np.int8(-7),
)  # fmt: skip
_NUMBERS = (NAN, INF, -INF, 1e30, -1e30)
_ROW = ("bid", "ask", "mid", "spread_bps", "spread_median_bps", "depth_top5", "depth_median", "data_age_ms")
_FIELDS = [f.name for f in fields(Candidate)]


class Damage:
    """``next()`` gives a question (candidate, now_ns, x, market row) that has to be denied."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._kinds = (self._field, self._argument, self._row, self._window, self._time, self._other)

    def __next__(self) -> tuple[str, Question]:
        kind = self._kinds[self._rng.integers(len(self._kinds))]
        return kind.__name__[1:], kind()

    def _any(self, values: tuple) -> Any:
        return values[self._rng.integers(len(values))]

    def _field(self) -> Question:
        while True:
            name, value = self._any(tuple(_FIELDS)), self._any(_JUNK)
            if not _proper(name, value):
                return replace(candidate(), **{name: value}), TS, window(), market_row()

    def _argument(self) -> Question:
        question = [candidate(), TS, window(), market_row()]
        question[self._rng.integers(4)] = self._any(_JUNK)
        return tuple(question)

    def _row(self) -> Question:
        name, value = self._any(_ROW), self._any((*_NUMBERS, 0.0, -1.0))
        if (name, value) in {("data_age_ms", 0.0), ("data_age_ms", -1.0), ("spread_bps", 0.0)}:
            value = NAN  # those are proper
        return candidate(), TS, window(), market_row(**{name: value})

    def _window(self) -> Question:
        x = window()
        shape = self._rng.integers(6)
        if shape == 0:
            x = self._any((x[:-1], x[:, :-1], x[None], x.astype(np.float64), x.astype(">f4"), x.tolist(), x.T))
        else:
            spots = self._rng.integers(1, 4)
            x[self._rng.integers(len(x), size=spots), self._rng.integers(x.shape[1], size=spots)] = self._any(_NUMBERS)
        return candidate(), TS, x, market_row()

    def _time(self) -> Question:
        away = int(self._rng.integers(1, 10**6)) * WINDOW_NS * (1 if self._rng.random() < 0.5 else -1)
        which = self._rng.integers(3)
        if which == 0:
            return candidate(), TS, window(), market_row(t_ns=TS + away)
        if which == 1:
            return candidate(), TS - abs(away), window(), market_row()
        return candidate(), candidate().expiry_ns + abs(away), window(), market_row()

    def _other(self) -> Question:
        which = self._rng.integers(5)
        if which == 0:
            return candidate(symbol="".join(map(chr, self._rng.integers(32, 127, 8)))), TS, window(), market_row()
        if which == 1:
            return candidate(), TS, window(), market_row(valid=False)
        if which == 2:
            return candidate(tier=Tier.C), TS, window(), market_row()
        if which == 3:
            return candidate(sig_type=SigType.RECLAIM), TS, window(), market_row()
        row = np.zeros(1, [d for d in MARKET_DTYPE.descr if d[0] != "bid"])[0]
        return candidate(), TS, window(), row


def _proper(name: str, value: Any) -> bool:
    """Junk that is a possible value of its field, and leaves the candidate allowed."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return (name == "expiry_ns" and whole and value > TS) or (name == "reclaimed" and isinstance(value, bool))


def fuzz(gates: tuple[Decider, ...], n: int, seed: int) -> Counter:
    """Ask n damaged questions, and a sound one now and then; counts (kind, reason).

    Raises
    ------
    AssertionError
        When a damaged one was allowed, or a sound one was not. Whatever a gate raises comes out, too.
    """
    damage, seen = Damage(seed), Counter()
    for i in range(n):
        kind, question = next(damage)
        for gate in gates:
            decision = gate.decide(*question)
            if decision.allow or decision.size != 0.0 or decision.reason is Reason.ALLOW:
                raise AssertionError(f"allowed {decision} at question {i} of seed {seed}, {kind}: {question}")
            seen[kind, decision.reason] += 1
            if i % 1_000 == 0 and not gate.decide(candidate(), TS, window(), market_row()).allow:
                raise AssertionError(f"a sound question was denied after {i} of seed {seed}")
    return seen
