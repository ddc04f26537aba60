"""A fault 130 s into a real recording, a live process that meets it, and what must hold then."""

from __future__ import annotations

import time

import numpy as np

from feature_repo.constants import ENGINE
from runtime.live.replay_faults import Pause
from runtime.live.replay_server import serving

from .live_run import InStep, following

__all__ = [
    "AGE_S",
    "DIGITS",
    "FAULT_S",
    "JUMP_S",
    "LEAST_S",
    "PATIENCE_S",
    "SOON_S",
    "SPEED",
    "During",
    "assert_allowed_but",
    "assert_blind_once",
    "blind",
    "once",
    "play",
    "stamped",
]

FAULT_S = 130.0
SOON_S = 80.0
"""In the two minutes."""
SPEED = 40
"""Of a replay in which connections and snapshots take real time: at most so much of the market's passes meanwhile."""
LEAST_S = 0.1
"""Between two requests for a snapshot."""
AGE_S = 1.2
"""The guard lets data of the last second pass; up to two windows of 0.1 s less or more."""
JUMP_S = 5.0
DIGITS = 19
PATIENCE_S = 60.0
"""For what must happen, on a machine that is busy with other things."""


class During(InStep):
    """Frames of a span of the recording are what ``do(n, frame)`` makes of them; ``run`` is who gets them."""

    run = None

    def __init__(self, part, begin_s, end_s, do):
        self.first, self.end, self.do = part.line(begin_s), part.line(end_s), do

    def actions(self, n, frame):
        return self.do(n, frame) if self.first <= n < self.end else (frame,)

    def until(self, condition):
        """Stand still until then, for a minute at most; what was waited for is for the test to check."""
        end = time.monotonic() + PATIENCE_S
        while not condition(self.run) and time.monotonic() < end:
            yield Pause(0.02)


def once(part, *actions):
    """Some actions before the first frame of the fault."""
    return During(
        part, FAULT_S, FAULT_S + 1, lambda n, frame: [*actions, frame] if n == part.line(FAULT_S) else [frame]
    )


def play(part, bundle, folder, faults, *, speed=SPEED, **options):
    with (
        serving(part.path, speed=speed, faults=faults) as server,
        following(server, bundle, folder, every=True, watched=True, recordings=folder / "raw", **options) as run,
    ):
        faults.progress, faults.run = run.progress, run
        run.shadow.join(500)
    return run


def blind(run, part):
    """(begin, end) in seconds of the spans without a valid row, after the first valid one."""
    t, valid = part.seconds(np.array([row["t_ns"] for row in run.market])), np.array([r["valid"] for r in run.market])
    edges = np.flatnonzero(np.diff(valid.astype(int)))[1:] + 1
    return [(t[a], t[b]) for a, b in zip(edges[::2], [*edges[1::2], len(t) - 1], strict=False)]


def assert_blind_once(run, part, at, *, at_least_s=ENGINE.warm_up_s):
    """Valid, then not, then valid again: allowed before and after it, and not meanwhile."""
    ((begin, end),) = blind(run, part)
    print(f"blind from {begin:.1f} to {end:.1f}: {end - begin:.1f} s")
    assert FAULT_S <= begin < FAULT_S + 1
    assert end - begin >= at_least_s
    assert_allowed_but(at, begin, end)


def assert_allowed_but(at, begin, end):
    """More than a hundred times before and after a span, and never in it."""
    assert (at < begin).sum() > 100
    assert (at > end).sum() > 100
    assert ((at >= begin) & (at <= end)).sum() == 0


def stamped(frame, ns):
    return b"%d%b" % (ns, frame[DIGITS:])
