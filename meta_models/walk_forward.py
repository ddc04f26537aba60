"""Walk-forward: for each test block a bundle fitted strictly before it, then one for release fitted on everything."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from feature_repo.instruments import FeeTier
from runtime.bundle import Manifest, load_bundle, write_bundle

from .export import export_fused
from .fit import FitConfig, FittedModel, NotEnoughData, Span, finish_span, plan_span
from .forecasts import Forecasts, for_manifest, importance_rows, notes_of, pooled
from .jobs import run_jobs, workers_for
from .sample_check import check_samples
from .samples import Samples, spans_of
from .splits import PurgedWalkForward
from .thresholds import Thresholds, fit_thresholds

__all__ = ["FoldResult", "Origin", "WalkForwardResult", "library_versions", "walk_forward"]

_EMPTY_BUCKETS = "bucket,n\n"
"""Buckets are judged on shadow trades, which come after the fit: until then the table is empty."""
_PREDICT_ROWS = 1_024
_FIT_SHARE = 0.9
"""Of the bar; the rest is predicted, compared and explained."""
_LIBRARIES = ("numpy", "torch", "lightning", "scikit-learn", "onnx", "onnxruntime")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the samples come from; it goes into every manifest."""

    symbol: str
    venue: str
    simulated: bool
    fee: FeeTier


@dataclass(frozen=True, slots=True)
class FoldResult:
    """One test block.

    Attributes
    ----------
    bundle_path : the bundle fitted before the block, None where it could not be; `reason` says why
    train_idx : rows left after the purge (those without a label among them are not trained on)
    test_idx : rows of the block
    spans : train_start_ns, train_end_ns, test_start_ns, test_end_ns, n_train, n_test
    metrics : plain numbers: model, members, baselines (figures on the block's labels), importance, fit, max_abs_diff
    """

    k: int
    bundle_path: Path | None
    reason: str | None
    train_idx: np.ndarray
    test_idx: np.ndarray
    spans: dict[str, Any]
    metrics: dict[str, Any]


@dataclass(frozen=True, slots=True)
class WalkForwardResult:
    """All test blocks.

    Attributes
    ----------
    p_test : float64 [N], each test row's probability by its own fold's ONNX graph; NaN outside or without a model
    fold_of : int64 [N], -1 outside the test blocks
    release : the bundle fitted on everything, None where it could not be; `refused` says why
    fitted : the release's torch pipeline, for the single-net export
    metrics : pooled figures of model, members and baselines, the folds', and what a reader must know (``notes``)
    """

    folds: list[FoldResult]
    p_test: np.ndarray
    fold_of: np.ndarray
    release: Path | None
    refused: NotEnoughData | None
    fitted: FittedModel | None
    metrics: dict[str, Any]


def library_versions() -> dict[str, str]:
    """Python and the libraries that decide what comes out of a fit."""
    return {"python": sys.version.split()[0]} | {name: version(name) for name in _LIBRARIES}


def walk_forward(
    x: np.ndarray,
    ctx: np.ndarray,
    labels: np.ndarray,
    ts_ns: np.ndarray,
    *,
    config: FitConfig,
    workdir: Path,
    origin: Origin,
    found: np.ndarray | None = None,
    gross_R: np.ndarray | None = None,
    tag: str = "walk-forward",
    release_folder: Path | None = None,
    release: bool = True,
    explain: bool = True,
    checkpoints: Path | None = None,
    progress: Callable[[float], None] | None = None,
) -> WalkForwardResult:
    """Fit, export and predict block after block, then fit the release.

    Rows without a label are never trained on, but those in a test block get a probability: the gate is asked about
    them, too.

    Parameters
    ----------
    x : float32 [N, T, C], aligned to each candidate's side, not normalised
    ctx : float32 [N, 8]
    labels : LABEL_DTYPE [N]
    ts_ns : int64 [N], decision times; any order
    config : FitConfig
    workdir : fold bundles go to workdir/<tag>-fold<k>
    origin : symbol, venue, simulated, fee tier
    found : bool [N], False where the store had no window: such rows are neither trained on nor predicted
    gross_R : float64 [N], gross result in units of R, for the thresholds; None: the profiles' own
    tag, release_folder : the release's tag and folder, by default workdir/<tag>
    release : whether to fit one on everything
    explain : whether to fit gradient boosting and to ask what each channel is worth
    checkpoints : a training that was stopped is gone on from there; emptied at the end
    progress : called with the fraction done

    Returns
    -------
    WalkForwardResult
        A fold or release without enough data is stated with its reason; nothing is invented for it.

    Raises
    ------
    InputError
        Columns that do not belong together, or values that are not finite in rows that were found.
    LeakError
        Skill that no honest feature or model has.
    """
    found = check_samples(x, ctx, labels, ts_ns, found, T=config.T, C=config.C)
    t_start, t_end = spans_of(labels, ts_ns, config.T)
    y = np.where(found, labels["y"], -1).astype(np.int64)
    samples = Samples(x, ctx, y, labels["weight"].astype(float), t_start, t_end)
    splits, too_few = _splits(samples, config)
    everything = np.argsort(ts_ns, kind="stable")
    plan = [train for train, _ in splits] + ([everything] if release else [])
    tell = progress or (lambda _: None)
    fits = _fit_all(samples, plan, config, too_few, checkpoints, lambda done: tell(_FIT_SHARE * done))

    p_test = np.full(len(ts_ns), np.nan)
    fold_of = np.full(len(ts_ns), -1, np.int64)
    judged = Forecasts.none(len(ts_ns), config.members, boosting=explain)
    folds: list[FoldResult] = []
    for k, (train, test) in enumerate(splits):
        fold_of[test] = k
        spans, fitted = _spans(samples, train, test), fits[k]
        if isinstance(fitted, NotEnoughData):
            folds.append(FoldResult(k, None, str(fitted), train, test, spans, {}))
            continue
        fold_tag = f"{tag}-fold{k}"
        thresholds = _thresholds(gross_R, y, train)
        path, diff = _write(fitted, thresholds, samples, train, Path(workdir) / fold_tag, fold_tag, origin, [spans], {})
        asked, used = test[found[test]], train[y[train] >= 0]
        p_test[asked] = _predict(path, x[asked], ctx[asked])
        judged.fill(p_test[asked], fitted, samples, used, asked)
        report = fitted.report | {"thresholds": thresholds.report()}
        figures = judged.figures(y, asked) | {"fit": report, "max_abs_diff": diff}
        if explain:
            figures["importance"] = importance_rows(fitted, samples, used, asked)
        folds.append(FoldResult(k, path, None, train, test, spans, figures))
        tell(_FIT_SHARE + (1.0 - _FIT_SHARE) * (k + 1) / len(plan))

    metrics = pooled(y, folds, judged, config.model)
    fitted, path, refused = None, None, None
    if release and isinstance(fits[-1], NotEnoughData):
        refused = fits[-1]
    elif release:
        fitted = fits[-1]
        spans = [{"role": "release"} | _spans(samples, everything, everything[:0])]
        spans += [{"role": f"fold {f.k}"} | f.spans for f in folds if f.bundle_path is not None]
        folder = release_folder or Path(workdir) / tag
        thresholds = _thresholds(gross_R, y, everything)
        path, _ = _write(fitted, thresholds, samples, everything, folder, tag, origin, spans, for_manifest(metrics))
        metrics["notes"] += notes_of("the release", fitted.report)
    if checkpoints is not None:
        shutil.rmtree(checkpoints, ignore_errors=True)
    tell(1.0)
    return WalkForwardResult(folds, p_test, fold_of, path, refused, fitted, metrics)


def _splits(samples: Samples, config: FitConfig) -> tuple[list[tuple[np.ndarray, np.ndarray]], NotEnoughData | None]:
    """The folds, or empty ones and why."""
    splitter = PurgedWalkForward(
        config.folds, config.expanding, gap_ns=config.optim.gap_ns, embargo_ns=config.optim.embargo_ns
    )
    n = len(samples.y)
    if n <= config.folds:
        empty = np.empty(0, np.int64)
        return [(empty, empty)] * config.folds, NotEnoughData(
            f"{n} candidates", f"at least {config.folds + 1}", "Use a longer recording"
        )
    return list(splitter.split(samples.y, t_start=samples.t_start, t_end=samples.t_end)), None


def _fit_all(
    samples: Samples,
    plan: list[np.ndarray],
    config: FitConfig,
    too_few: NotEnoughData | None,
    checkpoints: Path | None,
    progress: Callable[[float], None],
) -> list[FittedModel | NotEnoughData]:
    """Of each span its pipeline, or why there is none. The fits of all spans share the processes."""
    sizes = np.array([max(1, int((samples.y[rows] >= 0).sum())) for rows in plan], float)
    seconds = config.train_minutes * 60 * workers_for(config.workers, config.optim) * sizes / sizes.sum()
    spans: list[Span | NotEnoughData] = []
    for rows, limit in zip(plan, seconds, strict=True):
        try:
            spans.append(too_few or plan_span(samples, config, rows, seconds=limit))
        except NotEnoughData as error:
            spans.append(error)
    jobs = [job for span in spans if isinstance(span, Span) for job in span.jobs]
    fitted = iter(
        run_jobs(
            jobs,
            samples.x,
            samples.y,
            samples.weight,
            config.optim,
            workers=config.workers,
            folder=checkpoints,
            progress=progress,
        )
    )
    out: list[FittedModel | NotEnoughData] = []
    for span in spans:
        if isinstance(span, NotEnoughData):
            out.append(span)
            continue
        own = [next(fitted) for _ in span.jobs]
        try:
            out.append(finish_span(span, own, samples, config))
        except NotEnoughData as error:
            out.append(error)
    return out


def _thresholds(gross_R: np.ndarray | None, y: np.ndarray, rows: np.ndarray) -> Thresholds:
    used = rows[y[rows] >= 0]
    return fit_thresholds(None if gross_R is None else gross_R[used], y[used])


def _write(
    fitted: FittedModel,
    thresholds: Thresholds,
    samples: Samples,
    rows: np.ndarray,
    folder: Path,
    tag: str,
    origin: Origin,
    spans: list[dict[str, Any]],
    metrics: dict[str, Any],
) -> tuple[Path, float]:
    labelled = rows[samples.y[rows] >= 0]
    exported = export_fused(fitted, samples.x[labelled], samples.ctx[labelled])
    manifest = Manifest(
        tag=tag,
        symbol=origin.symbol,
        venue=origin.venue,
        simulated=origin.simulated,
        model=fitted.config.model,
        fee_tier=origin.fee,
        T=fitted.config.T,
        C=fitted.config.C,
        payoff=thresholds.payoff,
        taus=thresholds.taus,
        spans=spans,
        metrics=metrics
        | {"fit": fitted.report | {"thresholds": thresholds.report()}, "onnx_max_abs_diff": exported.max_abs_diff},
        versions=library_versions(),
    )
    path = write_bundle(folder, onnx_bytes=exported.onnx_bytes, manifest=manifest, buckets_csv=_EMPTY_BUCKETS)
    return path, exported.max_abs_diff


def _predict(path: Path, x: np.ndarray, ctx: np.ndarray) -> np.ndarray:
    bundle = load_bundle(path)
    parts = [
        bundle.predict(x[i : i + _PREDICT_ROWS], ctx[i : i + _PREDICT_ROWS]) for i in range(0, len(x), _PREDICT_ROWS)
    ]
    return np.concatenate(parts).astype(float) if parts else np.empty(0)


def _spans(samples: Samples, train: np.ndarray, test: np.ndarray) -> dict[str, Any]:
    used = train[samples.y[train] >= 0]
    out: dict[str, Any] = {"n_train": len(used), "n_test": len(test)}
    for name, rows in (("train", used), ("test", test)):
        if len(rows):
            out[f"{name}_start_ns"] = int(samples.t_start[rows].min())
            out[f"{name}_end_ns"] = int(samples.t_end[rows].max())
    return out
