"""A live shadow against a local server that plays a recording, and what the batch way makes of the same."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from feature_repo.build import build_features
from feature_repo.constants import MS_NS, ORDER
from feature_repo.instruments import instrument
from feature_repo.market.tape import read_tape
from feature_repo.table import FeatureTable
from feature_repo.window import FeatureWindow
from runtime.bundle import load_bundle
from runtime.candidate import Candidate
from runtime.decision import Decision
from runtime.decision_log import LoggedGate, SeenWindow
from runtime.gate import MetaFilter
from runtime.live.pushing import Pusher
from runtime.live.service import LivePlan, LiveShadow
from runtime.live.venues import Endpoints, routes_of, snapshot_url
from runtime.live.vitals import Vitals
from runtime.signals import find_candidates

from .gate_builders import bundle_folder, candidate

__all__ = [
    "ETHUSDT",
    "NEXOUSDT",
    "Run",
    "assert_rows",
    "assert_same",
    "batch",
    "eager",
    "fast_clock",
    "following",
    "release",
    "said",
]

_DATA = Path(__file__).parents[3] / "shared" / "data"
ETHUSDT = _DATA / "binance_usdm_ethusdt"
NEXOUSDT = _DATA / "binance_spot_nexousdt"


def release(root: Path, venue: str, symbol: str, **graph: float) -> Path:
    """A tiny model of one symbol, whose P follows the newest ofi_z."""
    of = {"symbol": symbol, "venue": venue, "simulated": False}
    return bundle_folder(root, of=of, **{"bias": 1.0, "ofi": 0.5, **graph})


@dataclass
class Run:
    """What a live process did.

    Attributes
    ----------
    rows, market : of every window, as the signals saw them
    decisions : (candidate, decision, E2E in ms)
    """

    shadow: LiveShadow
    window: FeatureWindow
    rows: list[np.ndarray] = field(default_factory=list)
    market: list[np.void] = field(default_factory=list)
    decisions: list[tuple[Candidate, Decision, float | None]] = field(default_factory=list)


def fast_clock(start_ns: int, speed: float) -> Callable[[], int]:
    """A local clock that shows ``start_ns`` now, and runs ``speed`` times as fast as the real one."""
    began = time.monotonic_ns()
    return lambda: start_ns + round((time.monotonic_ns() - began) * speed)


def eager(symbol: str, market_row: np.void) -> Candidate | None:
    """A candidate at every window that has a price; one that the gate allows wherever window and book are good."""
    mid = float(market_row["mid"])
    if not mid > 0:
        return None
    t_ns = int(market_row["t_ns"])
    side = 1 if t_ns // 100_000_000 % 2 else -1
    return candidate(ts_ns=t_ns, symbol=symbol, side=side, price=mid, expiry_ns=t_ns + 1_000_000_000)


class _Seen(LiveShadow):
    """Keeps every window that the signals are shown."""

    run: Run
    every = False

    def update(self, row_x: np.ndarray, market_row: np.void) -> Candidate | None:
        self.run.rows.append(row_x)
        self.run.market.append(market_row)
        found = super().update(row_x, market_row)
        return eager(self.plan.symbol, market_row) if self.every else found


@contextmanager
def following(
    server: Any,
    bundle: Path,
    folder: Path,
    *,
    every: bool = False,
    clock_ns: Callable[[], int] | None = None,
    source: Callable[[FeatureWindow], tuple[Any, Pusher | None]] = lambda window: (window, None),
    **plan: Any,
) -> Iterator[Run]:
    """A live shadow that follows a replay server, in this process.

    Parameters
    ----------
    every : ask at every window, and not only where the signals fire
    clock_ns : in place of the wall's
    source : window -> where the gate reads, and what pushes
    plan : of the LivePlan, beside addresses
    """
    manifest = load_bundle(bundle).manifest
    venue, symbol = manifest.venue, manifest.symbol
    endpoints = Endpoints(server.websocket, server.websocket, server.rest, _DEPTH[venue])
    window = FeatureWindow(instrument=instrument(venue, symbol))
    read, pusher = source(window)
    seen = SeenWindow(read)
    gate = LoggedGate(MetaFilter.load(bundle, profile="C", source=seen), seen, folder / "decisions")
    vitals = Vitals(symbol, venue, profile="C", source="in process", replay=True)
    told = LivePlan(
        venue,
        symbol,
        routes_of(endpoints, list(server.streams)),
        snapshot_url(endpoints, symbol),
        window.T,
        **{"replay": True, **plan},
    )
    decisions: list[tuple[Candidate, Decision, float | None]] = []
    shadow = _Seen(
        told,
        gate,
        vitals,
        window=window,
        pusher=pusher,
        on_decision=lambda *all_: decisions.append(all_),
        clock_ns=clock_ns,
    )
    shadow.every, shadow.run = every, (run := Run(shadow, window, decisions=decisions))
    with shadow:
        yield run


_DEPTH = {"binance_usdm": "/fapi/v1/depth", "binance_spot": "/api/v3/depth"}


def batch(recording: Path | Sequence[Path], bundle: Path, *, every: bool = False) -> tuple[FeatureTable, list[tuple]]:
    """The feature table of a recording, and what the gate says of its candidates with windows cut out of that table."""
    tape = read_tape(recording)
    table = build_features(tape)
    gate = MetaFilter.load(bundle, profile="C")
    found = (
        [c for row in table.market if (c := eager(tape.symbol, row)) is not None] if every else find_candidates(table)
    )
    broken = np.cumsum(~table.market["valid"])
    answers = []
    for c in found:
        k = int(np.searchsorted(table.t_ns, c.ts_ns))
        whole = k >= 63 and broken[k] == broken[k - 63] and table.market["valid"][k - 63]
        x = np.ascontiguousarray(table.X[k - 63 : k + 1]) if whole else None
        answers.append((c, gate.decide(c, c.ts_ns + ORDER.compute_ms * MS_NS, x, table.market[k])))
    return table, [said(*answer) for answer in answers]


def said(candidate: Candidate, decision: Decision, *_: object) -> tuple:
    """What two decisions must have in common to the last bit."""
    numbers = np.array([decision.p, decision.size, decision.p_breakeven]).tobytes()
    return repr(candidate), decision.allow, decision.reason, numbers


def assert_same(run: Run, table: FeatureTable, answers: list[tuple]) -> None:
    """Rows and decisions of a live process are those of the batch way, bit for bit."""
    assert_rows(run, table)
    assert [said(*decision) for decision in run.decisions] == answers


def assert_rows(run: Run, table: FeatureTable) -> None:
    """Rows alone: a live clock asks a little later than the batch way does."""
    assert run.shadow.error is None
    assert np.array([row["t_ns"] for row in run.market]).tolist() == table.t_ns.tolist()
    assert np.array(run.rows).tobytes() == np.ascontiguousarray(table.X).tobytes()
    assert np.array(run.market).tobytes() == np.ascontiguousarray(table.market).tobytes()
