"""A whole decision of the gate beside the bare graph in it, tight and paced; and a million damaged questions."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from feature_repo.instruments import SIMULATED_SYMBOL

from .harness import Bench, in_process, measured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["run", "stack_release"]

_TIGHT, _PACED, _FUZZ = 20_000, 300, 1_000_000
_PERIOD_NS = 100_000_000
_T, _SEED = 64, 7


def run() -> list[Bench]:
    """P50 and P99 of a decision, with the other core idle and busy; then the fuzzer."""
    rows = []
    for other in ("idle", "busy"):
        for pace, n in (
            ("tight", _TIGHT),
            ("paced", _PACED),
            ("paced, warm core", _PACED),
            ("paced, warm core, rehearsed", _PACED),
        ):
            full, bare = in_process("bench_gate:latency", pace, other, n, cpus=2)
            how = (
                f"allow() by a FeatureWindow of [{_T}, 24] and a stack of three nets: snapshot, guards, context, fused "
                f"graph, size; the peer is session.run on the same inputs, in turn; {n:,} of each, garbage collector on"
            )
            for name, ours, peer in zip(("P50", "P99"), full, bare, strict=True):
                rows.append(
                    measured(
                        f"gate: {name}, {pace}, other core {other}",
                        ours,
                        "ms",
                        peer_name="the bare graph",
                        peer=peer,
                        goal="ratio <= 1.15",
                        how=how,
                    )
                )
            if pace != "tight":
                limit = 1.5 if "warm" in pace else 3
                rows.append(
                    measured(
                        f"gate: P99 in all, {pace}, other core {other}", full[1], "ms", goal=f"ours <= {limit}", how=how
                    )
                )
    seconds, allowed, internal = in_process("bench_gate:damaged", _FUZZ)
    rows.append(
        measured(
            "gate: damaged questions that were allowed",
            allowed,
            "of 1,000,000",
            goal="ours <= 0",
            how=f"one thing wrong in each, seed {_SEED}; {internal:,} were denied by the last resort, internal_error; "
            f"{seconds:.0f} s",
        )
    )
    return rows


def latency(pace: str, other: str, n: str) -> tuple[tuple[float, float], tuple[float, float]]:
    """(P50, P99) of the gate and of the bare graph, ms."""
    from runtime.warm import warm_until

    with TemporaryDirectory() as folder, _other_core(busy=other == "busy"):
        full, bare, rehearse = _sides(Path(folder))
        # Each side rehearses what it is about to do: the gate a question of its own, the graph itself.
        sides = [(full, [], rehearse), (bare, [], bare)]
        for side, *_ in sides:
            for _ in range(200):
                side()
        gc.collect()
        gc.enable()
        next_ns = time.monotonic_ns() + _PERIOD_NS
        for i in range(2 * int(n)):
            side, took, before = sides[(i + i // 2) % 2]  # in turn, and neither always after the other
            if pace == "paced":
                time.sleep(max(0, next_ns - time.monotonic_ns()) / 1e9)
            elif pace != "tight":
                warm_until(next_ns, time.monotonic_ns, rehearse=before if "rehearsed" in pace else None)
            next_ns += _PERIOD_NS
            began = time.perf_counter_ns()
            side()
            took.append(time.perf_counter_ns() - began)
        return tuple(tuple(float(np.percentile(took, q)) / 1e6 for q in (50, 99)) for _, took, _ in sides)


def _sides(folder: Path) -> tuple[Callable[[], object], Callable[[], object], Callable[[], None]]:
    """A decision by a gate on a stack, a bare call of its graph with the same inputs, and the gate's rehearsal."""
    from feature_repo.fields import align
    from runtime.context import context_row
    from runtime.gate import MetaFilter
    from runtime.rehearsal import rehearsal

    window, candidate = _fired()
    gate = MetaFilter.load(stack_release(folder), source=window)
    now_ns = candidate.ts_ns + 2_000_000
    decision = gate.allow(candidate, now_ns)
    if not 0 <= decision.p <= 1:
        raise RuntimeError(f"the model was not asked: {decision}")
    x = align(window.snapshot(), candidate.side)[None]
    ctx = context_row(candidate, window.market, gate.fee)[None]
    session = gate._bundle.session
    bare = partial(session.run, ("p",), {"x": x, "ctx": ctx})
    return lambda: gate.allow(candidate, now_ns), bare, rehearsal(gate)


def _fired() -> tuple[Any, Any]:
    """A simulated tape up to a candidate that passes every guard: the window as it is then, and the candidate."""
    from feature_repo.instruments import FeeTier
    from feature_repo.market.simulator import simulate_tape
    from feature_repo.window import FeatureWindow
    from runtime.decision import Reason
    from runtime.drive import drive
    from runtime.gate import GuardsOnly
    from runtime.signals import SignalDetector

    tape = simulate_tape(seed=_SEED, hours=3.0)
    window = FeatureWindow(T=_T, instrument=tape.instrument)
    guards = GuardsOnly.on(tape.instrument, "B", fee=FeeTier("regular", 2.0, 5.0))
    guards.source = window
    for fired in drive(tape.events, window, SignalDetector(tape.symbol, tape.instrument.tick)):
        if guards.allow(fired.candidate, fired.candidate.ts_ns + 2_000_000).reason is Reason.ALLOW:
            return window, fired.candidate
    raise RuntimeError("no candidate passes the guards")


def stack_release(folder: Path, venue: str = "simulated", symbol: str = SIMULATED_SYMBOL) -> Path:
    """A release of the three nets; the graph is the same whatever was learnt."""
    from feature_repo.instruments import FeeTier
    from meta_models.export import export_fused
    from meta_models.fit import FitConfig, fit_model
    from meta_models.lit import OptimConfig
    from meta_models.samples import spans_of
    from runtime.buckets import BucketEdges
    from runtime.bundle import Manifest, write_bundle
    from tests.meta_models.learnable import make
    from tests.runtime.gate_builders import buckets_csv, rolled_out

    made = make(400, T=_T, C=24)
    fitted = fit_model(
        made.x,
        made.ctx,
        made.labels["y"].astype(int),
        made.labels["weight"].astype(float),
        *spans_of(made.labels, made.ts_ns, _T),
        FitConfig.of("stack", optim=OptimConfig(epochs=1, min_steps=1, accelerator="cpu"), workers=1),
    )
    manifest = Manifest(
        tag="bench",
        symbol=symbol,
        venue=venue,
        simulated=venue == "simulated",
        model="stack",
        fee_tier=FeeTier("regular", 2.0, 5.0),
        rollout=rolled_out("bench"),  # with edges: the multiplier is looked up as it is for a bot
        edges=BucketEdges((-1.0, 1.0), (0.04, 0.06), (1e5, 1e6), 400),
    )
    graph = export_fused(fitted, made.x, made.ctx).onnx_bytes
    return write_bundle(folder / "bench", onnx_bytes=graph, manifest=manifest, buckets_csv=buckets_csv())


@contextmanager
def _other_core(*, busy: bool) -> Iterator[None]:
    """This process on the first of its CPUs; on the second nothing, or a loop without an end."""
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cpus[:1])
    spin = f"import os; os.sched_setaffinity(0, [{cpus[-1]}])\nwhile True: sum(range(10**6))"
    running = subprocess.Popen([sys.executable, "-c", spin]) if busy else None
    try:
        yield
    finally:
        if running is not None:
            running.kill()
            running.wait()


def damaged(n: str) -> tuple[float, int, int]:
    """Seconds, questions that were allowed, and those that only the last resort denied."""
    from runtime.decision import Reason
    from runtime.gate import MetaFilter
    from tests.runtime.fuzz import fuzz
    from tests.runtime.gate_builders import bundle_folder

    with TemporaryDirectory() as folder:
        began = time.perf_counter()
        seen = fuzz((MetaFilter.load(bundle_folder(Path(folder))),), int(n), _SEED)
        took = time.perf_counter() - began
    return (
        took,
        int(n) - sum(seen.values()),
        sum(k for (_, reason), k in seen.items() if reason is Reason.INTERNAL_ERROR),
    )
