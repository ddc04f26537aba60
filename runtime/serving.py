"""The gate on releases/current: a new release is taken up without a restart, a bad one leaves the old one serving."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any, Self

import numpy as np

from feature_repo.errors import InputError

from .candidate import Candidate
from .decision import Decision
from .gate import MetaFilter
from .manifest import MANIFEST_NAME, Manifest

__all__ = ["ServedFilter"]

_Key = tuple[str, int, int, int]


class ServedFilter:
    """Answers as the :class:`MetaFilter` of the release that ``path`` leads to now.

    ::

        with ServedFilter("releases/current", source=feature_window, watch_s=1.0) as gate:
            allow, p, size = gate.allow(candidate, now_ns)

    A release is loaded beside the one that serves, checked, asked once, and put in its place by one assignment: a
    decision is made by one release from its first check to its last. No decision waits for that.

    Parameters
    ----------
    path : a link such as releases/current, or a release's folder
    watch_s : look for a new release this often, in a thread of its own; None: only when ``refresh`` is called
    options : as for ``MetaFilter.load``

    Raises
    ------
    InputError
        When there is no usable release to begin with.
    """

    def __init__(self, path: Path | str, *, watch_s: float | None = None, **options: Any) -> None:
        if watch_s is not None and not 0 < watch_s < float("inf"):
            raise InputError(f"watch_s = {watch_s}", "a positive number of seconds, or None", "Correct watch_s")
        self.path, self._options = Path(path), options
        self.last_error: str | None = None
        """Why the newest release is not the one that serves; None when it is."""
        self._seen = _key(self.path)  # before it is read: a link that moves meanwhile is looked at again
        self._gate = MetaFilter.load(self.path, **options)
        self._busy, self._stop = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None
        if watch_s is not None:
            self._thread = threading.Thread(target=self._watch, args=(watch_s,), name="release watch", daemon=True)
            self._thread.start()

    @property
    def gate(self) -> MetaFilter:
        """The one that serves now."""
        return self._gate

    @property
    def manifest(self) -> Manifest:
        """Of the release that serves now."""
        return self._gate.manifest

    def allow(self, candidate: Candidate, now_ns: int) -> Decision:
        """As ``MetaFilter.allow``."""
        return self._gate.allow(candidate, now_ns)

    def decide(self, candidate: Candidate, now_ns: int, x: np.ndarray, market_row: np.void) -> Decision:
        """As ``MetaFilter.decide``."""
        return self._gate.decide(candidate, now_ns, x, market_row)

    def refresh(self) -> bool:
        """Take up what ``path`` leads to, if it is another release than before. Never raises.

        Returns
        -------
        bool
            Whether another release serves now. One that cannot be used is tried once; ``last_error`` says why not.
        """
        with self._busy:
            try:
                key = _key(self.path)
                if key == self._seen:
                    return False
                self._seen = key
                gate = MetaFilter.load(self.path, **self._options)
                _fits(gate.manifest, self._gate.manifest)
            except Exception as e:  # whatever is wrong with the new one, the old one serves
                self.last_error = str(e)
                return False
            self._gate, self.last_error = gate, None
            return True

    def close(self) -> None:
        """End the thread; the gate goes on answering."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self, every_s: float) -> None:
        while not self._stop.wait(every_s):
            self.refresh()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _key(path: Path) -> _Key | None:
    """Another one for another release, also where a release was written again under its own name; None without one."""
    folder = path.resolve()
    try:
        there = os.stat(folder / MANIFEST_NAME)
    except OSError:
        return None  # loading says what is wrong
    return os.fspath(folder), there.st_ino, there.st_size, there.st_mtime_ns


def _fits(new: Manifest, old: Manifest) -> None:
    """The process that asks has windows of one length of one symbol."""
    facts = [(m.venue, m.symbol, m.T, m.C) for m in (new, old)]
    if facts[0] != facts[1]:
        told = [f"{symbol} on {venue}, windows [{T}, {C}]" for venue, symbol, T, C in facts]
        raise InputError(
            f"the release {new.tag!r} for {told[0]}", f"one for {told[1]}", "Restart the process to serve another"
        )
