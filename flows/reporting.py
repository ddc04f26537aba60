"""The last steps of a shadow run: reports, the release's bundle, and the count of trials."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from feature_repo.constants import MODEL
from feature_repo.market.tape import StoredTape, open_tape
from feature_repo.table import FeatureTable
from reports.buckets import buckets_csv, fit_edges
from reports.matrix import Report, build_report
from reports.records import OUTCOMES, RunFacts
from reports.transfer import Judged
from reports.trials import record_trials
from runtime.buckets import BucketEdges, edges_to_json
from runtime.bundle import load_bundle, write_bundle
from runtime.entries import entries_sha256
from runtime.manifest import MANIFEST_SCHEMA
from runtime.signals import SigType

from .matrix import Matrix
from .parameters import ShadowParameters
from .steps import LabelStep
from .training import Trained

__all__ = ["judge", "release"]


def judge(
    parameters: ShadowParameters,
    tape_path: Path,
    features_path: Path,
    labelled: LabelStep,
    trained: Trained,
    matrix: Matrix,
    moved: Sequence[Judged] = (),
    *,
    latency: Mapping[tuple[str, bool], np.ndarray],
    seconds: Mapping[str, float],
    progress: Callable[[float], None] | None = None,
) -> Report:
    """Judge every arm. Trials are counted from what was run, this run included."""
    tape, table, file = open_tape(tape_path), FeatureTable.load(features_path), trained.file
    run_id = _run_id(parameters, tape.manifest)
    n_trials = record_trials(parameters.releases, run_id, tape.symbol, matrix.tried)
    mids = table.market["mid"][table.market["valid"]]
    facts = RunFacts(
        venue=tape.venue,
        symbol=tape.symbol,
        simulated=tape.simulated,
        tape=f"simulated, seed {parameters.seed}" if parameters.tape is None else parameters.tape.name,
        span_ns=tape.span_ns,
        tick_bps=float(tape.instrument.tick / np.median(mids) * 1e4) if len(mids) else float("nan"),
        fee_tier_given=parameters.fee_tier,
        seed=parameters.seed,
        run_id=run_id,
        tape_sha256=_tape_hash(tape.manifest),
        code_version=version("ofi-meta"),
        candidates_found=dict(Counter(SigType(c.sig_type).name.lower() for c in file.candidates)),
        label_outcomes=tuple(np.bincount(file.labels["outcome"], minlength=len(OUTCOMES)).tolist()),
        folds=tuple(_folds(trained)),
        notes=tuple(_notes(parameters, labelled, trained, table, tape)),
        stage_s=dict(seconds),
    )
    return build_report(
        matrix.arms,
        facts,
        ladder=matrix.ladder,
        latency=latency,
        sensitivity=matrix.sensitivity,
        training=None if trained.result is None else trained.result.metrics,
        fold_of=matrix.fold_of,
        calibration=matrix.calibration,
        edges=_edges(matrix),
        n_trials=n_trials,
        transfer=moved,
        seed=parameters.seed,
        progress=progress,
    )


def release(parameters: ShadowParameters, trained: Trained, matrix: Matrix, report: Report) -> Path | None:
    """Put the release's bundle, with its buckets and verdict, under releases/<tag>: a candidate, until promoted.

    Returns
    -------
    Path or None
        None where there was too little data for a model.
    """
    if trained.result is None or trained.result.release is None:
        return None
    fitted = trained.result.release
    onnx_bytes = (fitted / "model.onnx").read_bytes()
    manifest = load_bundle(fitted).manifest
    buckets = buckets_csv(report.buckets)
    edges = _edges(matrix)
    run_id = report.metrics["run"]["run_id"]  # by which a promotion knows the metrics of this release
    facts = json.dumps([MANIFEST_SCHEMA, edges_to_json(edges), run_id])
    digest = hashlib.sha256(onnx_bytes + buckets.encode() + facts.encode()).hexdigest()[:10]
    tag = f"{manifest.symbol.lower()}-{manifest.model}-{digest}"
    folder = parameters.releases / tag
    if folder.is_dir() and load_bundle(folder).manifest.tag == tag:
        return folder  # the same inputs made the same model before
    metrics = manifest.metrics | {"verdict": report.metrics["verdict"]["word"], "run_id": run_id}
    made = replace(manifest, tag=tag, metrics=metrics, edges=edges, files={})
    return write_bundle(folder, onnx_bytes=onnx_bytes, manifest=made, buckets_csv=buckets)


def _edges(matrix: Matrix) -> BucketEdges | None:
    return fit_edges(matrix.training_facts) if len(matrix.training_facts) else None


def _run_id(parameters: ShadowParameters, manifest: Mapping) -> str:
    """The same for the same tape, parameters and code, wherever the files lie."""
    named = parameters.model_dump(mode="json", exclude={"tape", "candidates", "out", "releases", "models"})
    entries = None if parameters.candidates is None else entries_sha256(parameters.candidates)
    text = json.dumps([named, _tape_hash(manifest), entries, _code()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _tape_hash(manifest: Mapping) -> str:
    return hashlib.sha256(json.dumps(manifest["days"], sort_keys=True).encode()).hexdigest()


_ROOT = Path(__file__).resolve().parent.parent


def _code(root: Path = _ROOT) -> str:
    """The commit of the checkout that this code lies in, else the version."""
    try:
        found = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "--show-toplevel", "HEAD"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return version("ofi-meta")  # an installed wheel has no history
    top, commit = found.stdout.splitlines()
    # A venv within somebody's repository: its commits are not ours.
    return commit if Path(top).resolve() == root else version("ofi-meta")


def _folds(trained: Trained) -> list[dict[str, object]]:
    if trained.result is None:
        return []
    return [{"k": f.k, "model": f.bundle_path is not None, "reason": f.reason, **f.spans} for f in trained.result.folds]


def _notes(
    parameters: ShadowParameters, labelled: LabelStep, trained: Trained, table: FeatureTable, tape: StoredTape
) -> list[str]:
    notes = [f"Tape: {w[0].upper()}{w[1:].rstrip('.')}." for w in tape.manifest.get("warnings", [])]
    if parameters.candidates is not None:
        notes.append(f"Candidates: {parameters.candidates.name}, {labelled.found:,} entries.")
    if parameters.order_latency == "tape":
        notes.append("Order latency: the tape's own feed latency each way; labels take the constant one.")
    if labelled.used < labelled.found:
        kept = f"{'the latest ' if parameters.draw == 'latest' else ''}{labelled.used:,}"
        kept += " from the whole tape" if parameters.draw == "even" else ""
        notes.append(f"{labelled.found:,} candidates found, {kept} used (--max-candidates).")
    valid = float(table.market["valid"].mean()) if len(table.market) else 0.0
    if valid < 0.9:
        notes.append(f"Only {100 * valid:.0f} % of the 100 ms rows are valid: 60 s of book come before the first.")
    unknown = sum(not c.R_bps > 0 for c in trained.file.candidates)
    if unknown:
        notes.append(f"{unknown:,} candidates have no known reward (VWAP or ATR not ready): no barriers, no label.")
    missing = int((~trained.found).sum())
    if missing:
        notes.append(f"{missing:,} candidates have no window of {parameters.t} valid rows.")
    if tape.venue == "binance_spot":
        notes.append("Spot: shorts and funding are judged as on a perpetual; a spot account cannot take those entries.")
    if trained.reason_na:
        notes.append("Arms without a model judge the whole tape, since nothing of them is fitted.")
    if trained.result is not None:
        notes += [f"{n[0].upper()}{n[1:].rstrip('.')}." for n in trained.result.metrics["notes"]]
    if parameters.t != MODEL.T:
        notes.append(f"Windows of {parameters.t} steps instead of {MODEL.T}.")
    return notes
