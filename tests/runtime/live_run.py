"""A live shadow against a local server that plays a recording, and what the batch way makes of the same."""

from __future__ import annotations

import gzip
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from feature_repo.build import build_features
from feature_repo.constants import GATE, MS_NS, ORDER, SECOND_NS, WINDOW_NS
from feature_repo.fields import MARKET_DTYPE
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
from runtime.live.replay_faults import Action, Faults, Pause
from runtime.live.service import LivePlan, LiveShadow
from runtime.live.venues import Endpoints, routes_of, snapshot_url
from runtime.live.vitals import Vitals
from runtime.live.vitals_view import VitalsView
from runtime.signals import find_candidates

from .gate_builders import bundle_folder, candidate

__all__ = [
    "ETHUSDT",
    "NEXOUSDT",
    "InStep",
    "Part",
    "Run",
    "assert_rows",
    "assert_safe",
    "assert_same",
    "assert_true_to",
    "batch",
    "eager",
    "fast_clock",
    "first_part",
    "following",
    "release",
    "said",
]

_DATA = Path(__file__).parents[3] / "shared" / "data"
ETHUSDT = _DATA / "binance_usdm_ethusdt"
NEXOUSDT = _DATA / "binance_spot_nexousdt"

_DIGITS = 19
_ALL = 1 << 62
_GIVEN_UP_S, _STEP_S = 1.0, 0.002
_LOOK_S = 0.05
_NUMBER = re.compile(r"\d[\d,.]*(?<=\d)")
_BOOK = ["bid", "ask", "bid_qty", "ask_qty", "mid", "spread_bps", "depth_top5"]
_QUOTE = ["bid", "ask", "bid_qty", "ask_qty"]


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
    every : of how many windows one is asked about; 0: those where the signals fire
    told : (now_ns, reasons) of the health, twenty times a second, where it was watched
    """

    shadow: LiveShadow
    window: FeatureWindow
    rows: list[np.ndarray] = field(default_factory=list)
    market: list[np.void] = field(default_factory=list)
    decisions: list[tuple[Candidate, Decision, float | None]] = field(default_factory=list)
    every: int = 0
    told: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)

    def progress(self) -> tuple[int, int]:
        """Messages that were received and recorded, and how many of them wait to be parsed."""
        recorder, waiting = self.shadow._recorder, len(self.shadow._inbox)
        return 0 if recorder is None else recorder.lines, waiting

    @property
    def reasons(self) -> set[str]:
        """The health's sentences, without their numbers."""
        return {_NUMBER.sub("N", reason) for _, reasons in self.told for reason in reasons}

    @property
    def view(self) -> VitalsView:
        """The vitals now."""
        return self.shadow.vitals.snapshot(self.shadow.now_ns())

    def allowed(self) -> np.ndarray:
        """MARKET_DTYPE [n] of the windows of what was allowed."""
        rows = {int(row["t_ns"]): row for row in self.market}
        found = [rows[c.ts_ns] for c, decision, _ in self.decisions if decision.allow]
        return np.array(found, MARKET_DTYPE)


@dataclass(frozen=True)
class Part:
    """The beginning of a recording.

    Attributes
    ----------
    times : int64 [lines], ns
    table : what the batch way makes of it
    """

    path: Path
    times: np.ndarray
    table: FeatureTable

    def line(self, second: float) -> int:
        """Number of the first line so long after the beginning, from 1."""
        return int(np.searchsorted(self.times, self.times[0] + round(second * SECOND_NS))) + 1

    def seconds(self, t_ns: np.ndarray) -> np.ndarray:
        """Since the beginning, on the corrected clock."""
        return (t_ns - self.table.t_ns[0]) / SECOND_NS


def first_part(files: Iterable[Path], seconds: float, path: Path) -> Part:
    """The first seconds of a recording with every tenth of its bookTickers, which no feature reads, in ``path``."""
    lines = [line for file in sorted(files) for line in gzip.decompress(file.read_bytes()).splitlines(keepends=True)]
    end = int(lines[0][:_DIGITS]) + round(seconds * SECOND_NS)
    tickers = count()
    kept = [
        line for line in lines if int(line[:_DIGITS]) < end and (b"bookTicker" not in line or not next(tickers) % 10)
    ]
    path.write_bytes(b"".join(kept))
    return Part(path, np.array([int(line[:_DIGITS]) for line in kept]), build_features(read_tape(path)))


class InStep(Faults):
    """Plays on only while the process keeps up, so that a busy machine makes a run slow and nothing else.

    ``actions`` is what ``on_line`` is elsewhere. ``progress`` tells how many messages the process has received, and how
    many of them wait. What is lost on the way to it, as by a Hangup, is given up when it has been idle for a second.
    """

    most = 30
    progress: Callable[[], tuple[int, int]] = staticmethod(lambda: (_ALL, 0))
    _sent = 0

    def actions(self, n: int, frame: bytes) -> Iterable[Action]:
        return (frame,)

    def on_line(self, n: int, frame: bytes) -> Iterator[Action]:
        before, since = -1, time.monotonic()
        while self._sent - (now := self.progress())[0] + now[1] > self.most:
            if now[1] or now[0] != before:
                before, since = now[0], time.monotonic()
            elif time.monotonic() - since > _GIVEN_UP_S:
                self._sent = now[0]
            yield Pause(_STEP_S)
        for action in self.actions(n, frame):
            self._sent += type(action) is bytes
            yield action


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


def _asked(every: int, t_ns: int) -> bool:
    return t_ns // WINDOW_NS % every == 0


class _Seen(LiveShadow):
    """Keeps every window that the signals are shown."""

    run: Run

    def update(self, row_x: np.ndarray, market_row: np.void) -> Candidate | None:
        self.run.rows.append(row_x)
        self.run.market.append(market_row)
        found, every = super().update(row_x, market_row), self.run.every
        if not every:
            return found
        return eager(self.plan.symbol, market_row) if _asked(every, int(market_row["t_ns"])) else None


@contextmanager
def following(
    server: Any,
    bundle: Path,
    folder: Path,
    *,
    every: int = 0,
    watched: bool = False,
    clock_ns: Callable[[], int] | None = None,
    source: Callable[[FeatureWindow], tuple[Any, Pusher | None]] = lambda window: (window, None),
    **plan: Any,
) -> Iterator[Run]:
    """A live shadow that follows a replay server, in this process.

    Parameters
    ----------
    every : ask at every n-th window (True: at all), and not only where the signals fire
    watched : look at the health all the time
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
    shadow.run = run = Run(shadow, window, decisions=decisions, every=int(every))
    with shadow, _watching(run) if watched else nullcontext():
        yield run


@contextmanager
def _watching(run: Run) -> Iterator[None]:
    stop, vitals = threading.Event(), run.shadow.vitals
    feed = vitals.feed

    def look() -> None:
        now_ns = run.shadow.now_ns()
        run.told.append((now_ns, tuple(vitals.health(now_ns)[1])))

    def look_often() -> None:
        while not stop.wait(_LOOK_S):
            look()

    def feed_and_look(**what: Any) -> None:
        feed(**what)
        if "connected" in what:  # a connection may be back before anybody has looked
            look()

    vitals.feed = feed_and_look
    thread = threading.Thread(target=look_often, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


_DEPTH = {"binance_usdm": "/fapi/v1/depth", "binance_spot": "/api/v3/depth"}


def batch(recording: Path | Sequence[Path], bundle: Path, *, every: int = 0) -> tuple[FeatureTable, list[tuple]]:
    """The feature table of a recording, and what the gate says of its candidates with windows cut out of that table."""
    tape = read_tape(recording)
    table = build_features(tape)
    gate = MetaFilter.load(bundle, profile="C")
    found = find_candidates(table)
    if every:
        asked = [eager(tape.symbol, row) for row in table.market if _asked(every, int(row["t_ns"]))]
        found = [c for c in asked if c is not None]
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


def assert_true_to(table: FeatureTable, rows: np.ndarray, *, by_local_time: bool) -> None:
    """The book of each row is the one that the undamaged recording has at the exchange time which the row claims.

    Parameters
    ----------
    rows : MARKET_DTYPE [n] of what was allowed
    by_local_time : also that of the same t_k, with its depth; for runs whose stamps are the recorded ones
    """
    assert rows["valid"].all()
    assert (np.abs(rows["data_age_ms"]) <= GATE.max_data_age_ms).all()
    exch_ns = rows["t_ns"] - np.rint(rows["data_age_ms"] * MS_NS).astype(np.int64)
    quotes = table.quotes
    at = np.searchsorted(quotes["exch_ts"], exch_ns, side="right") - 1
    for name in _QUOTE:
        np.testing.assert_array_equal(rows[name], quotes[name][at], err_msg=name)
    if by_local_time:
        clean = table.market[np.searchsorted(table.t_ns, rows["t_ns"])]
        for name in ["t_ns", *_BOOK]:
            np.testing.assert_array_equal(rows[name], clean[name], err_msg=name)


def assert_safe(run: Run, part: Part, raw: Path, bundle: Path, *, by_local_time: bool = True) -> np.ndarray:
    """What must hold after any fault; gives the seconds of what was allowed, since the recording began.

    The process lives; what it recorded gives its rows and, in a replay, its decisions again, bit for bit; nothing was
    allowed on a book that is not the true one; and after a replay the health has nothing to complain of.
    """
    assert run.shadow.error is None
    table, answers = batch(raw, bundle, every=run.every)
    if run.shadow.plan.replay:
        assert_same(run, table, answers)
        assert run.view.health() == (True, [])
    else:
        assert_rows(run, table)
    rows = run.allowed()
    assert_true_to(part.table, rows, by_local_time=by_local_time)
    return part.seconds(rows["t_ns"])
