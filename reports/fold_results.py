"""Section "fold_results" of metrics.json: what every arm earned in each fold of the walk-forward."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .matrix_rows import key_of
from .records import EXITS, ArmInput
from .statistics import mean_and_ir_intervals

__all__ = ["FOLD_DRAWS", "fold_rows"]

FOLD_DRAWS = 500
"""Bootstrap draws of a fold's intervals at most: there are many of them, and none is judged."""


def fold_rows(arms: Sequence[ArmInput], fold_of: np.ndarray | None, *, seed: int, draws: int) -> list[dict]:
    """One row a fold, arm and exit; arms that were not run have none.

    Trades are those of the portfolio book, in the fold in which their candidate fell: a position that is open when a
    fold ends still keeps the next one's first candidates out.

    Parameters
    ----------
    fold_of : int [N], fold of each row of the decisions, negative outside; None when nothing was trained

    Raises
    ------
    ValueError
        When an arm has another number of decisions.
    """
    if fold_of is None:
        return []
    folds = np.asarray(fold_of)
    return [row for arm in arms if not arm.reason_na for row in _rows(arm, folds, seed, min(draws, FOLD_DRAWS))]


def _rows(arm: ArmInput, folds: np.ndarray, seed: int, draws: int) -> Iterator[dict]:
    if len(folds) != len(arm.decisions):
        raise ValueError(f"{arm.name}: {len(folds)} folds for {len(arm.decisions)} decisions")
    allowed = arm.decisions["allow"]
    for fold in np.unique(folds[folds >= 0]).tolist():
        here = folds == fold
        for exit_ in EXITS:
            book = arm.portfolio_book[exit_][here[allowed]]
            net = book["net_bps"][book["status"] == 0].astype(np.float64)
            mean, ir = mean_and_ir_intervals(net, draws=draws, seed=seed)
            yield {
                "fold": fold,
                **key_of(arm),
                "exit": exit_,
                "candidates": int((here & arm.in_tier).sum()),
                "allowed": int((here & allowed).sum()),
                "trades": len(net),
                "net_bps": mean._asdict(),
                "ir_trade": ir._asdict(),
            }
