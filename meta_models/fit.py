"""Everything that is fitted, fitted inside one span: scale, nets, their common epoch, stack, calibrator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from torch import nn

from feature_repo.constants import MODEL
from feature_repo.errors import InputError
from feature_repo.fields import CTX_NAMES

from .calibration import Calibration, calibrate
from .calibrators import Platt, even_weight, fit_platt
from .epochs import Epochs, choose_epoch
from .graph import FusedGraph, SingleNet
from .jobs import Fitted, Job, run_jobs
from .lit import OptimConfig, epochs_for
from .members import NetConfig, name_of, nets_of
from .normalise import Scale, channel_names, fit_scale
from .own_skill import check_channels, check_skill
from .predict import predict_logit
from .samples import Samples
from .shuffled import shuffled_control
from .splits import InnerPurgedFolds

__all__ = ["FitConfig", "FittedModel", "NotEnoughData", "Span", "fit_model", "finish_span", "plan_span"]


_MOST_MINUTES = 366 * 24 * 60
"""A year: a clock cannot count to infinity."""


class NotEnoughData(InputError):
    """A span holds too few labels to train on. There is no way round it."""


@dataclass(frozen=True, slots=True)
class FitConfig:
    """What is trained and how.

    Attributes
    ----------
    nets : shapes of the members, all of one T and C
    model : its name
    optim : training of one net
    inner_folds : out-of-fold nets a span and member
    seed : of everything random
    train_minutes : limit of a whole walk-forward; reached only on a slow machine, and then noted in the result
    folds : of the walk-forward
    expanding : train on everything before a test block, or (rolling) on as many samples as the first block has
    workers : fits at a time; None: as many as there are CPUs where that is worth it. No part of the result
    """

    nets: tuple[NetConfig, ...] = field(default_factory=lambda: nets_of("tcn"))
    model: str = "tcn"
    optim: OptimConfig = field(default_factory=OptimConfig)
    inner_folds: int = 3
    seed: int = MODEL.seed
    train_minutes: float = MODEL.train_minutes
    folds: int = MODEL.folds
    expanding: bool = True
    workers: int | None = None

    def __post_init__(self) -> None:
        if len({(net.T, net.C) for net in self.nets}) != 1:
            raise InputError(
                f"nets of windows {[(n.T, n.C) for n in self.nets]}", "at least one, all of one T and C", "Give one T"
            )
        if not 0 < self.train_minutes <= _MOST_MINUTES:
            raise InputError(
                f"train_minutes = {self.train_minutes}",
                f"a positive number, at most {_MOST_MINUTES:,}",
                "Allow some training time",
            )

    @classmethod
    def of(cls, model: str, *, T: int = MODEL.T, C: int = MODEL.C, **others: Any) -> Self:
        """The members of ``model`` in their default shapes.

        Raises
        ------
        InputError
            When there is no such model, or one of its nets does not take T steps.
        """
        return cls(nets=nets_of(model, T, C), model=model, **others)

    @property
    def T(self) -> int:
        return self.nets[0].T

    @property
    def C(self) -> int:
        return self.nets[0].C

    @property
    def members(self) -> tuple[str, ...]:
        return tuple(name_of(net) for net in self.nets)


@dataclass(frozen=True, slots=True)
class FittedModel:
    """One fitted pipeline.

    Attributes
    ----------
    nets : one a member, in the order of ``config.members``
    platts : each net's own line, for its export without context
    report : plain numbers for the manifest
    """

    config: FitConfig
    scale: Scale
    nets: tuple[nn.Module, ...]
    calibration: Calibration
    platts: tuple[Platt, ...]
    report: dict[str, Any]

    def fused(self) -> FusedGraph:
        """The bundle's graph as a torch module: (x, ctx) -> p [N, 1]."""
        return FusedGraph(self.scale, self.nets, self.calibration.stack, self.calibration.calibrator)

    def single(self, member: str) -> SingleNet:
        """One net's own graph as a torch module: x -> p [N, 1]."""
        i = self.config.members.index(member)
        return SingleNet(self.scale, self.nets[i], self.platts[i])

    def logits(self, x: np.ndarray) -> np.ndarray:
        """Windows float32 [N, T, C], not normalised -> float64 [N, M], a column a member."""
        scaled = self.scale(x)
        return np.column_stack([predict_logit(net, scaled) for net in self.nets])

    def predict(self, x: np.ndarray, ctx: np.ndarray) -> np.ndarray:
        """Calibrated probabilities float64 [N]."""
        return self.calibration(self.logits(x), ctx)


@dataclass(frozen=True, slots=True)
class Span:
    """A training span before its nets are fitted.

    Attributes
    ----------
    rows : int64 [n], the labelled rows of the whole set that it trains on
    splits : positions in ``rows``: to train on, to predict
    jobs : a member after the other: its inner nets in the order of ``splits``, then the one of the whole span
    checks : what the checks before training saw
    """

    rows: np.ndarray
    scale: Scale
    splits: tuple[tuple[np.ndarray, np.ndarray], ...]
    jobs: tuple[Job, ...]
    checks: dict[str, Any]


def fit_model(
    x: np.ndarray,
    ctx: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    t_start: np.ndarray,
    t_end: np.ndarray,
    config: FitConfig,
) -> FittedModel:
    """Fit the pipeline on the rows given and on nothing else; a walk-forward does the same for all its spans at once.

    Parameters
    ----------
    x : float32 [N, T, C], side-aligned, not normalised
    ctx : float32 [N, 8]
    y : int [N]: 1 target, 0 not, -1 no label (not used)
    weight : float [N], average uniqueness
    t_start, t_end : int64 [N], ns; the span of each sample
    config : its ``train_minutes`` are the hard stop over all nets of this span

    Raises
    ------
    NotEnoughData
        Fewer than MODEL.min_train labels, or MODEL.min_class of one class, in the span or among its purged
        out-of-fold predictions.
    LeakError
        Skill that no honest feature or model has.
    InputError
        Values that are not finite, or a window of another shape.
    """
    samples = Samples(x, ctx, y, weight, t_start, t_end)
    span = plan_span(samples, config, np.arange(len(y)), seconds=config.train_minutes * 60)
    fitted = run_jobs(span.jobs, x, y, weight, config.optim, workers=config.workers)
    return finish_span(span, fitted, samples, config)


def plan_span(samples: Samples, config: FitConfig, rows: np.ndarray, *, seconds: float) -> Span:
    """Check the rows of a span, fit its scale and list the fits it needs.

    Parameters
    ----------
    rows : int64 [n], positions in ``samples``; those without a label are left out
    seconds : hard stop over all nets of this span

    Raises
    ------
    NotEnoughData, LeakError, InputError
        As `fit_model`.
    """
    x, ctx, y, weight = samples.x, samples.ctx, samples.y, samples.weight
    rows = rows[(y[rows] >= 0) & (weight[rows] > 0)]
    known = y[rows]
    _enough(known, "labels in the training span", MODEL.min_train)
    _finite_ctx(ctx[rows])
    names = channel_names(x.shape[-1])
    inside = x[rows]
    scale = fit_scale(inside, names)
    checks = check_channels(inside, known, weight[rows], names)
    folds = _folds(config)
    splits = tuple(
        (train, test)
        for train, test in folds.split(known, t_start=samples.t_start[rows], t_end=samples.t_end[rows])
        if np.bincount(known[train], minlength=2).min() >= MODEL.min_class // 2
    )
    held_out = np.concatenate([test for _, test in splits]) if splits else np.empty(0, np.int64)
    _enough(known[held_out], "purged out-of-fold predictions to calibrate on", MODEL.min_train // 2)

    parts = [(train, test, False) for train, test in splits] + [(np.arange(len(rows)), held_out[:0], True)]
    # All by one schedule, the longest: an epoch is then as far along the learning rate in an inner net as in the whole.
    epochs = max(epochs_for(len(train), config.optim) for train, _, _ in parts)
    total = len(config.nets) * sum(len(train) for train, _, _ in parts)
    jobs = tuple(
        Job(
            net=net,
            scale=scale,  # of the whole span: 24 means and deviations carry nothing of a label
            rows=rows[train],
            watch=rows[test],
            seed=config.seed + i,
            keep=whole,
            epochs=epochs,
            max_seconds=seconds * len(train) / total,
        )
        for net in config.nets
        for i, (train, test, whole) in enumerate(parts)
    )
    return Span(rows, scale, splits, jobs, checks)


def finish_span(span: Span, fitted: Sequence[Fitted], samples: Samples, config: FitConfig) -> FittedModel:
    """From the fits of a span, in the order of its jobs, to a pipeline; errors as in `fit_model`."""
    held_out = np.sort(np.concatenate([test for _, test in span.splits]))
    place = np.full(len(span.rows), -1)
    place[held_out] = np.arange(len(held_out))
    rows = span.rows[held_out]
    x, seen, truth, mass = samples.x[rows], samples.ctx[rows], samples.y[rows], samples.weight[rows]
    each = len(span.splits) + 1
    nets: list[nn.Module] = []
    chosen: list[Epochs] = []
    logits = np.empty((len(rows), len(config.nets)))
    for m, net in enumerate(config.nets):
        *inner, whole = fitted[m * each : (m + 1) * each]
        shared = min(f.epochs for f in (*inner, whole))
        watched = np.full((shared, len(rows)), np.nan)
        for (_, test), one in zip(span.splits, inner, strict=True):
            watched[:, place[test]] = one.watched[:shared]
        epochs = (
            choose_epoch(watched, truth, even_weight(mass)) if config.optim.early_stop else Epochs(shared, shared, ())
        )
        logits[:, m] = watched[epochs.chosen - 1]
        nets.append(whole.net(net, epochs.chosen))
        chosen.append(epochs)

    times = (samples.t_start[rows], samples.t_end[rows])
    folds = _folds(config)
    try:
        calibration = calibrate(logits, seen, truth, mass, *times, CTX_NAMES, folds, members=config.members)
    except InputError as error:
        raise NotEnoughData(error.got, error.accepts, error.do) from error
    names = channel_names(x.shape[-1])
    checks = {
        "channels": span.checks,
        "skill": check_skill(calibration(logits, seen), x, truth, mass, names),
        "shuffled": shuffled_control(x, seen, truth, mass, *times, folds, seed=config.seed),
    }
    report = {
        "n_train": len(span.rows),
        "n_target": int(samples.y[span.rows].sum()),
        "n_out_of_fold": len(held_out),
        "epochs": {name: [e.chosen, e.planned] for name, e in zip(config.members, chosen, strict=True)},
        "stopped_by_time": sum(f.stopped_by_time for f in fitted),
        "ensemble": calibration.report(),
        "leak": checks,
    }
    platts = tuple(fit_platt(column, truth, even_weight(mass)) for column in logits.T)
    return FittedModel(config, span.scale, tuple(nets), calibration, platts, report)


def _folds(config: FitConfig) -> InnerPurgedFolds:
    return InnerPurgedFolds(config.inner_folds, config.optim.gap_ns, config.optim.embargo_ns)


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
