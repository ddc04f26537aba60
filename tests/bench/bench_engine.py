"""The feature engine: in batch, beside a bare replay of the same events in hftbacktest, and one event at a time."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from .bare_replay import BARE, bare_replay
from .data import ETHUSDT, WHY_NOT, make_recording, repeated, rows_of
from .harness import Bench, Took, alternate, in_process, measured, not_measured

__all__ = ["run"]

_BATCH, _RATIO = "engine: batch, one core", "engine: batch, against a bare replay"
_ONE, _SNAPSHOT = "engine: one event from Python, median", "engine: snapshot, P99"
_GOALS = {_BATCH: "ours >= 20000000", _RATIO: "ratio >= 2", _ONE: "ours <= 2", _SNAPSHOT: "ours <= 5"}
_UNITS = {_BATCH: "events/s", _RATIO: "events/s", _ONE: "us", _SNAPSHOT: "us"}
_EVENTS = 20_000_000
_SINGLE = 300_000


def run() -> list[Bench]:
    """Batch, one event, one snapshot."""
    if not ETHUSDT.is_dir():
        return [not_measured(name, _UNITS[name], WHY_NOT, goal=goal) for name, goal in _GOALS.items()]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "ethusdt.gz"
        make_recording(path, 1)
        (rows, replayed), ((_, ours_s), (_, peer_s)) = in_process("bench_engine:both", path)
        one, snapshot = in_process("bench_engine:single", path)
    how = (
        f"the ETHUSDT recording repeated, in memory: {rows:,} events to rows of features; the peer keeps a book of the "
        f"{replayed:,} events that it knows and computes nothing; CPU time"
    )
    single = f"the first {_SINGLE:,} events of the ETHUSDT recording, one call each, with the clock's own cost"
    figures = {
        _BATCH: (rows / ours_s, how, {}),
        _RATIO: (rows / ours_s, how, {"peer_name": BARE, "peer": replayed / peer_s}),
        _ONE: (one, f"FeatureWindow.update_from_event; {single}", {}),
        _SNAPSHOT: (snapshot, f"FeatureWindow.snapshot, [64, 24], after every 10th of {single}", {}),
    }
    return [
        measured(name, ours, _UNITS[name], how=what, goal=_GOALS[name], **peer)
        for name, (ours, what, peer) in figures.items()
    ]


def both(path: str) -> tuple[tuple[int, int], list[Took]]:
    """Events of each side and the time they took."""
    from feature_repo.build import build_features
    from feature_repo.market.hft import to_hftbacktest
    from feature_repo.market.tape import Tape, read_tape

    events = rows_of(Path(path))
    tape = read_tape(path)
    tape = Tape(tape.venue, tape.symbol, repeated(events, -(-_EVENTS // len(events))), tape.manifest)
    replayed = to_hftbacktest(tape)
    return (len(tape.events), len(replayed)), alternate(
        [lambda: build_features(tape), bare_replay(replayed, tape.instrument)]
    )


def single(path: str) -> tuple[float, float]:
    """Median microseconds of one event, and the 99th percentile of one snapshot."""
    from feature_repo.market.tape import read_tape
    from feature_repo.window import FeatureWindow

    tape = read_tape(path)
    window = FeatureWindow(instrument=tape.instrument)
    events = [tape.events[i] for i in range(_SINGLE)]
    one, snapshot = np.zeros(_SINGLE), np.zeros(_SINGLE // 10)
    for i, event in enumerate(events):
        began = time.perf_counter_ns()
        window.update_from_event(event)
        one[i] = time.perf_counter_ns() - began
        if i % 10 == 9:
            began = time.perf_counter_ns()
            window.snapshot()
            snapshot[i // 10] = time.perf_counter_ns() - began
    # Before the first snapshot there is nothing to copy.
    return float(np.median(one)) / 1e3, float(np.percentile(snapshot[len(snapshot) // 2 :], 99)) / 1e3
