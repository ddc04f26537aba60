"""The wait for a window's end: mostly asleep, awake at the end."""

from __future__ import annotations

import time

import pytest

from runtime.warm import warm_until


class Clock:
    """Each look at it takes a microsecond."""

    def __init__(self):
        self.now_ns, self.slept = 0, []

    def __call__(self):
        self.now_ns += 1_000
        return self.now_ns

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now_ns += int(seconds * 1e9)


def test_it_sleeps_until_shortly_before_and_spins_from_there():
    clock = Clock()
    end = warm_until(100_000_000, clock, spin_ms=2.0, sleep=clock.sleep)
    assert clock.slept == [pytest.approx(0.098, abs=1e-5)]
    assert 100_000_000 <= end <= 100_001_000


@pytest.mark.parametrize("t_ns", [0, -5, 500_000])
def test_too_late_or_too_near_to_sleep(t_ns):
    clock = Clock()
    assert warm_until(t_ns, clock, sleep=clock.sleep) >= t_ns
    assert clock.slept == []


def test_it_never_returns_early():
    at = time.monotonic_ns() + 5_000_000
    assert warm_until(at, time.monotonic_ns) >= at


def test_it_rehearses_once_between_sleep_and_spin_and_never_when_late():
    clock, rehearsed = Clock(), []
    warm_until(100_000_000, clock, rehearse=lambda: rehearsed.append(clock.now_ns), sleep=clock.sleep)
    assert rehearsed == [pytest.approx(98_000_000, abs=10_000)]
    warm_until(0, clock, rehearse=lambda: rehearsed.append(0), sleep=clock.sleep)
    assert len(rehearsed) == 1
