"""Everything that is fitted, fitted inside one span: scale, net, out-of-fold logits, stack, calibrator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from torch import nn

from feature_repo.constants import MODEL
from feature_repo.errors import InputError
from feature_repo.fields import CHANNELS, CTX_NAMES

from .calibration import Calibration, Platt, calibrate, fit_platt
from .graph import FusedGraph, SingleNet
from .lit import FitResult, OptimConfig, fit_net, predict_logit
from .nets.tcn import TCN, TCNConfig
from .normalise import Scale, fit_scale
from .splits import InnerPurgedFolds

__all__ = ["MODELS", "FitConfig", "FittedModel", "NotEnoughData", "fit_model"]

MODELS = ("tcn",)


class NotEnoughData(InputError):
    """A span holds too few labels to train on. There is no way round it."""


@dataclass(frozen=True, slots=True)
class FitConfig:
    """What is trained and how.

    Attributes
    ----------
    net : shape of the net
    optim : training of one net
    inner_folds : out-of-fold nets a span
    seed : of everything random
    train_minutes : limit of a whole walk-forward; reached only on a slow machine, and then noted in the result
    folds : of the walk-forward
    """

    net: TCNConfig = field(default_factory=TCNConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    inner_folds: int = 3
    seed: int = MODEL.seed
    train_minutes: float = MODEL.train_minutes
    folds: int = MODEL.folds
    model: str = "tcn"

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise InputError(f"model {self.model!r}", f"one of: {', '.join(MODELS)}", "Give one of these names")
        if not self.train_minutes > 0:
            raise InputError(f"train_minutes = {self.train_minutes}", "a positive number", "Allow some training time")


@dataclass(frozen=True, slots=True)
class FittedModel:
    """One fitted pipeline.

    Attributes
    ----------
    platt : the net's own line, for its export without context
    report : plain numbers for the manifest
    """

    config: FitConfig
    scale: Scale
    net: nn.Module
    calibration: Calibration
    platt: Platt
    report: dict[str, object]

    def fused(self) -> FusedGraph:
        """The bundle's graph as a torch module: (x, ctx) -> p [N, 1]."""
        return FusedGraph(self.scale, self.net, self.calibration.stack, self.calibration.calibrator)

    def single(self) -> SingleNet:
        """The net's own graph as a torch module: x -> p [N, 1]."""
        return SingleNet(self.scale, self.net, self.platt)


def fit_model(
    x: np.ndarray,
    ctx: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    t_start: np.ndarray,
    t_end: np.ndarray,
    config: FitConfig,
    *,
    max_seconds: float | None = None,
    progress: Callable[[float], None] | None = None,
) -> FittedModel:
    """Fit the pipeline on the rows given and on nothing else.

    Parameters
    ----------
    x : float32 [N, T, C], side-aligned, not normalised
    ctx : float32 [N, 8]
    y : int [N]: 1 target, 0 not, -1 no label (not used)
    weight : float [N], average uniqueness
    t_start, t_end : int64 [N], ns; the span of each sample
    config : FitConfig
    max_seconds : hard stop over all nets of this span; default config.train_minutes

    Raises
    ------
    NotEnoughData
        Fewer than MODEL.min_train labels, or MODEL.min_class of one class, in the span or among its purged
        out-of-fold predictions.
    InputError
        Values that are not finite, or a window of another shape.
    """
    report = progress or (lambda _: None)
    labelled = (y >= 0) & (weight > 0)
    _enough(y[labelled], "labels in the training span", MODEL.min_train)
    x, ctx, y, weight, t_start, t_end = (a[labelled] for a in (x, ctx, y, weight, t_start, t_end))
    _finite_ctx(ctx)
    scale = fit_scale(x, CHANNELS if x.shape[-1] == len(CHANNELS) else tuple(map(str, range(x.shape[-1]))))
    folds = InnerPurgedFolds(config.inner_folds, config.optim.gap_ns, config.optim.embargo_ns)
    splits = [
        (train, test)
        for train, test in folds.split(y, t_start=t_start, t_end=t_end)
        if np.bincount(y[train], minlength=2).min() >= MODEL.min_class // 2
    ]
    held_out = np.sort(np.concatenate([test for _, test in splits])) if splits else np.empty(0, np.int64)
    _enough(y[held_out], "purged out-of-fold predictions to calibrate on", MODEL.min_train // 2)

    seconds = (config.train_minutes * 60) if max_seconds is None else max_seconds
    sizes = [len(train) for train, _ in splits] + [len(y)]
    done, total = 0, sum(sizes)
    nets: list[FitResult] = []
    logit = np.full(len(y), np.nan)
    for i, rows in enumerate([train for train, _ in splits] + [np.arange(len(y))]):
        start, share = done / total, sizes[i] / total
        # The scale is fitted once on the whole span: 24 means and deviations carry nothing of a label.
        result = fit_net(
            lambda: TCN(config.net),
            scale(x[rows]),
            y[rows],
            weight[rows],
            config.optim,
            seed=config.seed + i,
            max_seconds=seconds * share,
            progress=lambda f, a=start, b=share: report(a + b * f),
        )
        nets.append(result)
        if i < len(splits):
            logit[splits[i][1]] = predict_logit(result.net, scale(x[splits[i][1]]))
        done += sizes[i]
        report(done / total)

    oof = (logit[held_out], ctx[held_out], y[held_out], weight[held_out])
    try:
        calibration = calibrate(*oof, t_start[held_out], t_end[held_out], CTX_NAMES, folds)
    except InputError as error:
        raise NotEnoughData(error.got, error.accepts, error.do) from error
    platt = fit_platt(oof[0], oof[2], oof[3])
    return FittedModel(config, scale, nets[-1].net, calibration, platt, _report(y, held_out, nets, calibration))


def _report(y: np.ndarray, held_out: np.ndarray, nets: list[FitResult], found: Calibration) -> dict[str, object]:
    brier = {k: round(v, 6) for k, v in found.brier.items()}
    gain = abs(found.brier["platt"] - found.brier["isotonic"]) if "platt" in found.brier else None
    return {
        "n_train": len(y),
        "n_target": int(y.sum()),
        "n_out_of_fold": len(held_out),
        "epochs": [n.epochs for n in nets],
        "stopped_by_time": sum(n.stopped_by_time for n in nets),
        "calibrator": found.chosen,
        "calibrator_brier": brier,
        "calibrator_gain": None if gain is None else round(gain, 6),
        "net_weight_in_stack": round(found.stack.logit_weight, 6),
    }


def _enough(y: np.ndarray, what: str, least: int) -> None:
    counts = np.bincount(y, minlength=2)
    if len(y) < least or counts.min() < MODEL.min_class:
        raise NotEnoughData(
            f"{len(y)} {what} ({counts[1]} that reached the target, {counts[0]} that did not)",
            f"at least {least}, and {MODEL.min_class} of each kind",
            "Use a longer recording",
        )


def _finite_ctx(ctx: np.ndarray) -> None:
    bad = np.flatnonzero(~np.isfinite(ctx).all(axis=0))
    if bad.size:
        raise InputError(
            f"context values that are not finite in {', '.join(CTX_NAMES[c] for c in bad)}",
            "finite values",
            "Leave out candidates without a valid market row",
        )
