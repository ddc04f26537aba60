"""What is decided in a shadow run: the out-of-sample candidates, and the gates' answers for any arm or changed rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from feature_repo.constants import ORDER
from feature_repo.fields import CHANNELS
from feature_repo.instruments import FeeTier, Instrument
from feature_repo.table import FeatureTable
from runtime.arms import Decider, Remembered, candidate_orders, decide_all
from runtime.bundle import Bundle, load_bundle
from runtime.candidate import Candidate
from runtime.gate import GuardsOnly, MetaFilter

from .training import Trained

__all__ = ["Asked", "Cell"]


@dataclass(frozen=True)
class Cell:
    """One thing to decide with: an arm of the matrix, or one of its rules changed."""

    profile: str
    model: bool
    fee: FeeTier
    tau: float | None = None  # None: the bundle's own


class Asked:
    """The out-of-sample candidates with all that the gates want of them, and the gates' answers to any cell.

    Parameters
    ----------
    table : the features of the tape
    instrument : of the tape
    """

    def __init__(self, trained: Trained, table: FeatureTable, instrument: Instrument) -> None:
        self.rows = _out_of_sample(trained)
        file = trained.file
        self.candidates: list[Candidate] = [file.candidates[i] for i in self.rows]
        self.labels = file.labels[self.rows]
        at = np.searchsorted(table.t_ns, self.labels["ts_ns"])
        self.market = table.market[at]
        self.session = table.X[at, CHANNELS.index("session_flag")] > 0
        self.orders, self.order_rows = candidate_orders(
            self.candidates, np.full(len(self.candidates), ORDER.base_size_usd)
        )
        self._trained, self._instrument, self._x = trained, instrument, trained.x[self.rows]
        self._bundles: dict[int, Bundle] = {}
        self._known: dict[Cell, np.ndarray] = {}

    def decide(self, cell: Cell) -> np.ndarray:
        """DECISION_DTYPE [N]: the gate asked once a candidate, with the bundle of its fold."""
        if cell not in self._known:
            self._known[cell] = decide_all(
                self._gates(cell), self.candidates, self._x, self._trained.found[self.rows], self.market, self.session
            )
        return self._known[cell]

    def allowed(self, cells: Sequence[Cell]) -> np.ndarray:
        """bool [A, M]: what each cell allows of the orders."""
        if not cells:
            return np.zeros((0, len(self.orders)), bool)
        return np.stack([self.decide(cell)["allow"][self.order_rows] for cell in cells])

    def mean_tau(self, profile: str) -> float:
        """The bundles' own threshold, averaged over the candidates: each fold has one."""
        folds, counts = np.unique(self._trained.result.fold_of[self.rows], return_counts=True)
        paths = {f.k: f.bundle_path for f in self._trained.result.folds}
        taus = [self._remembered(k, paths[k]).manifest.taus[profile[0]] for k in folds.tolist()]
        return round(float(np.average(taus, weights=counts)), 4)

    def _gates(self, cell: Cell) -> list[Decider]:
        if not cell.model:
            guards = GuardsOnly.on(self._instrument, cell.profile, fee=cell.fee, T=self._x.shape[1])
            return [guards] * len(self.candidates)
        by_fold = {
            f.k: MetaFilter(self._bundle(f.k, f.bundle_path, cell), profile=cell.profile, fee=cell.fee, shadow=True)
            for f in self._trained.result.folds
            if f.bundle_path is not None
        }
        return [by_fold[k] for k in self._trained.result.fold_of[self.rows]]

    def _remembered(self, fold: int, path: Path) -> Bundle:
        """The fold's bundle, which is asked once a window."""
        if fold not in self._bundles:
            self._bundles[fold] = Remembered.of(load_bundle(path))
        return self._bundles[fold]

    def _bundle(self, fold: int, path: Path, cell: Cell) -> Bundle:
        """With another tau where the cell has one."""
        bundle = self._remembered(fold, path)
        if cell.tau is None:
            return bundle
        taus = bundle.manifest.taus | {cell.profile[0]: cell.tau}
        return replace(bundle, manifest=replace(bundle.manifest, taus=taus))


def _out_of_sample(trained: Trained) -> np.ndarray:
    """Positions of the candidates to judge, in time order: those of test folds with a bundle, or all without one."""
    n = len(trained.file.labels)
    if trained.reason_na or trained.result is None:
        return np.arange(n)
    with_bundle = [f.k for f in trained.result.folds if f.bundle_path is not None]
    return np.flatnonzero(np.isin(trained.result.fold_of, with_bundle))
