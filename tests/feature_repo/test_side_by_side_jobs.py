"""Jobs side by side: at the same time, in order, each failure in its own place."""

from __future__ import annotations

import threading
import time
from threading import Barrier, Event

import pytest

from feature_repo.errors import InputError
from feature_repo.side_by_side import side_by_side


def test_two_jobs_run_at_the_same_time_and_results_come_in_order():
    barrier = Barrier(2, timeout=10.0)

    def job(item, advance):
        barrier.wait()
        advance(1.0)
        return item * 2

    seen = []
    assert side_by_side(job, [3, 1], workers=2, progress=lambda *at: seen.append(at)) == [6, 2]
    assert sorted(seen) == [(0, 1.0), (1, 1.0)]


def test_one_worker_takes_one_job_after_the_other():
    inside = []

    def job(item, advance):
        inside.append(threading.get_ident())
        assert len(set(inside)) == 1
        return item

    assert side_by_side(job, range(5), workers=1) == [0, 1, 2, 3, 4]
    assert side_by_side(job, []) == []


def test_a_refused_item_does_not_stop_the_others():
    def job(item, advance):
        if item == 1:
            raise InputError("one", "two", "Count")
        if item == 2:
            raise PermissionError(13, "no", "there")
        return item

    made = side_by_side(job, [0, 1, 2, 3], workers=2)
    assert made[::3] == [0, 3]
    assert (type(made[1]), type(made[2])) == (InputError, PermissionError)


@pytest.mark.parametrize("error", [ValueError("a fault"), KeyboardInterrupt()])
def test_a_fault_ends_the_others_at_their_next_report(error):
    running, begun, to_the_end = Event(), [], []
    deadline = time.monotonic() + 10.0

    def job(item, advance):
        begun.append(item)
        if item == 1:
            assert running.wait(10.0)
            raise error
        while time.monotonic() < deadline:
            advance(0.5)
            running.set()
        to_the_end.append(item)

    with pytest.raises(type(error)):
        side_by_side(job, [0, 1, 2, 3, 4, 5], workers=2)
    assert to_the_end == []
    assert len(begun) <= 3
