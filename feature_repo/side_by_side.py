"""One job for several things at a time, each in a thread: for work that leaves Python, as kernels and Parquet do."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from threading import Event
from typing import TypeVar

from .errors import InputError

__all__ = ["side_by_side"]

Advance = Callable[[float], None]
T = TypeVar("T")
R = TypeVar("R")


class _StoppedError(Exception):
    """The results are no longer wanted."""


def side_by_side(
    job: Callable[[T, Advance], R],
    items: Sequence[T],
    *,
    workers: int | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> list[R | InputError | OSError]:
    """What ``job`` makes of each item, in the order of the items.

    Parameters
    ----------
    job : called with an item and with a callback that takes the fraction done, to be called now and then: a job that
        is no longer wanted ends there
    workers : jobs at a time; None: one for each CPU that this process may use
    progress : called with the number of an item and its fraction, from any thread

    Returns
    -------
    Of each item the result, or the InputError or OSError that ended its job: the others go on.

    Raises
    ------
    Whatever else ends a job, or interrupts the wait; the other jobs then end too.
    """
    unwanted = Event()

    def run(number: int) -> R | InputError | OSError:
        def advance(fraction: float) -> None:
            if unwanted.is_set():
                raise _StoppedError
            if progress is not None:
                progress(number, fraction)

        try:
            return job(items[number], advance)
        except (InputError, OSError) as error:
            return error

    with ThreadPoolExecutor(workers or len(os.sched_getaffinity(0)), thread_name_prefix="side by side") as pool:
        jobs = [pool.submit(run, number) for number in range(len(items))]
        try:
            for done in as_completed(jobs):
                done.result()
        finally:
            unwanted.set()
            pool.shutdown(wait=False, cancel_futures=True)
    return [done.result() for done in jobs]
