"""The steps from a recording to a training set: read, call, write. Commands and Prefect tasks both call them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from feature_repo.constants import MODEL
from feature_repo.errors import InputError
from feature_repo.instruments import FEE_TIERS, FeeTier, fee_tier
from feature_repo.paths import data_root

__all__ = ["LabelStep", "fee_of", "fill_store", "make_features", "make_labels", "make_tape"]

Advance = Callable[[float], None]


def fee_of(venue: str, name: str | None) -> FeeTier:
    """The named tier of a venue, or its regular one."""
    return FEE_TIERS[venue][0] if name is None else fee_tier(venue, name)


def make_tape(
    source: Path | None,
    *,
    symbol: str | None = None,
    seed: int = MODEL.seed,
    hours: float = 24.0,
    progress: Advance | None = None,
) -> Path:
    """Import a recording, accept a tape, or simulate one.

    Returns
    -------
    Path
        The tape's folder.

    Raises
    ------
    InputError
        When nothing usable lies at ``source``.
    """
    from feature_repo.market.tape import read_tape, write_tape

    root = data_root() / "tape"
    if source is None:
        from feature_repo.market.simulator import simulate_tape

        tape = simulate_tape(seed=seed, hours=hours, progress=progress)
    else:
        tape = read_tape(source, symbol=symbol, progress=progress)
        folder = root / tape.venue / tape.symbol
        if Path(source).resolve() in (folder, folder.parent, root) and folder.is_dir():
            return folder
    return write_tape(tape, root)


def make_features(tape_path: Path, *, progress: Advance | None = None) -> Path:
    """Run the engine over a tape. Returns the features' folder."""
    from feature_repo.build import build_features
    from feature_repo.market.tape import read_tape

    return build_features(read_tape(tape_path), progress=progress).save(data_root() / "features")


@dataclass(frozen=True)
class LabelStep:
    """Where the labels are, and how many candidates the tape had."""

    path: Path
    found: int
    used: int


def make_labels(
    tape_path: Path,
    features_path: Path,
    fee: FeeTier,
    *,
    max_candidates: int = MODEL.max_candidates,
    progress: Advance | None = None,
) -> LabelStep:
    """Find the candidates and label them; of too many the latest are kept."""
    from feature_repo.events import KIND_MASK, TRADE
    from feature_repo.market.tape import read_tape
    from feature_repo.table import FeatureTable
    from meta_models.label_io import labels_to_parquet
    from meta_models.labels import label_candidates
    from runtime.signals import find_candidates

    tape = read_tape(tape_path)
    table = FeatureTable.load(features_path)
    if (tape.venue, tape.symbol) != (table.venue, table.symbol):
        raise InputError(
            f"features of {table.symbol} on {table.venue} beside a tape of {tape.symbol} on {tape.venue}",
            "both of one symbol",
            "Give the features that were made from this tape",
        )
    found = find_candidates(table)
    used = found[-max_candidates:]
    trades = tape.events[(tape.events["ev"] & KIND_MASK) == TRADE]
    labels = label_candidates(
        table.quotes, trades, used, fee, instrument=tape.instrument, end_ns=tape.span_ns[1], progress=progress
    )
    path = data_root() / "labels" / tape.venue / f"{tape.symbol}.parquet"
    labels_to_parquet(labels, used, path, symbol=tape.symbol, venue=tape.venue, simulated=tape.simulated, fee=fee)
    return LabelStep(path, len(found), len(used))


def fill_store(
    features_path: Path, labels_path: Path, fee: FeeTier, *, T: int = MODEL.T, progress: Advance | None = None
) -> None:
    """Write the windows and contexts of the candidates where Feast reads them, and register the definitions."""
    from feature_repo.offline import candidate_id, write_store
    from feature_repo.table import FeatureTable
    from meta_models.label_io import labels_from_parquet
    from runtime.context import context_rows

    table = FeatureTable.load(features_path)
    candidates = labels_from_parquet(labels_path).candidates
    ts = np.array([c.ts_ns for c in candidates], np.int64)
    at = np.searchsorted(table.t_ns, ts)
    ctx = context_rows(candidates, table.market[at], fee)
    write_store(table, [candidate_id(c.symbol, c.ts_ns, c.side) for c in candidates], ts, ctx, T=T, progress=progress)
