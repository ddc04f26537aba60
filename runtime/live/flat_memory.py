"""For a process that runs for weeks: what it frees goes back, and is not kept in a place of each thread's own."""

from __future__ import annotations

import os
import sys

__all__ = ["FLAT_MEMORY", "begin_again_with_flat_memory"]

_KEPT_BYTES = str(256 * 1024)

FLAT_MEMORY = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": _KEPT_BYTES,
    "MALLOC_TRIM_THRESHOLD_": _KEPT_BYTES,
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}
"""glibc gives each new thread an arena, and pyarrow has an allocator of its own. And glibc learns: once a large block
was freed, blocks as large come from the heap, where one small neighbour that lives on keeps them (the state that is
saved every ten seconds is megabytes). Together they grow by some percent in a day without a leak anywhere; a threshold
that is set is not learned. All are read once, when a process begins."""


def begin_again_with_flat_memory() -> None:
    """Start this very command once more, as the same process, unless a person or an earlier call has set them all."""
    environment = {**FLAT_MEMORY, **os.environ}
    if environment.keys() != os.environ.keys():
        sys.stdout.flush()
        sys.stderr.flush()
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)
