"""Messages that come late, all at once: what is made of them is too old to act on."""

from __future__ import annotations

import time

import pytest

from feature_repo.constants import ENGINE, SECOND_NS
from runtime.live.replay_faults import Pause
from runtime.live.replay_server import serving

from .live_faults import AGE_S, FAULT_S, During, assert_allowed_but, blind, play, stamped
from .live_run import assert_safe, following

pytest_plugins = ("tests.runtime.live_recordings", "tests.runtime.live_market_time")
pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.usefixtures("as_often_in_market_time")]


@pytest.mark.parametrize(("begin_s", "stall_s"), [(FAULT_S, 30.0), (100.0, 65.0)])
def test_messages_that_come_late_in_a_burst_are_too_old_to_act_on(part, bundle, tmp_path, begin_s, stall_s):
    end = part.line(begin_s + stall_s)
    late = During(part, begin_s, begin_s + stall_s, lambda n, frame: [stamped(frame, part.times[end - 1])])
    run = play(part, bundle, tmp_path, late, speed=0)
    at = assert_safe(run, part, tmp_path / "raw", bundle, by_local_time=False)
    # After a minute without a message the book is not trusted, and is new with the next one.
    silent = stall_s >= ENGINE.silence_s
    spans = blind(run, part)
    print(spans)
    assert len(spans) == silent
    until = spans[0][1] if silent else begin_s + stall_s
    assert_allowed_but(at, begin_s + AGE_S, until)
    assert until - begin_s >= stall_s + silent * ENGINE.warm_up_s


class Stall(During):
    """The clock is the time of the line being played, and goes on for 30 s without one."""

    most = 5

    def __init__(self, part):
        super().__init__(part, FAULT_S, FAULT_S + 30, None)
        self.times, self.now_ns = part.times, int(part.times[0])

    def actions(self, n, frame):
        if n == self.first:
            for _ in range(60):
                self.now_ns += SECOND_NS // 2
                yield Pause(0.02)
            yield from self.until(lambda run: "No message for N s." in run.reasons)
        self.now_ns = max(self.now_ns, int(self.times[n - 1]))
        yield frame


def test_nothing_for_30_s_and_then_all_of_it(part, bundle, tmp_path):
    """By the clock of the process, which goes on meanwhile; the times are those at which messages came."""
    faults, raw = Stall(part), tmp_path / "raw"
    with (
        serving(part.path, speed=0, stamps=False, faults=faults) as server,
        following(
            server,
            bundle,
            tmp_path,
            replay=False,
            every=True,
            watched=True,
            recordings=raw,
            clock_ns=lambda: faults.now_ns,
        ) as run,
    ):
        faults.progress, faults.run = run.progress, run
        assert server.wait_done(500)
        while run.progress()[0] < server.sent or run.progress()[1]:
            time.sleep(0.01)
    at = assert_safe(run, part, raw, bundle, by_local_time=False)
    assert blind(run, part) == []
    assert_allowed_but(at, FAULT_S + 0.1, FAULT_S + 30)
    assert "No message for N s." in run.reasons
