"""A core that is awake when a window closes: it sleeps until shortly before, and spins from there on."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["warm_until"]

WARM_MS = 2.0
"""What a core needs to come back to its clock; its caches stay as cold as they were (`runtime.rehearsal` helps)."""


def warm_until(
    t_ns: int,
    clock_ns: Callable[[], int],
    *,
    spin_ms: float = WARM_MS,
    rehearse: Callable[[], None] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Return as soon as ``clock_ns`` has reached ``t_ns``, with the core awake; at once where it is later already.

    Costs a core ``spin_ms`` of every wait, 2 % of it at one window a 100 ms.

    Parameters
    ----------
    rehearse : called once when the core wakes up, if there is time for it (`runtime.rehearsal`)

    Returns
    -------
    int
        The time at the end, ns.
    """
    left_ns = t_ns - clock_ns() - int(spin_ms * 1e6)
    if left_ns > 0:
        sleep(left_ns / 1e9)
        if rehearse is not None:
            rehearse()
    now_ns = clock_ns()
    while now_ns < t_ns:
        now_ns = clock_ns()
    return now_ns
