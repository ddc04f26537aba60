"""An iterator that works ahead: the next item is made in a thread while the taker uses the one before."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

__all__ = ["ahead"]

T = TypeVar("T")


def ahead(items: Generator[T, None, None]) -> Iterator[T]:
    """The items of a generator, none of them None, one ahead at most.

    An error of the generator is raised where its item would have been. However the taker ends (the last item, an error
    of its own, ``close``, or the last reference gone), the thread has ended and the generator is closed by then.
    """
    # Closed last: a generator cannot be closed while the thread is inside it.
    with closing(items), ThreadPoolExecutor(1, thread_name_prefix="ahead") as pool:
        waiting = pool.submit(next, items, None)
        while (item := waiting.result()) is not None:
            waiting = pool.submit(next, items, None)
            yield item
