"""Section "selection" of metrics.json: is the best strategy of a fee tier good, or was it picked?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from feature_repo.constants import JUDGE, SECOND_NS

from .overfitting import MIN_STRATEGY_TRADES, Overfitting, pbo
from .records import EXITS, ArmInput
from .superiority import SPA_REPS, superior

__all__ = ["BENCHMARKS", "Strategies", "overfitting_by_tier", "selection_dict", "strategies_of"]

BENCHMARKS = ("no model", "no trade")


@dataclass(frozen=True)
class Strategies:
    """The strategies of one fee tier over the same blocks of time.

    Attributes
    ----------
    keys : (profile, model, exit) of each
    net_bps : float64 [B, K], summed net bps of the trades whose candidate fell in the block, portfolio book at equal
        notional; 0 in a block without a trade
    trades : int64 [K]
    """

    keys: tuple[tuple[str, bool, str], ...]
    net_bps: np.ndarray
    trades: np.ndarray


def strategies_of(arms: Sequence[ArmInput]) -> Strategies:
    """Results of the arms of one fee tier that were run, in blocks of ``JudgeDefaults.block_s``.

    Blocks without any candidate are left out, as in the paired bootstrap: nothing was decided there.
    """
    run = [a for a in arms if not a.reason_na]
    of = [a.decisions["ts_ns"] // (JUDGE.block_s * SECOND_NS) for a in run]
    blocks = np.unique(np.concatenate(of)) if of else np.zeros(0, np.int64)
    keys, columns, counts = [], [], []
    for arm, at in zip(run, of, strict=True):
        for exit_ in EXITS:
            book = arm.portfolio_book[exit_]
            filled = book["status"] == 0
            where = np.searchsorted(blocks, at[arm.decisions["allow"]][filled])
            columns.append(np.bincount(where, weights=book["net_bps"][filled], minlength=len(blocks)))
            counts.append(int(filled.sum()))
            keys.append((arm.profile, arm.model, exit_))
    net = np.stack(columns, axis=1) if columns else np.zeros((len(blocks), 0))
    return Strategies(tuple(keys), net, np.array(counts, np.int64))


def overfitting_by_tier(arms: Sequence[ArmInput], ladder: Sequence[ArmInput]) -> dict[str, Overfitting]:
    """PBO over the strategies (profile x model x exit) of each fee tier; the ladder's, where only that has the tier."""
    by_tier = _by_tier(ladder) | _by_tier(arms)
    found = {fee: strategies_of(group) for fee, group in by_tier.items()}
    return {fee: pbo(s.net_bps, s.trades) for fee, s in found.items()}


def selection_dict(
    arms: Sequence[ArmInput],
    overfitting: Mapping[str, Overfitting],
    trials: int,
    *,
    draws: int = SPA_REPS,
    seed: int = 7,
) -> dict[str, object]:
    """The section, of the tiers of the matrix: PBO, and SPA of each exit against both benchmarks.

    Parameters
    ----------
    overfitting : by fee tier
    trials : strategies tried so far
    draws : of the bootstrap, at most ``SPA_REPS``
    """
    tests = {fee: strategies_of(group) for fee, group in _by_tier(arms).items()}
    return {
        "pbo": [{"fee_tier": fee, **overfitting[fee]._asdict()} for fee in tests],
        "spa": [
            _spa(fee, strategies, exit_, benchmark, min(draws, SPA_REPS), seed)
            for fee, strategies in tests.items()
            for exit_ in EXITS
            for benchmark in BENCHMARKS
        ],
        "trials": trials,
    }


def _by_tier(arms: Sequence[ArmInput]) -> dict[str, list[ArmInput]]:
    out: dict[str, list[ArmInput]] = {}
    for arm in arms:
        out.setdefault(arm.fee.name, []).append(arm)
    return out


def _spa(fee: str, found: Strategies, exit_: str, benchmark: str, reps: int, seed: int) -> dict[str, object]:
    """Against no model: each profile with the model less the same without. Against no trade: every arm's own result."""
    at = {key: i for i, key in enumerate(found.keys) if key[2] == exit_ and found.trades[i] >= MIN_STRATEGY_TRADES}
    own = found.net_bps[:, list(at.values())]
    why = f"no strategy of {MIN_STRATEGY_TRADES} trades"
    if benchmark == "no model":
        pairs = [(i, at[p, False, exit_]) for (p, model, _), i in at.items() if model and (p, False, exit_) in at]
        own = found.net_bps[:, [i for i, _ in pairs]] - found.net_bps[:, [j for _, j in pairs]]
        why = f"no profile has {MIN_STRATEGY_TRADES} trades with the model and without it"
    tested = superior(own, reps=reps, seed=seed)._asdict()
    if not own.shape[1]:
        tested["reason_na"] = why
    return {"fee_tier": fee, "exit": exit_, "benchmark": benchmark, **tested}
