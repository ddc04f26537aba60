"""The training step of the shadow run: the store's answer in, fold bundles and out-of-sample probabilities out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from feature_repo.fields import CHANNELS
from feature_repo.offline import candidate_id, training_set
from feature_repo.paths import data_root
from meta_models.dataset import build_dataset
from meta_models.export import export_facts, write_graphs
from meta_models.fit import FitConfig
from meta_models.label_io import LabelFile, labels_from_parquet
from meta_models.walk_forward import Origin, WalkForwardResult, walk_forward

from .parameters import ShadowParameters
from .runner import fits_on_cluster

__all__ = ["Trained", "train"]


@dataclass(frozen=True)
class Trained:
    """What the matrix needs of the training step.

    Attributes
    ----------
    file : labels and their candidates
    x : float32 [N, T, C], windows as the store returned them, not aligned
    found : bool [N], whether the store had the window
    result : folds, out-of-sample probabilities and the release's bundle; None without a single candidate
    """

    file: LabelFile
    x: np.ndarray
    found: np.ndarray
    result: WalkForwardResult | None

    @property
    def reason_na(self) -> str:
        """Why no arm with a model can be run; empty when one can."""
        n, known = len(self.file.labels), int((self.file.labels["y"] >= 0).sum())
        if self.result is None:
            return f"no model: {n} candidates, none with a window in the store, {known} labels"
        if any(f.bundle_path for f in self.result.folds):
            return ""
        return f"no model: {n} candidates, {known} labels; {self.result.folds[0].reason}"


def train(
    labels_path: Path,
    parameters: ShadowParameters,
    *,
    release: bool = True,
    explain: bool = True,
    workers: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> Trained:
    """Walk forward over the labels of one symbol, with the windows that the feature store knows.

    Parameters
    ----------
    release, explain : see ``meta_models.walk_forward.walk_forward``
    workers : fits at a time, see ``meta_models.fit.FitConfig``

    Raises
    ------
    StoreError
        When the feature store is missing or cannot answer: there is no other way to a window.
    """
    file = labels_from_parquet(labels_path)
    ts = file.labels["ts_ns"]
    if not file.candidates:  # so short a tape may have left nothing in the store either
        nothing = np.zeros((0, parameters.t, len(CHANNELS)), np.float32)
        return Trained(file, nothing, np.zeros(0, bool), None)
    stored = training_set(file.symbol, [candidate_id(c.symbol, c.ts_ns, c.side) for c in file.candidates], ts)
    if not stored.found.any():
        empty = np.full((len(ts), parameters.t, len(CHANNELS)), np.nan, np.float32)
        return Trained(file, empty, stored.found, None)
    data = build_dataset(file.labels, np.array([c.side for c in file.candidates]), stored, T=parameters.t)
    workdir = data_root() / "models" / file.venue / file.symbol
    for before in workdir.glob("walk-forward*"):  # fold bundles of the run before; releases live elsewhere
        shutil.rmtree(before, ignore_errors=True)
    with fits_on_cluster():
        result = walk_forward(
            data.x,
            data.ctx,
            file.labels,
            data.ts_ns,
            config=FitConfig.of(
                parameters.model,
                T=parameters.t,
                C=len(CHANNELS),
                seed=parameters.seed,
                folds=parameters.folds,
                expanding=not parameters.rolling,
                train_minutes=parameters.train_minutes,
                workers=workers,
            ),
            workdir=workdir,
            checkpoints=workdir / "checkpoints",
            origin=Origin(file.symbol, file.venue, file.simulated, file.fee),
            found=data.found,
            gross_R=file.gross_R if parameters.tau == "fitted" else None,
            release=release,
            explain=explain,
            progress=progress,
        )
    if result.fitted is not None and result.release is not None:
        facts = export_facts(
            symbol=file.symbol,
            venue=file.venue,
            simulated=file.simulated,
            model=parameters.model,
            T=parameters.t,
            C=len(CHANNELS),
        )
        known = (data.y >= 0) & data.found
        write_graphs(
            result.fitted, data.x[known], data.ctx[known], parameters.models / f"{parameters.model}.onnx", facts
        )
    return Trained(file, stored.x[:, -parameters.t :], stored.found, result)
