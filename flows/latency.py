"""How long each arm's decision takes, measured on the last candidates of the tape with the code that runs live."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from feature_repo.fees import headline_tiers
from feature_repo.market.tape import open_tape
from feature_repo.window import FeatureWindow
from runtime.arms import Decider
from runtime.e2e import time_decisions
from runtime.gate import GuardsOnly, MetaFilter
from runtime.profiles import PROFILES, VARIANTS

from .training import Trained

__all__ = ["measure_latency"]

LAST = 300
"""Candidates that are timed: a few seconds of work, with the pauses of a process that waits for its market."""


def measure_latency(
    tape_path: Path, trained: Trained, *, own_entries: bool, progress: Callable[[float], None] | None = None
) -> Mapping[tuple[str, bool], np.ndarray]:
    """E2E_DTYPE rows by (profile, model), of the bundle fitted last.

    Parameters
    ----------
    own_entries : the candidates are a user's, and not what the built-in signals find
    """
    tape = open_tape(tape_path)
    # The lowest fees let the most candidates through to the model, which is what takes the time.
    facts, fee, T = tape.instrument, headline_tiers(tape.venue)[-1], trained.x.shape[1]
    gates: dict[tuple[str, bool], Decider] = {}
    for profile in (*PROFILES, *VARIANTS):
        gates[profile, False] = GuardsOnly.on(facts, profile, fee=fee, T=T)
        if not trained.reason_na:
            bundle = [f.bundle_path for f in trained.result.folds if f.bundle_path is not None][-1]
            gates[profile, True] = MetaFilter.load(bundle, profile=profile, fee=fee, shadow=True)
    window = FeatureWindow(T=T, instrument=facts)
    by_time = {c.ts_ns: c for c in trained.file.candidates} if own_entries else None
    return time_decisions(
        tape.chunks(),
        window,
        gates,
        by_time,
        ts_ns=trained.file.labels["ts_ns"],
        last=LAST,
        progress=progress,
        end_ns=tape.span_ns[1],
    )
