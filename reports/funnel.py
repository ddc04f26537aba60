"""Where candidates go: survivors of each check, by signal type, read off the gate's reasons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from runtime.candidate import SigType
from runtime.decision import Reason

from .records import EXITS, REASONS, ArmInput

__all__ = [
    "STAGES",
    "FunnelRow",
    "Rejection",
    "funnel",
    "reason_counts",
    "reason_rates",
    "rejection",
    "rejection_stages",
]

STAGES = ("candidates", "in_tier", "data", "liquidity", "signal", "slippage", "ev", "p", "filled")
"""Survivors, in the order of the gate. ``data``: window there, fresh and finite; ``signal``: reclaim complete and
reward known; ``p``: allowed; ``filled``: in the portfolio book with the label exit (busy and unfilled are out)."""

_LAST_OF_STAGE = (
    (Reason.DATA_AGE, "data"),
    (Reason.TIER, "in_tier"),
    (Reason.DEPTH, "liquidity"),
    (Reason.REWARD_UNKNOWN, "signal"),
    (Reason.SLIPPAGE, "slippage"),
    (Reason.EV, "ev"),
    (REASONS[-1], "p"),
)
"""The gate's order cut into stages: a reason belongs to the first stage whose last reason is not before it."""


def _stage(reason: Reason) -> int:
    if reason is Reason.ALLOW:
        return STAGES.index("filled")
    at = REASONS.index(reason)
    return STAGES.index(next(stage for last, stage in _LAST_OF_STAGE if at <= REASONS.index(last)))


_STAGE_OF_REASON = np.array([_stage(r) for r in REASONS])
_JUDGED = np.array([r in (Reason.SLIPPAGE, Reason.EV, Reason.P_BELOW_TAU) for r in REASONS])


@dataclass(frozen=True)
class FunnelRow:
    """Survivors of each stage for one signal type, or for all of them (``sig_type`` "all").

    ``busy``, ``unfilled`` and ``no_data`` are what became of the allowed that were not filled.
    """

    sig_type: str
    survivors: tuple[int, ...]  # of STAGES
    filled_runner: int
    busy: int
    unfilled: int
    no_data: int


@dataclass(frozen=True)
class Rejection:
    """Denied by slippage, EV or P among those that pass liquidity; and denied for any reason among the profile's own.

    Rates are NaN where nothing could be denied.
    """

    judged: int
    passed_liquidity: int
    denied: int
    in_tier: int

    @property
    def rate(self) -> float:
        return self.judged / self.passed_liquidity if self.passed_liquidity else float("nan")

    @property
    def total_rate(self) -> float:
        return self.denied / self.in_tier if self.in_tier else float("nan")


def funnel(arm: ArmInput) -> tuple[FunnelRow, ...]:
    """One row a signal type and one for all; survivors never grow from a stage to the next."""
    if arm.reason_na or arm.decisions is None:
        return ()
    d, mine = arm.decisions, arm.in_tier
    gone_at = np.where(mine, _STAGE_OF_REASON[d["reason"]], STAGES.index("in_tier"))
    filled = {exit_: _spread(arm, exit_) for exit_ in EXITS}
    rows = []
    for name, chosen in [(s.name.lower(), d["sig_type"] == s) for s in SigType] + [("all", np.ones(len(d), bool))]:
        before_fill = [int((chosen & (gone_at > k)).sum()) for k in range(1, len(STAGES) - 1)]
        status = filled["label"][chosen]
        rows.append(
            FunnelRow(
                name,
                (int(chosen.sum()), *before_fill, int((status == 0).sum())),
                int((filled["runner"][chosen] == 0).sum()),
                int((status == 2).sum()),
                int((status == 1).sum()),
                int((status == 3).sum()),
            )
        )
    return tuple(rows)


def _spread(arm: ArmInput, exit_: str) -> np.ndarray:
    """int [N]: status in the portfolio book, -1 where denied."""
    out = np.full(len(arm.decisions), -1, np.int64)
    out[arm.decisions["allow"]] = arm.portfolio_book[exit_]["status"]
    return out


def reason_counts(arm: ArmInput) -> dict[str, int]:
    """Decisions by reason, all candidates, in the order of the gate; reasons never given are left out."""
    if arm.reason_na or arm.decisions is None:
        return {}
    counts = np.bincount(arm.decisions["reason"], minlength=len(REASONS))
    return {r.value: int(n) for r, n in zip(REASONS, counts, strict=True) if n}


def reason_rates(arm: ArmInput) -> dict[str, float]:
    """Denials by reason as shares of the profile's own candidates, in the order of the gate; what never denied is out.

    They add up to ``Rejection.total_rate``.
    """
    mine = arm.in_tier
    if arm.reason_na or not mine.any():
        return {}
    counts = np.bincount(arm.decisions["reason"][mine], minlength=len(REASONS))
    return {
        r.value: int(n) / int(mine.sum()) for r, n in zip(REASONS, counts, strict=True) if n and r is not Reason.ALLOW
    }


def rejection(arm: ArmInput) -> Rejection:
    """The rejection KPI's counts."""
    if arm.reason_na or arm.decisions is None:
        return Rejection(0, 0, 0, 0)
    mine = arm.in_tier
    passed, judged = rejection_stages(arm.decisions["reason"])
    passed &= mine
    return Rejection(
        int((passed & judged).sum()),
        int(passed.sum()),
        int((mine & ~arm.decisions["allow"]).sum()),
        int(mine.sum()),
    )


def rejection_stages(reason: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the rejection KPI counts, of reasons as positions in ``REASONS``, int [N].

    Returns
    -------
    bool [N] each: past the liquidity checks, and denied by slippage, EV or P
    """
    return _STAGE_OF_REASON[reason] > STAGES.index("liquidity"), _JUDGED[reason]
