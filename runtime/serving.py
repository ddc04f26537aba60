"""The gate on releases/current: a new release is taken up without a restart, a bad one leaves the old one serving.

With an account watch it also goes back by itself: see :meth:`ServedFilter.record`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import numpy as np

from feature_repo.errors import InputError

from .account_watch import DAY_NS, AccountWatch, Trade
from .alerts import send_alert
from .candidate import Candidate, is_sound
from .decision import Decision
from .gate import MetaFilter
from .kill_switch import throw
from .manifest import MANIFEST_NAME, Manifest
from .rollback import fits, ready_previous, take_back, trades

__all__ = ["ServedFilter"]

_Key = tuple[str, int, int, int]
_NEVER_NS = 2**63
_CLOSE_S = 10.0


class ServedFilter:
    """Answers as the :class:`MetaFilter` of the release that ``path`` leads to now.

    ::

        with ServedFilter("releases/current", source=feature_window, watch_s=1.0, watch=AccountWatch()) as gate:
            allow, p, size = gate.allow(candidate, now_ns)
            gate.record(Trade(t_ns, net_usd, notional_usd))  # of each trade that is closed

    A release is loaded beside the one that serves, checked, asked once, and put in its place by one assignment: a
    decision is made by one release from its first check to its last. No decision waits for that.

    Parameters
    ----------
    path : a link such as releases/current, or a release's folder
    watch_s : look for a new release this often, in a thread of its own; None: only when ``refresh`` is called
    watch : of the account: when it trips, the release is taken back. None: nobody watches
    alert : called with what happened when it was, in a thread of its own
    options : as for ``MetaFilter.load``

    Raises
    ------
    InputError
        When there is no usable release to begin with, or there is a watch and ``path`` is no link that could be moved.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        watch_s: float | None = None,
        watch: AccountWatch | None = None,
        alert: Callable[[Mapping[str, Any]], object] = send_alert,
        **options: Any,
    ) -> None:
        if watch_s is not None and not 0 < watch_s < float("inf"):
            raise InputError(f"watch_s = {watch_s}", "a positive number of seconds, or None", "Correct watch_s")
        self.path, self._options = Path(path), options
        if watch is not None and not self.path.is_symlink():
            raise InputError(f"{path} with an account watch", "the link releases/current", "Give the link")
        self.last_error: str | None = None
        """Why the newest release is not the one that serves; None when it is."""
        self.rollback_error: str | None = None
        """Why a rollback would stop everything, or why the link is not where the process is; None when all is well."""
        self._seen = _key(self.path)  # before it is read: a link that moves meanwhile is looked at again
        self._gate = MetaFilter.load(self.path, **options)
        self._busy, self._swap, self._stop = threading.Lock(), threading.Lock(), threading.Event()
        self._watch, self._alert, self._account = watch, alert, threading.Lock()
        self._asked: tuple[Any, Any] = None, None  # the latest question, whatever it was
        self._day_ends_ns = _NEVER_NS
        self._tripped_day: int | None = None
        self._pending = self._stopped = False  # the link has to be moved; nothing is allowed any more
        self._trips = 0  # of the watch that took a release back or stopped everything
        self._before = None if watch is None else self._ready(self._gate)
        self._moving: threading.Thread | None = None
        self._thread: threading.Thread | None = None
        if watch_s is not None:
            self._thread = threading.Thread(target=self._look, args=(watch_s,), name="release watch", daemon=True)
            self._thread.start()

    @property
    def gate(self) -> MetaFilter:
        """The one that serves now."""
        return self._gate

    @property
    def manifest(self) -> Manifest:
        """Of the release that serves now."""
        return self._gate.manifest

    @property
    def goes_back_to(self) -> str | None:
        """Tag that a trip of the watch would put in its place at once; None: it would stop everything."""
        return None if self._before is None else self._before.manifest.tag

    @property
    def stopped(self) -> bool:
        """Whether the watch has stopped everything; only a new process goes on from there."""
        return self._stopped

    def allow(self, candidate: Candidate, now_ns: int) -> Decision:
        """As ``MetaFilter.allow``."""
        return self.gate_for(candidate, now_ns).allow(candidate, now_ns)

    def decide(self, candidate: Candidate, now_ns: int, x: np.ndarray, market_row: np.void) -> Decision:
        """As ``MetaFilter.decide``."""
        return self.gate_for(candidate, now_ns).decide(candidate, now_ns, x, market_row)

    def gate_for(self, candidate: Candidate, now_ns: int) -> MetaFilter:
        """The one that has to answer at this time: with its first question a new day judges the one before. Never
        raises."""
        if self._watch is not None:
            self._asked = candidate, now_ns
            with suppress(Exception):  # whatever was asked: the gate has an answer to it
                if now_ns >= self._day_ends_ns and (at_ns := _time_of(candidate, now_ns)) is not None:
                    self._end_day(at_ns)
        return self._gate

    def record(self, trade: Trade) -> str | None:
        """Tell the watch of a closed trade. When it trips, the very next decision is made by the release before.

        That one was loaded beforehand. Without one, and at the second trip of a UTC day, everything is denied: by a
        flag in this process at once, and by the file KILL. Link and history are changed right after, in a thread of
        their own that tries until it succeeds; until then ``refresh`` takes nothing up. A release that may not trade
        is not taken back.

        Parameters
        ----------
        trade : t_ns, net_usd, notional_usd; anything else counts as "bad_record"

        Returns
        -------
        str or None
            What the watch says of it (`AccountWatch.update`).

        Raises
        ------
        InputError
            When nobody watches.
        """
        if self._watch is None:
            raise InputError("a trade for a gate without a watch", "ServedFilter(..., watch=AccountWatch())", "Add it")
        with self._account:
            asked_ns = _time_of(*self._asked)
            at_ns = asked_ns or 0
            try:
                t_ns, net_usd, notional_usd = trade
                reason = self._watch.update(t_ns, net_usd, notional_usd, asked_ns=asked_ns)
                at_ns = int(t_ns) if reason != "bad_record" else at_ns
            except Exception:  # no trade at all
                reason = "bad_record"
            self._judged(reason, at_ns)
        return reason

    def refresh(self) -> bool:
        """Take up what ``path`` leads to, if it is another release than before. Never raises.

        Returns
        -------
        bool
            Whether another release serves now. One that cannot be used is tried once; ``last_error`` says why not.
        """
        with self._busy:
            trips = self._trips
            if self._pending or self._stopped:
                return False
            try:
                key = _key(self.path)
                if key == self._seen:
                    return False
                self._seen = key
                gate = MetaFilter.load(self.path, **self._options)
                fits(gate.manifest, self._gate.manifest)
            except Exception as e:  # whatever is wrong with the new one, the old one serves
                self.last_error = str(e)
                return False
            before = None if self._watch is None else self._ready(gate)
            with self._swap:
                if self._trips != trips:  # tripped meanwhile: look again, also where the link has been moved by now
                    self._seen = None
                    return False
                self.last_error = None
                if gate.manifest == self._gate.manifest:  # a rollback of this process, which came back over the link
                    return False
                self._before, self._gate = before, gate
            return True

    def close(self) -> None:
        """End the threads; the gate goes on answering. A link that has to be moved is waited for, but not for long."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self._moving is not None:
            self._moving.join(_CLOSE_S)

    def _look(self, every_s: float) -> None:
        while not self._stop.wait(every_s):
            self.refresh()

    def _ready(self, gate: MetaFilter) -> MetaFilter | None:
        """What a rollback of this gate goes to; None where that is nothing."""
        at_hand = (self._gate, getattr(self, "_before", None))
        try:
            found = ready_previous(self.path.absolute().parent, gate.manifest, self._options, at_hand)
        except Exception as e:  # it is needed in the worst hour only; until then it is told
            self.rollback_error = f"a rollback stops everything: {e}"
            return None
        self.rollback_error = None
        return found

    def _end_day(self, now_ns: int) -> None:
        with self._account:
            self._judged(self._watch.at(now_ns), now_ns)

    def _judged(self, reason: str | None, at_ns: int) -> None:
        if self._watch.day is not None:
            self._day_ends_ns = (self._watch.day + 1) * DAY_NS
        if reason is not None:
            self._trip(reason, at_ns)

    def _trip(self, reason: str, at_ns: int) -> None:
        """Another gate, or none, from here on; then everything that takes time."""
        with self._swap:
            gone = self._gate
            manifest = gone.manifest
            if self._stopped or not trades(manifest):
                return
            at_ns = at_ns or manifest.rollout.since_ns  # a record that is none, before the first question
            self._trips += 1
            again, self._tripped_day = self._tripped_day == at_ns // DAY_NS, at_ns // DAY_NS
            to, self._before = self._before, None
            self._pending = True
            if to is None or again:
                gone.stopped = self._stopped = True
                to = None
            else:
                self._gate = to
        w = self._watch
        why = f"{w.trades} trades, {w.net_usd:+,.2f} USD, drawdown {w.drawdown_pct:.2f} % of the equity, IR {w.ir:.3f}"
        w.restart()
        told = {
            "event": "rollback" if to is not None else "stopped",
            "reason": reason,
            "at_ns": at_ns,
            "release": manifest.tag,
            "serves": None if to is None else to.manifest.tag,
            "symbol": manifest.symbol,
            "venue": manifest.venue,
            "simulated": manifest.simulated,
            "why": why,
        }
        threading.Thread(target=self._tell, args=(told,), name="alert", daemon=True).start()
        kill = gone.kill_switch.path if to is None and gone.kill_switch is not None else None
        self._moving = threading.Thread(
            target=self._move, args=(reason, manifest, at_ns, why, kill, self._moving), name="rollback", daemon=True
        )
        self._moving.start()

    def _tell(self, event: Mapping[str, Any]) -> None:
        with suppress(Exception):  # an alert is never worth an exception
            self._alert(event)

    def _move(
        self, reason: str, manifest: Manifest, at_ns: int, why: str, kill: Path | None, earlier: threading.Thread | None
    ) -> None:
        def note(error: str | None) -> None:
            self.rollback_error = error

        if kill is not None:
            throw(kill, {"at_ns": at_ns, "event": reason, "why": why})
        if earlier is not None:  # the link has to go there first before it can go back from there
            earlier.join()
        take_back(
            self.path.absolute().parent,
            event=reason,
            base=manifest.rollout.base,
            at_ns=at_ns,
            why=why,
            kill=kill,
            give_up=self._stop,
            on_error=note,
        )
        if self.rollback_error is not None:  # given up, as the process ends
            return
        before = None if self._stopped else self._ready(self._gate)
        with self._swap:  # together: a trip that finds another release to go back to is one that is pending
            self._before, self._pending = before, False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _time_of(candidate: Any, now_ns: Any) -> int | None:
    """When a question was asked; None where it was asked of nothing, or at no time that its candidate knows of."""
    if not is_sound(candidate) or not isinstance(now_ns, int | np.integer):
        return None
    return int(now_ns) if abs(int(now_ns) - int(candidate.ts_ns)) <= DAY_NS else None


def _key(path: Path) -> _Key | None:
    """Another one for another release, also where a release was written again under its own name; None without one."""
    folder = path.resolve()
    try:
        there = os.stat(folder / MANIFEST_NAME)
    except OSError:
        return None  # loading says what is wrong
    return os.fspath(folder), there.st_ino, there.st_size, there.st_mtime_ns
