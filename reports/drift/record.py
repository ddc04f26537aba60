"""What the drift report is made from: one day beside the training span of the release that serves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from feature_repo.errors import InputError
from feature_repo.fields import CHANNELS

__all__ = ["Decided", "DriftInput", "Quality", "Rows", "WalkForward", "check_day"]

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_SYMBOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_day(day: str) -> str:
    """The day, if it is one.

    Raises
    ------
    InputError
        When it is no ``YYYY-MM-DD`` of the calendar.
    """
    try:
        if not _DAY.fullmatch(day):
            raise ValueError
        np.datetime64(day, "D")
    except ValueError:
        raise InputError(f"the day {day!r}", "YYYY-MM-DD, a day in UTC", "Give the day that is to be judged") from None
    return day


@dataclass(frozen=True)
class Rows:
    """Sampled valid rows of the feature table.

    Attributes
    ----------
    t_ns : int64 [n], ascending
    X : float32 [n, 24], in the order of ``fields.CHANNELS``
    """

    t_ns: np.ndarray
    X: np.ndarray

    def __post_init__(self) -> None:
        if self.X.shape != (len(self.t_ns), len(CHANNELS)):
            raise ValueError(f"rows {self.X.shape} beside {len(self.t_ns)} times; want [n, {len(CHANNELS)}]")
        if (np.diff(self.t_ns) < 0).any():
            raise ValueError("rows are not in time order")

    @classmethod
    def none(cls) -> Rows:
        return cls(np.zeros(0, np.int64), np.zeros((0, len(CHANNELS)), np.float32))


@dataclass(frozen=True)
class Decided:
    """Candidates with what the release said of them, [m] each, in time order.

    Attributes
    ----------
    ts_ns : int64
    X : float32 [m, 24], the candidate's row, unaligned; zeros without a window
    p : float64, NaN without a window
    y : int8, 1 target, 0 stop or time-out, -1 no label
    weight : float64, average uniqueness of the label, 0 without one
    sig_type : int8, SigType
    in_tier : bool, the profile takes it
    reason : int16, position in ``records.REASONS``, of the gate at full roll-out
    allow : bool
    cost_bps : float64, fees of both legs and estimated slippage
    exp_reward_bps : float64, NaN where unknown
    """

    ts_ns: np.ndarray
    X: np.ndarray
    p: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    sig_type: np.ndarray
    in_tier: np.ndarray
    reason: np.ndarray
    allow: np.ndarray
    cost_bps: np.ndarray
    exp_reward_bps: np.ndarray

    def __post_init__(self) -> None:
        wrong = {name: len(value) for name, value in vars(self).items() if len(value) != len(self.ts_ns)}
        if wrong:
            raise ValueError(f"{len(self.ts_ns)} candidates but {wrong}")
        if (np.diff(self.ts_ns) < 0).any():
            raise ValueError("candidates are not in time order")

    @classmethod
    def none(cls) -> Decided:
        e = np.zeros(0)
        b = e.astype(bool)
        X = np.zeros((0, len(CHANNELS)), np.float32)
        i1 = e.astype(np.int8)
        return cls(e.astype(np.int64), X, e, i1, e, i1, b, e.astype(np.int16), b, e, e)

    def rows(self, at: np.ndarray) -> Decided:
        """The candidates at these positions, or where this is true."""
        return Decided(**{name: value[at] for name, value in vars(self).items()})

    @property
    def labelled(self) -> np.ndarray:
        """bool [m]: has a forecast and a label."""
        return np.isfinite(self.p) & (self.y >= 0)


@dataclass(frozen=True)
class Quality:
    """The day's data.

    Attributes
    ----------
    expected : windows of a whole day
    found : rows that the feature table has of the day
    invalid : of these without a valid book
    not_finite : valid rows with a channel that is not finite
    gaps : sequence gaps of the feed; None where the tape does not cover the day
    """

    expected: int
    found: int
    invalid: int
    not_finite: int
    gaps: int | None


@dataclass(frozen=True)
class WalkForward:
    """Out-of-sample figures that the release was made with; None where its manifest has none."""

    base_rate: float | None = None
    auc_pr: float | None = None
    brier: float | None = None
    log_loss: float | None = None
    ece: float | None = None


@dataclass(frozen=True)
class DriftInput:
    """One symbol, one day, one release.

    Attributes
    ----------
    release : its tag
    day : YYYY-MM-DD, UTC
    train_span_ns : what the release was fitted on, ns UTC
    in_training : share of the day that lies in it
    reference, current : rows of the training span and of the day
    reference_decided, decided : candidates of both. The release has seen the labels of the former
    latency : structured rows with ``sig_type``, ``asked`` and ``e2e_us``; None where nothing was timed
    latency_note : what was timed, or why nothing was
    made_from : what the report can be made again from; JSON-able
    """

    symbol: str
    venue: str
    simulated: bool
    release: str
    day: str
    profile: str
    train_span_ns: tuple[int, int]
    in_training: float
    reference: Rows
    current: Rows
    reference_decided: Decided
    decided: Decided
    quality: Quality
    walk_forward: WalkForward = WalkForward()
    latency: np.ndarray | None = None
    latency_note: str = "no decision was timed"
    made_from: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_day(self.day)
        if not _SYMBOL.fullmatch(self.symbol):
            raise InputError(f"the symbol {self.symbol!r}", "letters, digits, '.', '_' and '-'", "Check the tape")
