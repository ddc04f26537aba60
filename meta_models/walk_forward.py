"""Walk-forward: for each test block a bundle fitted strictly before it, then one for release fitted on everything."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from feature_repo.constants import LABEL, MS_NS, WINDOW_NS
from feature_repo.errors import InputError
from feature_repo.instruments import FeeTier
from runtime.bundle import Manifest, load_bundle, write_bundle

from .baseline import base_rate_p, logistic_p
from .export import export_fused
from .fit import FitConfig, FittedModel, NotEnoughData, fit_model
from .quality import quality
from .splits import PurgedWalkForward

__all__ = ["FoldResult", "Origin", "WalkForwardResult", "library_versions", "spans_of", "walk_forward"]

EMPTY_BUCKETS = "bucket,n\n"
"""Buckets are judged on shadow trades, which come after the fit: until then the table is empty."""
_PREDICT_ROWS = 1_024
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
    metrics : plain numbers: model, logistic, base (figures on the block's labels), fit, max_abs_diff
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
    metrics : pooled figures of model, logistic and base, the folds', and what a reader must know (``notes``)
    """

    folds: list[FoldResult]
    p_test: np.ndarray
    fold_of: np.ndarray
    release: Path | None
    refused: NotEnoughData | None
    fitted: FittedModel | None
    metrics: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Samples:
    x: np.ndarray
    ctx: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    t_start: np.ndarray
    t_end: np.ndarray

    def rows(self, idx: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(a[idx] for a in (self.x, self.ctx, self.y, self.weight, self.t_start, self.t_end))


def spans_of(labels: np.ndarray, ts_ns: np.ndarray, T: int) -> tuple[np.ndarray, np.ndarray]:
    """Time that each sample touches, int64 ns [N] twice: from its first window to the end of its label.

    Rows without a label reach to the horizon: had they had one, it would have been known by then.
    """
    end = np.where(labels["y"] >= 0, labels["t_end_ns"], ts_ns + LABEL.horizon_ms * MS_NS)
    return ts_ns - T * WINDOW_NS, end


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
    tag: str = "walk-forward",
    release_folder: Path | None = None,
    buckets_csv: str = EMPTY_BUCKETS,
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
    tag, release_folder : the release's tag and folder, by default workdir/<tag>
    buckets_csv : goes into each bundle
    progress : called with the fraction done

    Returns
    -------
    WalkForwardResult
        A fold or release without enough data is stated with its reason; nothing is invented for it.

    Raises
    ------
    InputError
        Columns that do not belong together, or values that are not finite in rows that were found.
    """
    found = _checked(x, ctx, labels, ts_ns, found, config)
    t_start, t_end = spans_of(labels, ts_ns, config.net.T)
    y = np.where(found, labels["y"], -1).astype(np.int64)
    samples = _Samples(x, ctx, y, labels["weight"].astype(float), t_start, t_end)
    splitter = PurgedWalkForward(config.folds, gap_ns=config.optim.gap_ns, embargo_ns=config.optim.embargo_ns)
    try:
        splits = list(splitter.split(ts_ns, t_start=t_start, t_end=t_end))
    except InputError as error:
        empty = np.empty(0, np.int64)
        splits, too_few = [(empty, empty)] * config.folds, str(error)
    else:
        too_few = None
    plan = [*(train for train, _ in splits), np.arange(len(ts_ns))]
    sizes = np.array([max(1, int((y[rows] >= 0).sum())) for rows in plan], float)
    shares, starts = sizes / sizes.sum(), np.concatenate([[0.0], np.cumsum(sizes) / sizes.sum()])

    def part(i: int) -> tuple[float, Callable[[float], None]]:
        report = progress or (lambda _: None)
        return config.train_minutes * 60 * shares[i], lambda f: report(starts[i] + shares[i] * f)

    p_test, p_logistic, p_base = (np.full(len(ts_ns), np.nan) for _ in range(3))
    fold_of = np.full(len(ts_ns), -1, np.int64)
    folds: list[FoldResult] = []
    for k, (train, test) in enumerate(splits):
        fold_of[test] = k
        spans = _spans(samples, train, test)
        seconds, report = part(k)
        try:
            if too_few:
                raise NotEnoughData(
                    f"{len(ts_ns)} candidates", f"at least {config.folds + 1}", "Use a longer recording"
                )
            fitted = fit_model(*samples.rows(train), config, max_seconds=seconds, progress=report)
        except NotEnoughData as error:
            folds.append(FoldResult(k, None, str(error), train, test, spans, {}))
            report(1.0)
            continue
        fold_tag = f"{tag}-fold{k}"
        path, diff = _write(
            fitted, samples, train, Path(workdir) / fold_tag, fold_tag, origin, [spans], {}, buckets_csv
        )
        asked = test[found[test]]
        p_test[asked] = _predict(path, x[asked], ctx[asked])
        used = train[y[train] >= 0]
        p_logistic[asked] = logistic_p(x[used], ctx[used], y[used], samples.weight[used], x[asked], ctx[asked])
        p_base[asked] = base_rate_p(y[used], samples.weight[used], len(asked))
        figures = _figures(y, test, p_test, p_logistic, p_base) | {"fit": fitted.report, "max_abs_diff": diff}
        folds.append(FoldResult(k, path, None, train, test, spans, figures))
        report(1.0)

    metrics = _pooled(y, folds, p_test, p_logistic, p_base)
    everything = np.argsort(ts_ns, kind="stable")
    seconds, report = part(len(splits))
    fitted, release, refused = None, None, None
    try:
        fitted = fit_model(*samples.rows(everything), config, max_seconds=seconds, progress=report)
    except NotEnoughData as error:
        refused = error
    else:
        spans = [{"role": "release"} | _spans(samples, everything, everything[:0])]
        spans += [{"role": f"fold {f.k}"} | f.spans for f in folds if f.bundle_path is not None]
        folder = release_folder or Path(workdir) / tag
        release, _ = _write(fitted, samples, everything, folder, tag, origin, spans, metrics, buckets_csv)
        if fitted.report["stopped_by_time"]:
            metrics["notes"].append(_late("the release"))
    if progress:
        progress(1.0)
    return WalkForwardResult(folds, p_test, fold_of, release, refused, fitted, metrics)


def _checked(
    x: np.ndarray, ctx: np.ndarray, labels: np.ndarray, ts_ns: np.ndarray, found: np.ndarray | None, config: FitConfig
) -> np.ndarray:
    n, shape = len(ts_ns), (config.net.T, config.net.C)
    found = np.ones(n, bool) if found is None else np.asarray(found, bool)
    if {len(a) for a in (x, ctx, labels, found)} != {n} or x.shape[1:] != shape:
        raise InputError(
            f"windows {x.shape}, context {ctx.shape}, {len(labels)} labels and {n} times",
            f"windows [N, {shape[0]}, {shape[1]}] and as many of each",
            "Build them with meta_models.dataset.build_dataset",
        )
    if not (np.isfinite(x[found]).all() and np.isfinite(ctx[found]).all()):
        raise InputError("windows or contexts that are not finite", "finite values", "Mark such rows as not found")
    return found


def _write(
    fitted: FittedModel,
    samples: _Samples,
    rows: np.ndarray,
    folder: Path,
    tag: str,
    origin: Origin,
    spans: list[dict[str, Any]],
    metrics: dict[str, Any],
    buckets_csv: str,
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
        T=fitted.config.net.T,
        C=fitted.config.net.C,
        spans=spans,
        metrics=metrics | {"fit": fitted.report, "onnx_max_abs_diff": exported.max_abs_diff},
        versions=library_versions(),
    )
    path = write_bundle(folder, onnx_bytes=exported.onnx_bytes, manifest=manifest, buckets_csv=buckets_csv)
    return path, exported.max_abs_diff


def _predict(path: Path, x: np.ndarray, ctx: np.ndarray) -> np.ndarray:
    bundle = load_bundle(path)
    parts = [
        bundle.predict(x[i : i + _PREDICT_ROWS], ctx[i : i + _PREDICT_ROWS]) for i in range(0, len(x), _PREDICT_ROWS)
    ]
    return np.concatenate(parts).astype(float) if parts else np.empty(0)


def _spans(samples: _Samples, train: np.ndarray, test: np.ndarray) -> dict[str, Any]:
    used = train[samples.y[train] >= 0]
    out: dict[str, Any] = {"n_train": len(used), "n_test": len(test)}
    for name, rows in (("train", used), ("test", test)):
        if len(rows):
            out[f"{name}_start_ns"] = int(samples.t_start[rows].min())
            out[f"{name}_end_ns"] = int(samples.t_end[rows].max())
    return out


def _figures(y: np.ndarray, rows: np.ndarray, *probabilities: np.ndarray) -> dict[str, Any]:
    judged = rows[(y[rows] >= 0) & np.isfinite(probabilities[0][rows])]
    return {
        name: quality(p[judged], y[judged])
        for name, p in zip(("model", "logistic", "base"), probabilities, strict=True)
    }


def _late(what: str) -> str:
    return f"training of {what} ran into its time limit: its probabilities depend on this machine's speed"


def _pooled(y: np.ndarray, folds: list[FoldResult], *probabilities: np.ndarray) -> dict[str, Any]:
    out = _figures(y, np.arange(len(y)), *probabilities)
    notes = [f"fold {f.k} has no model: {f.reason}" for f in folds if f.reason]
    notes += [_late(f"fold {f.k}") for f in folds if f.metrics and f.metrics["fit"]["stopped_by_time"]]
    model, logistic = out["model"]["brier"], out["logistic"]["brier"]
    if model is not None and not model < min(logistic, out["base"]["brier"]):
        better = "the logistic baseline" if logistic <= out["base"]["brier"] else "the base rate"
        notes.insert(0, f"out of sample the net does not beat {better} (Brier score)")
    return out | {"folds": [{"k": f.k, "reason": f.reason} | f.spans | f.metrics for f in folds], "notes": notes}
