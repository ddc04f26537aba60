"""A clock that no one can set: the wall's time at the start, and from there on the time that really passed."""

from __future__ import annotations

import time

__all__ = ["SteadyClock"]

# Slewed by the time service, so that its rate is right, and never stepped. Where there is a choice, one that goes on
# while the machine sleeps.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SteadyClock:
    """ns UTC. A step of the wall clock does not touch it: steps would make windows of data that never were."""

    def __init__(self) -> None:
        self._base_ns = time.time_ns() - time.clock_gettime_ns(_CLOCK)

    def __call__(self) -> int:
        """Now."""
        return self._base_ns + time.clock_gettime_ns(_CLOCK)
