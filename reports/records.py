"""What the reports are made from: the arms of the matrix, and the facts of the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from feature_repo.instruments import FeeTier
from runtime.candidate import Tier
from runtime.decision import Reason
from runtime.profiles import PROFILES

__all__ = [
    "EXITS",
    "FACTS_DTYPE",
    "JUDGED_EXIT",
    "OUTCOMES",
    "REASONS",
    "ArmInput",
    "CalibrationInput",
    "RunFacts",
    "candidate_facts",
]

EXITS = ("label", "runner")
JUDGED_EXIT = "runner"
"""The exit the verdict rests on: with +0.9 / -1.1 R a payoff above 1.2 is out of reach by arithmetic."""
REASONS = tuple(Reason)
OUTCOMES = ("target", "stop", "timeout", "unfilled", "invalid")
"""Names of the label's outcomes, in the order of their codes."""

FACTS_DTYPE = np.dtype(
    [
        ("exp_reward_bps", "f8"),  # NaN where unknown
        ("ofi_z", "f8"),  # in the direction of the candidate
        ("spread_bps", "f8"),
        ("depth", "f8"),  # top 5 levels, quote currency
        ("est_slip_bps", "f8"),  # what the gate was told entry and exit cost against the mid
    ]
)
"""What was known of a candidate when it fired; the same for every arm."""

_DECISION_FIELDS = (
    "ts_ns",
    "side",
    "sig_type",
    "tier",
    "session",
    "allow",
    "reason",
    "p",
    "size",
    "p_breakeven",
)
_TRADE_FIELDS = (
    "status",
    "outcome",
    "t_fill_ns",
    "t_end_ns",
    "gross_bps",
    "slip_bps",
    "fee_bps",
    "funding_bps",
    "net_bps",
)


def candidate_facts(
    exp_reward_bps: np.ndarray,
    ofi_z: np.ndarray,
    spread_bps: np.ndarray,
    depth: np.ndarray,
    side: np.ndarray,
    est_slip_bps: np.ndarray,
) -> np.ndarray:
    """Facts of the candidates from unaligned columns, float [N] each, ``side`` +1 or -1.

    Returns
    -------
    FACTS_DTYPE [N]
    """
    out = np.zeros(len(side), FACTS_DTYPE)
    out["exp_reward_bps"], out["ofi_z"] = exp_reward_bps, np.asarray(ofi_z, np.float64) * side
    out["spread_bps"], out["depth"], out["est_slip_bps"] = spread_bps, depth, est_slip_bps
    return out


@dataclass(frozen=True)
class ArmInput:
    """One cell of the matrix: a profile with or without the model, at one fee tier.

    Attributes
    ----------
    profile : "A", "B" or "C"; what follows the letter is a variant's name ("C6")
    model : whether P was asked
    fee : fees the books were priced with
    decisions : DECISION_DTYPE [N], every candidate of the out-of-sample spans, in time order; None when the arm was not
        run
    candidate_book : exit -> TRADE_DTYPE [N]: each candidate on its own, whatever was decided
    portfolio_book : exit -> TRADE_DTYPE [M], one row for each allowed decision; status busy when a position was open
    facts : FACTS_DTYPE [N], optional; without them cost share and buckets are N/A
    reason_na : why the arm could not be run, with its counts; empty when it was

    Raises
    ------
    ValueError
        When the parts do not belong together.
    """

    profile: str
    model: bool
    fee: FeeTier
    decisions: np.ndarray | None = None
    candidate_book: Mapping[str, np.ndarray] = field(default_factory=dict)
    portfolio_book: Mapping[str, np.ndarray] = field(default_factory=dict)
    facts: np.ndarray | None = None
    reason_na: str = ""

    def __post_init__(self) -> None:
        if self.profile[:1] not in PROFILES:
            raise ValueError(f"arm has profile {self.profile!r}; known are {', '.join(PROFILES)}")
        if self.reason_na:
            return
        if self.decisions is None:
            raise ValueError(f"{self.name}: no decisions and no reason_na; give one of them")
        _need_fields(self.name, "decisions", self.decisions, _DECISION_FIELDS)
        d = self.decisions
        if np.any(d["allow"] != (d["reason"] == REASONS.index(Reason.ALLOW))):
            raise ValueError(f"{self.name}: allow and reason disagree in decisions")
        if np.any(d["allow"] & (d["tier"] > self.tier)):
            raise ValueError(f"{self.name}: a candidate looser than tier {self.tier.name} was allowed")
        if np.any(np.diff(d["ts_ns"]) < 0):
            raise ValueError(f"{self.name}: decisions are not in time order")
        for book, rows in ((self.candidate_book, len(d)), (self.portfolio_book, int(d["allow"].sum()))):
            for exit_ in EXITS:
                if exit_ not in book:
                    raise ValueError(f"{self.name}: a book lacks the exit {exit_!r}")
                _need_fields(self.name, exit_, book[exit_], _TRADE_FIELDS)
                if len(book[exit_]) != rows:
                    raise ValueError(
                        f"{self.name}: book {exit_!r} has {len(book[exit_])} rows, decisions ask for {rows}"
                    )
        if self.facts is not None and len(self.facts) != len(d):
            raise ValueError(f"{self.name}: {len(self.facts)} facts for {len(d)} decisions")

    @property
    def name(self) -> str:
        return f"{self.fee.name} {self.profile} {'model' if self.model else 'no model'}"

    @property
    def tier(self) -> Tier:
        """The loosest tier the profile takes."""
        return PROFILES[self.profile[:1]].tier

    @property
    def in_tier(self) -> np.ndarray:
        """bool [N]: the candidates that are this profile's to judge."""
        return np.zeros(0, bool) if self.decisions is None else self.decisions["tier"] <= self.tier


def _need_fields(arm: str, what: str, array: np.ndarray, fields: tuple[str, ...]) -> None:
    missing = [f for f in fields if f not in (array.dtype.names or ())]
    if missing:
        raise ValueError(f"{arm}: {what} lacks the fields {', '.join(missing)}")


@dataclass(frozen=True)
class CalibrationInput:
    """Out-of-sample probabilities and what came of them.

    Attributes
    ----------
    p : float64 [N], NaN where no model answered
    y : [N], 1 target, 0 stop or time-out, negative without a label
    sig_type : [N], SigType codes
    reason_na : why there is no model, with counts; shown where p is empty or all NaN
    """

    p: np.ndarray
    y: np.ndarray
    sig_type: np.ndarray
    reason_na: str = ""

    def __post_init__(self) -> None:
        if not len(self.p) == len(self.y) == len(self.sig_type):
            raise ValueError(f"calibration got {len(self.p)} p, {len(self.y)} y and {len(self.sig_type)} types")


@dataclass(frozen=True)
class RunFacts:
    """Where the numbers come from; nothing here may depend on the wall clock except ``stage_s``.

    Attributes
    ----------
    fee_tier_given : the tier named on the command line; None when the default was taken
    label_outcomes : int [5], labels by outcome code (``OUTCOMES``), of all candidates found
    candidates_found : by signal name
    tick_bps : tick / median mid
    folds : one mapping a fold of the walk-forward, JSON-able
    notes : sentences a reader should see
    stage_s : wall time of each stage; goes to the measured section
    """

    venue: str
    symbol: str
    simulated: bool
    tape: str
    span_ns: tuple[int, int]
    tick_bps: float = float("nan")
    fee_tier_given: str | None = None
    seed: int | None = None
    run_id: str = ""
    tape_sha256: str = ""
    code_version: str = ""
    candidates_found: Mapping[str, int] = field(default_factory=dict)
    label_outcomes: tuple[int, ...] = ()
    folds: tuple[Mapping[str, object], ...] = ()
    notes: tuple[str, ...] = ()
    stage_s: Mapping[str, float] = field(default_factory=dict)
