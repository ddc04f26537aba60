"""The steps from a recording to a training set: read, call, write. Commands and Prefect tasks both call them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from feature_repo.constants import MODEL
from feature_repo.errors import InputError
from feature_repo.fees import FeeTier, fee_tier, headline_tiers
from feature_repo.market.stream import MAX_BAD_SHARE
from feature_repo.paths import data_root

if TYPE_CHECKING:
    from runtime.candidate import Candidate

    from .parameters import ShadowParameters

__all__ = [
    "LabelStep",
    "check_candidates",
    "contract_of",
    "fee_of",
    "fill_store",
    "make_features",
    "make_labels",
    "make_tape",
]

Advance = Callable[[float], None]


def fee_of(venue: str, name: str | None) -> FeeTier:
    """The named tier of a venue, or its regular one."""
    return headline_tiers(venue)[0] if name is None else fee_tier(venue, name)


def make_tape(
    source: Path | None,
    *,
    symbol: str | None = None,
    venue: str | None = None,
    source_kind: str | None = None,
    max_bad_share: float = MAX_BAD_SHARE,
    seed: int = MODEL.seed,
    hours: float = 24.0,
    edge: float = 1.0,
    mechanism: str = "flow",
    rate: float | None = None,
    progress: Advance | None = None,
) -> Path:
    """Import market data of any accepted source, accept a tape, or simulate one; chunk by chunk.

    Parameters
    ----------
    source : what lies there is told from its content, unless ``source_kind`` says it; None: a SIMULATED tape
    symbol, venue, source_kind, max_bad_share : see ``market.tape.open_stream``
    seed, hours, edge, mechanism, rate : see ``market.simulator.Simulation``

    Returns
    -------
    Path
        The tape's folder. A tape that is already in its place is left as it is.

    Raises
    ------
    InputError
        When nothing usable lies at ``source``.
    """
    from feature_repo.market.tape import StoredTape, open_stream, write_stream

    root = data_root() / "tape"
    if source is None:
        from feature_repo.market.simulator import Simulation

        made = Simulation(seed=seed, hours=hours, edge=edge, mechanism=mechanism, rate=rate, progress=progress)
        return write_stream(made, root)
    stream = open_stream(
        source, symbol=symbol, venue=venue, source=source_kind, max_bad_share=max_bad_share, progress=progress
    )
    if isinstance(stream, StoredTape):
        there, place = stream.path.resolve(), root / stream.venue / stream.symbol
        if place in (there, there.parent):  # one of its days must not replace the whole
            return there
    return write_stream(stream, root, progress=progress)


def contract_of(source: Path) -> tuple[str, str]:
    """Venue and symbol of what lies at ``source``, which is read as far as its first rows.

    Raises
    ------
    InputError
        When nothing usable lies there.
    """
    from feature_repo.market.tape import StoredTape, open_stream

    stream = open_stream(source)
    if not isinstance(stream, StoredTape):
        next(iter(stream.chunks()), None)
    return stream.venue, stream.symbol


def make_features(tape_path: Path, *, progress: Advance | None = None) -> Path:
    """Run the engine over a tape. Returns the features' folder."""
    from feature_repo.build import build_features
    from feature_repo.market.tape import open_tape

    return build_features(open_tape(tape_path), progress=progress).save(data_root() / "features")


def check_candidates(parameters: ShadowParameters) -> None:
    """Refuse a user's entries before anything is made: the file itself, and its times where the span is known.

    The span of a recording is known only once it is imported: there :func:`make_labels` judges the times.

    Raises
    ------
    InputError
        When the file cannot be used, naming its lines; or nothing usable lies at the tape's path.
    """
    if parameters.candidates is None:
        return
    from feature_repo.market.simulator import Simulation
    from feature_repo.market.tape import StoredTape, open_stream
    from runtime.entries import check_span, read_entries

    entries = read_entries(parameters.candidates)
    if parameters.tape is None:
        made = Simulation(seed=parameters.seed, hours=parameters.hours)
        check_span(entries, (made.start_ns, made.end_ns))
        return
    stream = open_stream(parameters.tape, symbol=parameters.symbol, venue=parameters.venue, source=parameters.source)
    if isinstance(stream, StoredTape):
        check_span(entries, stream.span_ns)


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
    draw: str = "latest",
    candidates: Path | None = None,
    progress: Advance | None = None,
) -> LabelStep:
    """Find the candidates and label them.

    Parameters
    ----------
    draw : of too many keep the "latest", or as many from the whole tape ("even"): these overlap less, so that as many
        labels know more
    candidates : a user's entries instead of the built-in signals, see docs/own-strategy.md

    Raises
    ------
    InputError
        When tape and features are of different symbols, or the entries cannot be used; names their lines.
    """
    from feature_repo.events import TRADE
    from feature_repo.market.tape import open_tape
    from feature_repo.table import FeatureTable
    from meta_models.label_io import labels_to_parquet
    from meta_models.labels import label_candidates
    from runtime.entries import entries_to_candidates, read_entries
    from runtime.signals import find_candidates

    tape = open_tape(tape_path)
    table = FeatureTable.load(features_path)
    if (tape.venue, tape.symbol) != (table.venue, table.symbol):
        raise InputError(
            f"features of {table.symbol} on {table.venue} beside a tape of {tape.symbol} on {tape.venue}",
            "both of one symbol",
            "Give the features that were made from this tape",
        )
    if candidates is None:
        found = find_candidates(table)
    else:
        found = entries_to_candidates(read_entries(candidates), table, tape.span_ns)
    used = found[-max_candidates:] if draw == "latest" else _even(found, max_candidates)
    trades = tape.of_kind(TRADE)
    labels = label_candidates(
        table.quotes, trades, used, fee, instrument=tape.instrument, end_ns=tape.span_ns[1], progress=progress
    )
    path = data_root() / "labels" / tape.venue / f"{tape.symbol}.parquet"
    labels_to_parquet(labels, used, path, symbol=tape.symbol, venue=tape.venue, simulated=tape.simulated, fee=fee)
    return LabelStep(path, len(found), len(used))


def _even(found: list[Candidate], most: int) -> list[Candidate]:
    """At most so many, at even distances, the last among them."""
    if len(found) <= most:
        return found
    return [found[i] for i in (np.arange(1, most + 1) * len(found)) // most - 1]


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
