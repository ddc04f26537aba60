"""The live shadow: from the message that closes a window to the decision in hand, and how soon a restart is ready."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import time
from array import array
from collections import defaultdict
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from runtime.live.flat_memory import FLAT_MEMORY

from .data import ETHUSDT, WHY_NOT
from .harness import ROOT, Bench, in_process, measured, not_measured

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["run"]

_MINUTES, _EVERY = 2.0, 3  # windows; the first minute has no valid book yet
_STARTS, _WARM_H, _SOAK_SPEED = 5, 6.0, 600.0
NEXOUSDT = ETHUSDT.with_name("binance_spot_nexousdt")
_SOURCES = ("in process", "online store")


def run() -> list[Bench]:
    """E2E by signal type through both sources of windows, in real time; then starts, warm and cold."""
    if not ETHUSDT.is_dir():
        return [not_measured("live: E2E, and starts", "ms", WHY_NOT)]
    rows = []
    for source, by_type in in_process("bench_live:e2e", _MINUTES, cpus=2).items():
        for name, (n, p50, p95, p99, within, budget) in by_type.items():
            how = (
                f"{_MINUTES:g} minutes of ETHUSDT (1,000 events/s) over a local websocket in real time, a {name} "
                f"candidate every {5 * _EVERY * 100} ms, the window read {source}, a stack of three nets; from the "
                f"message received to the decision; n = {n}, P50 {p50:.2f}, P99 {p99:.2f} ms"
            )
            rows.append(measured(f"live: E2E P95, {name}, {source}", p95, "ms", goal=f"ours <= {budget:g}", how=how))
            rows.append(measured(f"live: share in budget, {name}, {source}", within, "", goal="ours >= 1", how=how))
    warm, cold = in_process("bench_live:starts", _STARTS, cpus=2)
    rows.append(
        measured(
            "live: restart until ready",
            warm,
            "s",
            peer_name="the first start ever (kernels compiled)",
            peer=cold,
            goal="ours <= 2",
            how="a new process until the state of ETHUSDT is loaded, the gate has answered and the next messages are "
            f"in the window; median of {_STARTS}",
        )
    )
    return rows + _soaked()


def _soaked() -> list[Bench]:
    """24 hours of market time at high speed: memory and speed at the end beside those after the warm-up."""
    names = ("live: memory after 24 h of market time", "live: work an hour at the end of 24 h of market time")
    if not NEXOUSDT.is_dir():
        return [not_measured(name, "", "the recording of NEXOUSDT is not there") for name in names]
    hours, took_s, memory, work = in_process("bench_live:soak", cpus=2, more=FLAT_MEMORY)
    how = (
        f"all of it on {hours:.1f} h of NEXOUSDT at {_SOAK_SPEED:g} times its speed ({took_s:.0f} s), recording and "
        f"saving its state; warm-up: the first {_WARM_H:g} h"
    )
    return [
        measured(
            names[0],
            memory[1],
            "MiB",
            peer_name="after the warm-up",
            peer=memory[0],
            goal="ratio <= 1.01",
            how=f"{how}; resident memory, the largest of the last 6 h and of the 6 h after the warm-up: each holds "
            "several saves of the state",
        ),
        measured(
            names[1],
            work[1],
            "",
            peer_name="after the warm-up",
            peer=work[0],
            goal="ratio <= 1.1",
            how=f"{how}; CPU time of an hour in units of a fixed calculation timed beside it, as the machine's speed "
            "drifts: a + b x hours + c x messages, fitted on all hours after the warm-up, at the mean of the messages",
        ),
    ]


def e2e(minutes: str) -> dict[str, dict[str, tuple[int, float, float, float, float, float]]]:
    """source -> signal type -> (n, P50, P95, P99 in ms, share within budget, budget in ms)."""
    from feature_repo.offline import apply_definitions
    from runtime.budget import E2E_BUDGET_MS, WaitingSource
    from runtime.live.online import OnlineWindow
    from runtime.live.pushing import PushedWindow, Pusher

    from .bench_gate import stack_release

    told: dict[str, Any] = {}
    sys.setswitchinterval(0.001)
    with TemporaryDirectory() as folder:
        os.environ["OFI_META_DATA"] = folder
        apply_definitions()
        bundle = stack_release(Path(folder) / "releases", "binance_usdm", "ETHUSDT")
        recording = _first(float(minutes), Path(folder))

        def through_the_store(window: Any) -> tuple[Any, Any]:
            online = OnlineWindow("ETHUSDT", T=window.T, restart=True)
            online.snapshot_at(0)  # as `ofi-meta live` does
            pusher = Pusher(online)
            return WaitingSource(PushedWindow(pusher, online)), pusher

        for source, make in zip(_SOURCES, (lambda window: (window, None), through_the_store), strict=True):
            by_type = defaultdict(list)
            for candidate, decision, e2e_ms in _follow(recording, bundle, Path(folder) / source, make):
                if 0 <= decision.p <= 1:  # the whole way
                    by_type[candidate.sig_type].append(e2e_ms)
                elif decision.reason.value in ("stale", "store_error"):
                    by_type[candidate.sig_type].append(max(e2e_ms, E2E_BUDGET_MS[candidate.sig_type] + 1))
            told[source] = {
                t.name.lower(): (
                    len(ms),
                    *(float(np.percentile(ms, q)) for q in (50, 95, 99)),
                    float(np.mean(np.array(ms) <= E2E_BUDGET_MS[t])),
                    E2E_BUDGET_MS[t],
                )
                for t, ms in sorted(by_type.items())
            }
    return told


def _follow(recording: Path, bundle: Path, folder: Path, source: Any) -> list[tuple[Any, Any, float]]:
    """Decisions of a live shadow on the recording in real time, with a candidate of each type in turn."""
    from dataclasses import replace
    from types import SimpleNamespace

    from runtime.candidate import SigType
    from tests.runtime import live_run

    plain = live_run.eager

    def in_turn(symbol: str, market_row: Any) -> Any:
        found, n = plain(symbol, market_row), int(market_row["t_ns"]) // 100_000_000
        # As signals do: none on a row that is not valid. Those of the first minute are all asked about at its end.
        if found is None or n % _EVERY or not market_row["valid"]:
            return None
        return replace(found, sig_type=SigType(n // _EVERY % 5), reclaimed=True)

    live_run.eager = in_turn
    try:
        with _played(recording, speed=1.0) as told:
            server = SimpleNamespace(websocket=told["websocket"], rest=told["rest"], streams=told["streams"])
            with live_run.following(server, bundle, folder, every=True, source=source) as run:
                run.shadow.join()
        if run.shadow.error is not None:
            raise run.shadow.error
        return run.decisions
    finally:
        live_run.eager = plain


@contextmanager
def _played(recording: Path, speed: float) -> Iterator[dict[str, Any]]:
    """A replay server in a process of its own."""
    files = sorted(recording.glob("*.gz")) if recording.is_dir() else [recording]
    command = [sys.executable, "-m", "runtime.live.replay_server", *map(str, files), "--speed", str(speed)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        yield json.loads(server.stdout.readline())
    finally:
        server.terminate()
        server.wait()


def _first(minutes: float, folder: Path) -> Path:
    """The first minutes of the recording."""
    lines = b"".join(gzip.decompress(p.read_bytes()) for p in sorted(ETHUSDT.glob("*.gz"))).splitlines(True)
    end = int(lines[0][:19]) + round(minutes * 60e9)
    path = folder / "first.txt"
    path.write_bytes(b"".join(line for line in lines if int(line[:19]) < end))
    return path


def soak() -> tuple[float, float, tuple[float, float], tuple[float, float]]:
    """Hours of market time, seconds it took, and (after the warm-up, at the end) of MiB and of work.

    Work is CPU time of an hour, in units of a fixed calculation, by a line through all hours after the warm-up.
    """
    from feature_repo.instruments import instrument
    from feature_repo.window import FeatureWindow
    from runtime.decision_log import LoggedGate, SeenWindow
    from runtime.gate import MetaFilter
    from runtime.live.service import LivePlan, LiveShadow
    from runtime.live.venues import ENDPOINTS, routes_of, snapshot_url
    from runtime.live.vitals import Vitals
    from tests.runtime.live_run import release

    venue, symbol = "binance_spot", "NEXOUSDT"
    with TemporaryDirectory() as folder, _played(NEXOUSDT, speed=_SOAK_SPEED) as told:
        here = Path(folder)
        local = ENDPOINTS[venue]._replace(public=told["websocket"], market=told["websocket"], rest=told["rest"])
        window = FeatureWindow(instrument=instrument(venue, symbol))
        seen = SeenWindow(window)
        gate = LoggedGate(MetaFilter.load(release(here, venue, symbol), source=seen), seen, here / "decisions")
        plan = LivePlan(
            venue,
            symbol,
            routes_of(local, told["streams"]),
            snapshot_url(local, symbol),
            recordings=here / "raw",
            state=here / "state.npz",
            replay=True,
        )
        vitals = Vitals(symbol, venue, profile="B", source="in process", replay=True)
        samples = array("d")  # one row after the other; a list of tuples would grow by megabytes itself
        began = time.perf_counter()
        with LiveShadow(plan, gate, vitals, window=window) as shadow:
            first_ns = 0
            while shadow.running:
                view = vitals.snapshot(shadow.now_ns())
                now_ns = view.last_window_ns or 0
                first_ns = first_ns or now_ns
                mib = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
                done = sum(view.messages.values())
                market_h = (now_ns - first_ns) / 3.6e12
                samples.extend((market_h, time.process_time(), _fixed_work_s(), done, mib))
                time.sleep(0.05)
        if shadow.error is not None:
            raise shadow.error
        took_s = time.perf_counter() - began
    hours, cpu_s, fixed_s, messages, mib = np.array(samples).reshape(-1, 5).T
    end = hours[-1]

    def most(low: float, high: float) -> float:
        return float(mib[(hours >= low) & (hours <= high)].max())

    at = np.searchsorted(hours, np.arange(_WARM_H, int(end) + 1))
    cost = np.diff(cpu_s[at]) / [np.median(fixed_s[i:j]) for i, j in pairwise(at)]
    line = np.column_stack([np.ones(len(cost)), np.arange(len(cost)), np.diff(messages[at])])
    fitted = np.linalg.lstsq(line, cost, rcond=None)[0]
    work = [float(fitted @ (1, hour, line[:, 2].mean())) for hour in line[[0, -1], 1]]
    return float(end), took_s, (most(_WARM_H, _WARM_H + 6), most(end - 6, end)), (work[0], work[1])


def _fixed_work_s() -> float:
    """CPU seconds of a calculation that is always the same: how fast the machine is just now."""
    began, counts = time.thread_time(), dict.fromkeys(range(97), 0)
    for n in range(2_000):
        counts[n % 97] += n
    return time.thread_time() - began


_START = """
import sys, time
from pathlib import Path
from feature_repo.instruments import instrument
from feature_repo.window import FeatureWindow
from runtime.gate import MetaFilter
from runtime.live.saved import load_state
from runtime.live.reader import LiveReader
from runtime.live.inbox import Inbox
from feature_repo.market.segment import Segment
from runtime.signals import SignalDetector
from runtime.drive import drive
from runtime.candidate import Candidate, Entry, SigType, Tier

state, bundle, line = map(Path, sys.argv[1:4])
facts = instrument("binance_usdm", "ETHUSDT")
window, detector = FeatureWindow(instrument=facts), SignalDetector(facts.symbol, facts.tick)
saved = load_state(state, window, detector)
gate = MetaFilter.load(bundle, source=window)
at, mid = window.as_of_ns, float(window.market["mid"])
entry = Candidate(at, "ETHUSDT", 1, SigType.MOMENTUM, Tier.A, mid, 45.0, 40.0, 0.5, Entry.IOC, at + 1_000_000_000)
assert 0 <= gate.allow(entry, at + 2_000_000).p <= 1, "the model was not asked"
inbox = Inbox(time.time_ns, after_ns=saved.local_ns)
reader = LiveReader(inbox, saved.clock)
reader.parser.resume(saved.venue, saved.symbol, saved.parser)
for text in line.read_bytes().splitlines():
    inbox.put(text[20:], int(text[:19]))
inbox.close()
before = window.as_of_ns
for _ in drive(Segment(reader, clock=saved.clock, live=True).chunks(), window, detector):
    pass
assert window.as_of_ns > before, "no window was closed"
"""


def starts(n: str) -> tuple[float, float]:
    """Seconds of a warm restart (median) and of the first start, in which everything is compiled."""
    from runtime.live.replay_server import serving
    from tests.runtime.live_run import following

    from .bench_gate import stack_release

    with TemporaryDirectory() as folder:
        here = Path(folder)
        bundle = stack_release(here / "releases", "binance_usdm", "ETHUSDT")
        lines = _first(1.7, here).read_bytes().splitlines(True)
        begun, rest = here / "begun.txt", here / "rest.txt"
        begun.write_bytes(b"".join(lines[:-1_000]))
        rest.write_bytes(b"".join(lines[-1_000:]))
        with (
            serving(begun, speed=0) as server,
            following(server, bundle, here / "out", state=here / "state.npz") as run,
        ):
            run.shadow.join()
        command = [sys.executable, "-c", _START, str(here / "state.npz"), str(bundle), str(rest)]

        def start(cache: str) -> float:
            began = time.perf_counter()
            subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, "NUMBA_CACHE_DIR": str(here / cache)})
            return time.perf_counter() - began

        cold = start("cache")
        return float(np.median([start("cache") for _ in range(int(n))])), cold
