"""A clock that no one can set: the wall's time at the start, and from there on the time that really passed."""

from __future__ import annotations

import time

__all__ = ["SteadyClock"]


class SteadyClock:
    """ns UTC. A step of the wall clock does not touch it: steps would make windows of data that never were.

    The rate is the system's disciplined one (CLOCK_MONOTONIC is slewed, never stepped), so that a day's drift stays
    that of the time service.
    """

    def __init__(self) -> None:
        self._base_ns = time.time_ns() - time.monotonic_ns()

    def __call__(self) -> int:
        """Now."""
        return self._base_ns + time.monotonic_ns()

    @property
    def wall_ahead_ns(self) -> int:
        """How far the wall clock has been moved ahead of this one since."""
        return time.time_ns() - self()
