"""A shadow of live trading: the venue's feed through the gate, with every decision logged and no order placed.

One thread decides: it takes messages as they came, parses them, closes windows, asks the signals and the gate. All else
(sockets, snapshots, the recording, pushes, files) is done by other threads, and none of it can hold a decision up
beyond the budget of its signal.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from feature_repo.constants import MS_NS, ORDER, SECOND_NS
from feature_repo.errors import InputError
from feature_repo.events import GAP, KIND_MASK
from feature_repo.instruments import instrument
from feature_repo.market.binance import FEED_LOST
from feature_repo.market.clock import ClockOffset
from feature_repo.market.segment import Segment
from feature_repo.window import FeatureWindow

from ..candidate import Candidate
from ..context import round_trip_cost_bps
from ..decision import Decision
from ..decision_log import LoggedGate
from ..drive import Fired, drive
from ..signals import SignalDetector
from .feed import ENDED, Feed
from .inbox import Inbox
from .pushing import Pusher
from .reader import LiveReader
from .recorder import LineRecorder
from .saved import load_state, pack_state, save_state
from .snapshots import Snapshots
from .steady_clock import SteadyClock
from .vitals import Vitals

__all__ = ["LivePlan", "LiveShadow"]

_HOUR_NS = 3_600 * SECOND_NS
_TOLD_S = 0.25
_HOUSE_S = 0.5
_OLDEST_S = 3_600.0
"""A state that is older is not gone on from: most of what it knows has left the engine's memories."""


@dataclass(frozen=True, slots=True)
class LivePlan:
    """What to follow, and where to keep what comes of it.

    Attributes
    ----------
    routes, snapshot_url : addresses; see ``venues``
    recordings : folder of the raw lines; None: nothing is recorded
    state : file that a restart goes on from; None: every start is a fresh one
    save_s : between two states
    replay : the frames carry the times of a recording, whose end is the end. The gate is then asked at t_k plus the
        compute time of the shadow run, so that the same recording gives the same decisions.
    """

    venue: str
    symbol: str
    routes: Mapping[str, str]
    snapshot_url: str
    recordings: Path | None = None
    state: Path | None = None
    save_s: float = 10.0
    replay: bool = False


class LiveShadow:
    """Follows one symbol until it is closed, or a replay ends.

    ::

        with LiveShadow(plan, gate, vitals, window=window) as shadow:
            while shadow.running:
                ...

    Parameters
    ----------
    gate : its source reads ``window``, or what ``pusher`` pushes of it
    vitals : what becomes known of the process
    window : of the plan's instrument, without any events yet
    pusher : gets every window; None: nobody reads them elsewhere
    on_decision : called with (candidate, decision, E2E in ms or None) after each, from the thread that decides
    """

    def __init__(
        self,
        plan: LivePlan,
        gate: LoggedGate,
        vitals: Vitals,
        *,
        window: FeatureWindow,
        pusher: Pusher | None = None,
        on_decision: Callable[[Candidate, Decision, float | None], None] = lambda *_: None,
        clock_ns: Callable[[], int] | None = None,
    ) -> None:
        self.plan, self._gate, self.vitals, self._window, self._pusher = plan, gate, vitals, window, pusher
        self._on_decision = on_decision
        facts = instrument(plan.venue, plan.symbol)
        self._detector = SignalDetector(plan.symbol, facts.tick)
        self._wall_ns = SteadyClock() if clock_ns is None else clock_ns
        self.error: Exception | None = None
        """Why the thread that decides has ended; None while it runs, and after an end in good order."""
        self.resumed = ""
        """A sentence about the state that this process went on from."""
        clock, after_ns = self._resume()
        self._recorder = None if plan.recordings is None else LineRecorder(plan.recordings, plan.symbol)
        self._inbox = Inbox(self._stamp_ns, self._recorder, after_ns=after_ns)
        self._clock = ClockOffset() if clock is None else clock
        self._reader = LiveReader(self._inbox, self._clock, on_quiet=self._on_quiet)
        if self._place is not None:
            self._reader.parser.resume(*self._place)
        self._segment = Segment(self._reader, clock=self._clock, live=True)
        self._routes: dict[str, bool] = {}
        self._reconnects, self._opened, self._failures, self._gaps, self._hour = 0, 0, 0, 0, 0
        self._told_s = self._saved_s = time.monotonic()
        self._to_save: dict[str, np.ndarray] | None = None
        self._stop = threading.Event()
        self._snapshots = Snapshots(plan.snapshot_url, self._inbox, on_failure=self._on_snapshot_failure)
        self._feed = Feed(plan.routes, self._inbox, stamped=plan.replay, on_route=self._on_route, ends=plan.replay)
        self._decider = threading.Thread(target=self._decide, name="decisions", daemon=True)
        self._keeper = threading.Thread(target=self._keep, name="housekeeping", daemon=True)

    def start(self) -> Self:
        """Begin; returns at once."""
        if not self.plan.replay:
            # Whatever was recorded before: from here on the book is unknown.
            self._inbox.put(FEED_LOST)
        self._decider.start()
        self._keeper.start()
        self._feed.start()
        return self

    @property
    def running(self) -> bool:
        """Whether decisions are still being made."""
        return self._decider.is_alive()

    def now_ns(self) -> int:
        """ns UTC on the corrected local clock; in a replay that of the message decided on last, 0 before the first."""
        local_ns = self._reader.last_local_ns if self.plan.replay else self._wall_ns()
        return local_ns + self._clock.offset_ns if local_ns else 0

    def join(self, timeout_s: float | None = None) -> None:
        """Wait for the end of a replay."""
        self._decider.join(timeout_s)

    def close(self) -> None:
        """End in good order: what has come is decided on, recorded and saved."""
        with ExitStack() as last:
            last.callback(self._end_files)
            self._feed.close()
            self._snapshots.close()
            if self._decider.ident is not None:
                self._decider.join(30.0)
            self._stop.set()
            if self._keeper.ident is not None:
                self._keeper.join(30.0)

    def _end_files(self) -> None:
        with ExitStack() as last:
            if self._recorder is not None:
                last.callback(self._recorder.close)
            last.callback(self._gate.close)
            if self._pusher is not None:
                last.callback(self._pusher.close)
        self._house()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- the thread that decides ---------------------------------------------------------------------------------

    def _decide(self) -> None:
        try:
            for fired in drive(self._corrected(), self._window, self):
                self._answer(fired)
            self._tell()
            self._save()
        except Exception as e:  # nothing is allowed any more; the process says why, and ends
            self.error = e

    def _corrected(self) -> Any:
        for chunk in self._segment.chunks():
            self._gaps += int(np.count_nonzero((chunk["ev"] & np.uint64(KIND_MASK)) == GAP))
            yield chunk

    def update(self, row_x: np.ndarray, market_row: np.void) -> Candidate | None:
        """A window has closed: push it, and ask the signals. Called by ``drive``."""
        if self._pusher is not None and (x := self._window.snapshot()) is not None:
            self._pusher.offer(x, market_row)
        self.vitals.window(int(market_row["t_ns"]))
        return self._detector.update(row_x, market_row)

    def _answer(self, fired: Fired) -> None:
        candidate = fired.candidate
        now_ns = candidate.ts_ns + ORDER.compute_ms * MS_NS if self.plan.replay else self.now_ns()
        decision = self._gate.allow(candidate, now_ns)
        received_ns = self._reader.received_ns(candidate.ts_ns)
        e2e_ms = None if received_ns is None else (time.perf_counter_ns() - received_ns) / 1e6
        reward = float(candidate.exp_reward_bps)
        share = round_trip_cost_bps(candidate, self._gate.fee) / reward if reward > 0 else None
        self.vitals.decided(candidate, decision, e2e_ms, share)
        self._on_decision(candidate, decision, e2e_ms)

    def _on_quiet(self) -> None:
        """All rows so far are in the window."""
        parser = self._reader.parser
        hour = self._reader.last_local_ns // _HOUR_NS
        # Redundant here, but whoever imports a day later need not read the days before it to know its book.
        if (not parser.book_valid or hour > self._hour > 0) and any(self._routes.values()):
            self._snapshots.want(self._reader.last_local_ns)
        self._hour = 0 if self.plan.replay else hour
        now_s = time.monotonic()
        if now_s - self._told_s >= _TOLD_S:
            self._told_s = now_s
            self._tell()
        if now_s - self._saved_s >= self.plan.save_s:
            self._saved_s = now_s
            self._save()

    def _tell(self) -> None:
        parser = self._reader.parser
        if not self._reader.last_local_ns:
            return
        corrected_ns = self._reader.last_local_ns + self._clock.offset_ns
        self.vitals.feed(
            messages=dict(parser.messages),
            last_message_ns=corrected_ns,
            gaps=self._gaps,
            snapshots=parser.depth["snapshots"],
            clock_offset_ns=self._clock.offset_ns if self._clock.settled else None,
        )
        self.vitals.book(parser.book_valid, corrected_ns)

    def _save(self) -> None:
        if self.plan.state is not None:
            self._to_save = pack_state(self._window, self._detector, self._clock, self._reader.parser)

    # --- the other threads ---------------------------------------------------------------------------------------

    def _stamp_ns(self) -> int:
        """Local time of a message that brings none."""
        return self._inbox.last_ns if self.plan.replay else self._wall_ns()

    def _on_route(self, name: str, is_open: bool, why: str) -> None:
        if is_open:
            self._opened += 1
            self._reconnects = max(0, self._opened - len(self.plan.routes))
        self._routes[name] = is_open
        if self.plan.replay and why == ENDED:
            del self._routes[name]
        self.vitals.feed(connected=dict(self._routes), reconnects=self._reconnects)

    def _on_snapshot_failure(self, _: str) -> None:
        self._failures += 1
        self.vitals.feed(snapshot_failures=self._failures)

    def _keep(self) -> None:
        while not self._stop.wait(_HOUSE_S):
            self._house()
        self._house()

    def _house(self) -> None:
        """What touches the disk, off the path of any decision."""
        self._gate.flush()
        self.vitals.logged(self._gate.last_error)
        self.vitals.released(self._gate.manifest.tag, self._gate.release_error)
        state, self._to_save = self._to_save, None
        if state is not None and self.plan.state is not None:
            try:
                save_state(self.plan.state, state)
                self.vitals.saved(self.now_ns())
            except OSError:
                pass  # the one before stays; the recorder tells of a disk that is full
        if self._recorder is not None:
            recorder = self._recorder
            self.vitals.recorder(
                lines=recorder.lines, lost=recorder.lost, now_ns=self.now_ns(), error=recorder.last_error
            )

    def _resume(self) -> tuple[ClockOffset | None, int]:
        """Clock and last stamp of a saved state, which is loaded; (None, 0) for a fresh start."""
        self._place: tuple[Any, ...] | None = None
        path = self.plan.state
        if path is None or not path.exists():
            return None, 0
        now_ns = 0 if self.plan.replay else self._wall_ns()
        try:
            saved = load_state(path, self._window, self._detector, not_before_ns=now_ns - int(_OLDEST_S * SECOND_NS))
        except InputError as e:
            # A process that nobody watches must come up again; what it could not use is kept for a look.
            aside = path.with_name(f"{path.stem}.unused{path.suffix}")
            path.replace(aside)
            self.resumed = f"Started afresh, the saved state is now {aside}: {e.got}."
            return None, 0
        self._place = (saved.venue, saved.symbol, saved.parser)
        self.resumed = f"Went on from the state of {path}."
        return saved.clock, saved.local_ns
