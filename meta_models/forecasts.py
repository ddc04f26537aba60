"""Out-of-sample probabilities of the model, its members and the baselines side by side, and the figures of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .baseline import base_rate_p, boosting_p, logistic_p
from .calibrators import even_weight
from .fit import FittedModel
from .importance import channel_importance, logistic_ablation
from .normalise import channel_names
from .quality import quality
from .samples import Samples

__all__ = ["BASELINES", "Forecasts", "for_manifest", "importance_rows", "notes_of", "pooled"]

BASELINES = ("logistic", "boosting", "base")
_NOT_IN_MANIFEST = ("bins", "importance")


@dataclass(frozen=True, slots=True)
class Forecasts:
    """Probabilities float64 [N] each, NaN where there is none.

    Attributes
    ----------
    model : by the exported graph
    members : each net's own, through its own Platt line
    baselines : by name
    """

    model: np.ndarray
    members: dict[str, np.ndarray]
    baselines: dict[str, np.ndarray]

    @classmethod
    def none(cls, n: int, members: Sequence[str], *, boosting: bool) -> Forecasts:
        """Room for n rows; gradient boosting only where it is wanted."""
        names = [name for name in BASELINES if boosting or name != "boosting"]
        return cls(np.full(n, np.nan), {m: np.full(n, np.nan) for m in members}, {b: np.full(n, np.nan) for b in names})

    def fill(self, p: np.ndarray, fitted: FittedModel, samples: Samples, used: np.ndarray, asked: np.ndarray) -> None:
        """What each says of the rows ``asked``, fitted on the rows ``used``; ``p`` float64 [asked], the model's own."""
        x, ctx = samples.x[asked], samples.ctx[asked]
        # Every label alike, as the calibrator counts them (docs/ensemble.md): by uniqueness they would answer too low.
        train = (samples.x[used], samples.ctx[used], samples.y[used], even_weight(samples.weight[used]))
        self.model[asked] = p
        for column, platt, values in zip(fitted.logits(x).T, fitted.platts, self.members.values(), strict=True):
            values[asked] = platt(column)
        self.baselines["base"][asked] = base_rate_p(*train[2:], len(asked))
        self.baselines["logistic"][asked] = logistic_p(*train, x, ctx)
        if "boosting" in self.baselines:
            self.baselines["boosting"][asked] = boosting_p(*train, x, ctx, seed=fitted.config.seed)

    def figures(self, y: np.ndarray, rows: np.ndarray) -> dict[str, Any]:
        """`meta_models.quality.quality` of each on the labelled rows among those given."""
        rows = rows[(y[rows] >= 0) & np.isfinite(self.model[rows])]
        return {
            "model": quality(self.model[rows], y[rows]),
            "members": {name: quality(p[rows], y[rows]) for name, p in self.members.items()},
            **{name: quality(p[rows], y[rows]) for name, p in self.baselines.items()},
        }


def importance_rows(fitted: FittedModel, samples: Samples, used: np.ndarray, asked: np.ndarray) -> list[dict[str, Any]]:
    """What each channel is worth on the labelled test rows: permuted, held still, and missing from the baseline."""
    rows = asked[samples.y[asked] >= 0]
    if not len(rows):
        return []
    names = channel_names(samples.x.shape[-1])
    test = (samples.x[rows], samples.ctx[rows], samples.y[rows])
    train = (samples.x[used], samples.ctx[used], samples.y[used], even_weight(samples.weight[used]))
    own = channel_importance(fitted.predict, *test, fitted.scale.mean, names, seed=fitted.config.seed)
    without = logistic_ablation(*train, *test, names)
    return [row | {"logistic_ablation": rise} for row, rise in zip(own, without, strict=True)]


def pooled(y: np.ndarray, folds: Sequence[Any], judged: Forecasts, model: str) -> dict[str, Any]:
    """All test blocks together, each on its own, and what a reader must know.

    Parameters
    ----------
    y : int [N], -1 no label
    folds : FoldResult, in order
    model : its name
    """
    out = judged.figures(y, np.arange(len(y)))
    notes = [f"fold {f.k} has no model: {f.reason}" for f in folds if f.reason]
    notes += [note for f in folds if f.metrics for note in notes_of(f"fold {f.k}", f.metrics["fit"])]
    beats = _beats_logistic(out, model)
    if beats is False:
        notes.insert(0, "out of sample no net beats the logistic baseline (Brier score)")
    ours, base = out["model"]["brier"], out["base"]["brier"]
    if ours is not None and not ours < base:
        notes.insert(0, "out of sample the model does not beat the base rate (Brier score)")
    return out | {
        "model_name": model,
        "beats_logistic": beats,
        "folds": [{"k": f.k, "reason": f.reason} | f.spans | f.metrics for f in folds],
        "notes": notes,
    }


def _beats_logistic(figures: Mapping[str, Any], model: str) -> bool | None:
    """Whether any net, or what they make up together, has the lower Brier score; None without a net or a score."""
    ours = [figures["model"]["brier"], *(f["brier"] for f in figures["members"].values())]
    theirs = figures["logistic"]["brier"]
    if model == "logistic" or theirs is None or None in ours:
        return None
    return min(ours) < theirs


def notes_of(what: str, report: Mapping[str, Any]) -> list[str]:
    """What a reader must know of one fit."""
    notes = []
    if report["stopped_by_time"]:
        notes.append(f"training of {what} ran into its time limit: its probabilities depend on this machine's speed")
    if report["leak"]["shuffled"]["no_skill"]:
        notes.append(f"{what}: on its training span the labels are ranked no better than shuffled labels are")
    return notes


def for_manifest(metrics: Any) -> Any:
    """The same without what is long: a manifest is read before every start of a gate."""
    if isinstance(metrics, Mapping):
        return {k: for_manifest(v) for k, v in metrics.items() if k not in _NOT_IN_MANIFEST}
    return [for_manifest(v) for v in metrics] if isinstance(metrics, list) else metrics
