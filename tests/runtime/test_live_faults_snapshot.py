"""A snapshot that cannot be had, or not be used: it is asked for again, and nothing is allowed meanwhile."""

from __future__ import annotations

import time
from functools import partial

import numpy as np
import pytest

from runtime.live import service
from runtime.live.replay_faults import Hang, Hangup, RestFault

from .live_faults import FAULT_S, LEAST_S, During, assert_blind_once, play
from .live_run import assert_safe

pytest_plugins = ("tests.runtime.live_recordings", "tests.runtime.live_market_time")
pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.usefixtures("as_often_in_market_time")]


class NoSnapshot(During):
    """The connection drops, and some requests for a snapshot fail from then on."""

    def __init__(self, part, fault, times):
        super().__init__(part, FAULT_S, FAULT_S + 1, self.drop)
        self.fault, self.times, self.left, self.asked = fault, times, 0, []

    def drop(self, n, frame):
        if n != self.first:
            return [frame]
        self.left = self.times
        return [Hangup(), frame]

    def on_request(self, k):
        if not self.left and not self.asked:
            return None
        self.asked.append(time.monotonic())
        self.left -= self.left > 0
        return self.fault if len(self.asked) <= self.times else None


@pytest.mark.parametrize(
    ("fault", "times", "failures"),
    [
        pytest.param(RestFault(500, b'{"code":-1000,"msg":"An unknown error occurred."}'), 3, 3, id="status 500"),
        pytest.param(RestFault(418, b"{}", {"Retry-After": "1"}), 1, 1, id="banned for a second"),
        pytest.param(RestFault(200, b'{"lastUpdateId":49840283867'), 2, 2, id="broken JSON"),
        pytest.param(RestFault(200, b'{"code":-1121,"msg":"Invalid symbol."}'), 2, 2, id="no snapshot"),
        pytest.param(RestFault(200, b'{"lastUpdateId":"x","bids":[],"asks":[]}'), 2, 0, id="a damaged snapshot"),
        pytest.param(Hang(9.0), 2, 2, id="no answer"),
    ],
)
def test_a_snapshot_that_fails_is_asked_for_again(part, bundle, tmp_path, monkeypatch, fault, times, failures):
    if isinstance(fault, Hang):
        monkeypatch.setattr(service, "Snapshots", partial(service.Snapshots, timeout_s=0.5))
    faults = NoSnapshot(part, fault, times)
    run = play(part, bundle, tmp_path, faults)
    assert_blind_once(run, part, assert_safe(run, part, tmp_path / "raw", bundle))
    print(run.reasons, np.diff(faults.asked))
    assert run.view.snapshot_failures >= failures
    assert len(faults.asked) > times
    # Each wait is twice the one before; a ban is kept to.
    least = [1.0] if "Retry-After" in getattr(fault, "headers", ()) else [LEAST_S * 2**k for k in range(times)]
    if failures:
        assert (np.diff(faults.asked)[:times] >= least).all()
