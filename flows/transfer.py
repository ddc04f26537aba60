"""What a bundle that was trained on one simulated mechanism is worth on the other; only for simulated tapes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from feature_repo.build import build_features
from feature_repo.events import TRADE
from feature_repo.fields import CHANNELS, align
from feature_repo.instruments import FeeTier
from feature_repo.market.simulator import MECHANISMS, Simulation
from feature_repo.market.tape import open_tape, write_stream
from feature_repo.paths import data_root
from meta_models.labels import label_candidates
from reports.matrix import HEADLINE_PROFILE
from reports.transfer import Judged
from runtime.arms import decide_all
from runtime.bundle import load_bundle
from runtime.context import context_rows
from runtime.gate import GuardsOnly, MetaFilter
from runtime.signals import find_candidates

from .matrix import Matrix
from .training import Trained

__all__ = ["judge_transfer"]

_MAX_HOURS = 12.0
"""Of the other tape: enough candidates for an interval, a few seconds of work."""


def judge_transfer(
    tape_path: Path, trained: Trained, matrix: Matrix, *, progress: Callable[[float], None] | None = None
) -> tuple[Judged, ...]:
    """The walk-forward's own test folds, and the release's bundle on a tape of each other mechanism.

    Returns
    -------
    tuple
        Empty for a recorded tape, or where there is no model.
    """
    manifest = open_tape(tape_path).manifest
    if trained.reason_na or trained.result is None or trained.result.release is None or "mechanism" not in manifest:
        return ()
    mine, fee = str(manifest["mechanism"]), trained.file.fee
    others = [m for m in MECHANISMS if m != mine]
    out = [_own(trained, matrix, mine, fee)]
    for k, other in enumerate(others):
        out.append(_other(manifest, trained.result.release, mine, other, fee, trained.x.shape[1]))
        if progress is not None:
            progress((k + 1) / len(others))
    return tuple(out)


def _own(trained: Trained, matrix: Matrix, mechanism: str, fee: FeeTier) -> Judged:
    arms = {a.model: a for a in matrix.arms if (a.profile, a.fee) == (HEADLINE_PROFILE, fee)}
    asked = np.flatnonzero(np.isin(trained.result.fold_of, [f.k for f in trained.result.folds if f.bundle_path]))
    labels = trained.file.labels[asked]
    return Judged(
        f"{mechanism}, test folds",
        mechanism,
        mechanism,
        labels["ts_ns"],
        trained.result.p_test[asked],
        labels["y"],
        labels["net_bps"],
        arms[False].decisions["allow"],
        arms[True].decisions["allow"],
    )


def _other(manifest: dict, bundle_path: Path, mine: str, other: str, fee: FeeTier, T: int) -> Judged:
    """Another day of the other mechanism, from the tape to the gate's answers; nothing of it is kept."""
    hours = min(float(manifest["hours"]), _MAX_HOURS)
    made = Simulation(
        seed=int(manifest["seed"]) + 1, hours=hours, edge=manifest["edge"], mechanism=other, rate=manifest["rate"]
    )
    data_root().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".transfer.", dir=data_root()) as folder:
        tape = open_tape(write_stream(made, Path(folder)))
        table = build_features(tape)
        candidates = find_candidates(table)
        labels = label_candidates(
            table.quotes, tape.of_kind(TRADE), candidates, fee, instrument=tape.instrument, end_ns=tape.span_ns[1]
        )
    ts, side = np.array([c.ts_ns for c in candidates], np.int64), np.array([c.side for c in candidates], np.int64)
    at = np.searchsorted(table.t_ns, ts)
    x, found = table.windows(ts, T)
    market, session = table.market[at], table.X[at, CHANNELS.index("session_flag")] > 0
    p = np.full(len(candidates), np.nan)
    bundle, ctx = load_bundle(bundle_path), context_rows(candidates, market, fee)
    for i in np.flatnonzero(found):
        p[i] = bundle.predict(align(x[i], int(side[i]))[None], ctx[i : i + 1])[0]
    guards = GuardsOnly.on(tape.instrument, HEADLINE_PROFILE, fee=fee, T=T)
    model = MetaFilter.load(bundle_path, profile=HEADLINE_PROFILE, fee=fee, shadow=True)
    allowed = [
        decide_all([gate] * len(candidates), candidates, x, found, market, session)["allow"] for gate in (guards, model)
    ]
    return Judged(f"{other}, never seen", mine, other, ts, p, labels["y"], labels["net_bps"], *allowed)
