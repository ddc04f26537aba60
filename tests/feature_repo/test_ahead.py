"""An iterator one ahead of its taker: order, errors, and no thread left behind however the taker ends."""

from __future__ import annotations

import signal
import threading
import time
from threading import Event

import pytest

from feature_repo.market.ahead import ahead


class Made:
    """A generator of numbers that keeps account of itself."""

    def __init__(self, count: int, *, error: Exception | None = None, pause_s: float = 0.0) -> None:
        self.begun, self.closed, self.error = [Event() for _ in range(count + 1)], Event(), error
        self.pause_s = pause_s

    def __iter__(self):
        self.source = self._numbers()  # held, or it would close when nobody has it any more
        return ahead(self.source)

    def _numbers(self):
        try:
            for number, begun in enumerate(self.begun[:-1]):
                begun.set()
                time.sleep(self.pause_s)
                yield number
            if self.error is not None:
                raise self.error
        finally:
            self.closed.set()


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("ahead")]


@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_every_item_comes_once_and_in_order(count):
    made = Made(count)
    assert list(made) == list(range(count))
    assert made.closed.is_set()
    assert threads() == []


def test_exactly_one_item_is_made_ahead():
    made = Made(5)
    for number in made:
        if number < 4:
            assert made.begun[number + 1].wait(10.0)
        time.sleep(0.01)
        assert not any(begun.is_set() for begun in made.begun[number + 2 :])


def test_an_error_comes_behind_the_items_before_it():
    error = OSError("gone")
    numbers = iter(Made(3, error=error))
    assert [next(numbers) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="gone") as raised:
        next(numbers)
    assert raised.value is error
    assert threads() == []


def leave_by_close(numbers):
    next(numbers)
    numbers.close()


def leave_by_break(numbers):
    for _ in numbers:
        break


def leave_by_error(numbers):
    with pytest.raises(ZeroDivisionError):
        list(map((1).__truediv__, numbers))


def leave_by_interrupt(numbers):
    """Ctrl-C while the taker waits."""

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        with pytest.raises(KeyboardInterrupt):
            list(numbers)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("leave", [leave_by_close, leave_by_break, leave_by_error, leave_by_interrupt])
def test_a_taker_that_leaves_early_leaves_no_thread_and_a_closed_source(leave):
    made = Made(1_000, pause_s=0.001)
    numbers = iter(made)
    leave(numbers)
    del numbers
    assert made.closed.wait(10.0)
    assert threads() == []
    assert not made.begun[500].is_set()


def test_one_that_was_never_asked_starts_no_thread():
    numbers = iter(Made(3))
    assert threads() == []
    del numbers
