"""Which combiner and which calibrator, chosen by cross-fitted Brier score on purged out-of-fold logits.

Everything here is fitted on out-of-fold logits and is a few numbers that the graph carries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from feature_repo.errors import InputError

from .calibrators import Isotonic, Platt, even_weight, fit_isotonic, fit_platt
from .splits import InnerPurgedFolds
from .stack import Stack, fit_average, fit_stack, member_columns

__all__ = ["CALIBRATORS", "COMBINERS", "Calibration", "calibrate"]

COMBINERS = {"average": fit_average, "logistic": fit_stack}
CALIBRATORS = {"platt": fit_platt, "isotonic": fit_isotonic}
BASE = "base"


@dataclass(frozen=True, slots=True)
class Calibration:
    """What `calibrate` found.

    Attributes
    ----------
    combiner : "average" or "logistic"
    chosen : "platt" or "isotonic"
    brier : cross-fitted Brier scores, every label counted alike: "<combiner>+<calibrator>" for all four, and "base"
        (the base rate alone); empty where no block could be judged by the others
    members : names of the nets, in the order of the logits
    share : member -> its part of the nets' say (weight x deviation of its logit), sum 1; all 0 when no net counts
    """

    stack: Stack
    calibrator: Platt | Isotonic
    combiner: str
    chosen: str
    brier: dict[str, float]
    members: tuple[str, ...]
    share: dict[str, float]

    def __call__(self, logits: np.ndarray, ctx: np.ndarray) -> np.ndarray:
        """Logits [N, M] (or [N] of a single net) and context [N, 8] -> probabilities float64 [N]."""
        return self.calibrator(self.stack(logits, ctx))

    @property
    def winner(self) -> str:
        """Its key in `brier`."""
        return f"{self.combiner}+{self.chosen}"

    def report(self) -> dict[str, object]:
        """Plain JSON: what was chosen, and by how much Brier score it beats each of the others."""
        gain = {k: round(v - self.brier[self.winner], 6) for k, v in self.brier.items() if k != self.winner}
        weights = zip(self.members, self.stack.logit_weight, strict=True)
        return {
            "combiner": self.combiner,
            "chosen": self.chosen,
            "brier": {k: round(v, 6) for k, v in self.brier.items()},
            "gain": gain,
            "net_weight": {name: round(float(w), 6) for name, w in weights},
            "net_share": {name: round(v, 6) for name, v in self.share.items()},
        }


def calibrate(
    logits: np.ndarray,
    ctx: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    t_start: np.ndarray,
    t_end: np.ndarray,
    names: tuple[str, ...],
    folds: InnerPurgedFolds,
    *,
    members: Sequence[str] = ("net",),
) -> Calibration:
    """Choose combiner and calibrator by Brier score, then fit both on all out-of-fold logits.

    The choice is cross-fitted: for every purged block, stack and calibrator come from the other blocks, so neither is
    judged on labels it has seen.

    Every label counts alike, all together as much as they are unique (`even_weight`).

    The calibrator is fitted on the scores of the stack it follows, over the same out-of-fold rows: a few coefficients,
    the context's held back, leave little to flatter. Scores of stacks fitted on the other blocks
    are no substitute: without a block of many targets the rest has fewer, and the other way round, so their bias runs
    against the labels, and a line through them shrinks a second time what the stack has already shrunk.

    Parameters
    ----------
    logits : float [N, M], out of fold; [N] for a single net
    ctx : float32 [N, 8]
    y : 0/1 [N]
    weight : float [N], average uniqueness, not all 0
    t_start, t_end : int64 [N], ns
    names : of the context's columns
    folds : how to cut the rows
    members : names of the M nets, in the order of the columns

    Raises
    ------
    InputError
        When the rows are all of one class, or names and columns differ in number.
    """
    logits, y, weight = member_columns(logits), np.asarray(y), even_weight(weight)
    if len(members) != logits.shape[1]:
        raise InputError(
            f"{logits.shape[1]} columns of logits for the nets {', '.join(members)}",
            "one column for each net",
            "Pass members in the order of the columns",
        )
    if not _both(y):
        raise InputError("out-of-fold predictions of one class only", "both classes", "Use a longer recording")
    brier = _cross_fitted(logits, ctx, y, weight, names, folds.split(y, t_start=t_start, t_end=t_end))
    # In order of the numbers each has to fit: without an honest comparison, or on a tie, the fewest are to be trusted.
    kinds = [(a, b) for a in COMBINERS for b in CALIBRATORS]
    combiner, chosen = min(kinds, key=lambda k: brier.get("+".join(k), 0.0))
    stack = COMBINERS[combiner](logits, ctx, y, weight, names)
    calibrator = CALIBRATORS[chosen](stack(logits, ctx), y, weight)
    say = stack.logit_weight * logits.std(axis=0)
    share = dict(zip(members, (say / (say.sum() or 1.0)).tolist(), strict=True))
    return Calibration(stack, calibrator, combiner, chosen, brier, tuple(members), share)


def _cross_fitted(logits, ctx, y, weight, names, splits) -> dict[str, float]:
    squared: dict[str, list[np.ndarray]] = {}
    mass: list[np.ndarray] = []
    for train, test in splits:
        if not _both(y[train]):
            continue
        fit_on = (y[train], weight[train])
        answers = {}
        for combiner, combine in COMBINERS.items():
            stack = combine(logits[train], ctx[train], *fit_on, names)
            score, unseen = stack(logits[train], ctx[train]), stack(logits[test], ctx[test])
            for kind, fit in CALIBRATORS.items():
                answers[f"{combiner}+{kind}"] = fit(score, *fit_on)(unseen)
        answers[BASE] = np.full(len(test), np.average(y[train], weights=weight[train]))
        for name, p in answers.items():
            squared.setdefault(name, []).append((p - y[test]) ** 2)
        mass.append(weight[test])
    return {k: float(np.average(np.concatenate(v), weights=np.concatenate(mass))) for k, v in squared.items()}


def _both(y: np.ndarray) -> bool:
    return 0 < int((y == 1).sum()) < len(y)
