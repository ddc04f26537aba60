"""A loss that takes a release back, and what a gate says before and after it."""

from __future__ import annotations

import time

from runtime import Reason
from runtime.account_watch import DAY_NS, Trade

from .gate_builders import TS, buckets_csv, candidate, market_row, window

__all__ = ["BUCKETS", "DAY", "LOSS", "PATIENCE_S", "P", "ask", "settled", "stopped", "wait_for"]

BUCKETS = buckets_csv({"B/momentum/all/all/all/other": 1.0})
LOSS = Trade(TS, -6_500.0, 10_000.0)
P = {"one": 0.881, "two": 0.953}
DAY = TS // DAY_NS
PATIENCE_S = 60.0  # for what must happen, on a machine that is busy with other things


def ask(gate, now_ns=TS, **of):
    return gate.decide(candidate(**of), now_ns, window(), market_row())


def wait_for(done):
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def settled(gate):
    gate._moving.join(PATIENCE_S)
    assert not gate._moving.is_alive()


def stopped(gate):
    d = ask(gate)
    return (d.allow, d.reason, d.size) == (False, Reason.KILL_SWITCH, 0.0)
