"""The online store goes away while a live process follows a feed: denied meanwhile, in time; then as before."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack

import numpy as np
import pytest

from feature_repo.offline import apply_definitions
from feature_repo.store import REPO_DIR
from runtime.budget import E2E_BUDGET_MS, WaitingSource
from runtime.candidate import SigType
from runtime.decision import Reason
from runtime.live.online import OnlineWindow
from runtime.live.pushing import PushedWindow, Pusher
from runtime.live.replay_faults import Pause
from runtime.live.replay_server import serving
from tests.redis_server import NO_SERVER, free_port, has_redis, redis_server

from .live_run import InStep, assert_rows, assert_true_to, batch, following, said

pytest_plugins = ("tests.runtime.live_recordings",)
pytestmark = [pytest.mark.slow, pytest.mark.long]

GONE_S, BACK_S = 110.0, 130.0
SPEED = 20
EVERY = 5
"""Of so many windows one is asked about."""
BUDGET_MS = 100.0
"""Instead of 15 ms: on a machine with other work a push and a read may take longer."""
MARGIN_MS = 1_000.0
PUSH_S = 3.0
"""Longer than a push is waited for."""
OF_THE_STORE = {Reason.STORE_ERROR, Reason.NO_WINDOW, Reason.STALE}


class Outage(InStep):
    """A server that is killed, and another one at its address later; or one that stops, and goes on."""

    def __init__(self, part, killed, port):
        self.gone, self.back, self.killed, self.port = part.line(GONE_S), part.line(BACK_S), killed, port
        self.servers = ExitStack()
        self.start()

    def start(self):
        self.process = self.servers.enter_context(redis_server(self.port)).process

    def actions(self, n, frame):
        if n == self.gone:
            self.process.send_signal(signal.SIGKILL if self.killed else signal.SIGSTOP)
            self.since = time.monotonic()
        if n == self.back and self.killed:
            self.start()
        elif n == self.back:
            yield Pause(max(0.0, self.since + PUSH_S - time.monotonic()))
            self.process.send_signal(signal.SIGCONT)
        yield frame


@pytest.mark.parametrize("killed", [True, False], ids=["killed and started again, empty", "stopped and continued"])
def test_a_redis_that_goes_away_denies_and_comes_back(part, bundle, tmp_path, monkeypatch, killed):
    if not has_redis():
        pytest.skip(NO_SERVER)
    monkeypatch.setitem(E2E_BUDGET_MS, SigType.MOMENTUM, BUDGET_MS)
    monkeypatch.setenv("OFI_META_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("FEAST_FS_YAML_FILE_PATH", str(REPO_DIR / "feature_store.redis.yaml"))
    port, raw, waiting = free_port(), tmp_path / "raw", []
    monkeypatch.setenv("OFI_META_REDIS", f"127.0.0.1:{port},socket_timeout=5")
    faults = Outage(part, killed, port)

    def store(window):
        online = OnlineWindow("ETHUSDT", T=window.T, restart=True)
        pusher = Pusher(
            online,
            on_push=lambda ms: run.shadow.vitals.pushed(ms),
            on_failure=lambda why: run.shadow.vitals.push_failed(why),
        )
        waiting.append(WaitingSource(PushedWindow(pusher, online)))
        return waiting[0], pusher

    with faults.servers:
        apply_definitions()
        with (
            serving(part.path, speed=SPEED, faults=faults) as server,
            following(server, bundle, tmp_path, every=EVERY, watched=True, recordings=raw, source=store) as run,
        ):
            faults.progress = run.progress
            run.shadow.join(500)
        waiting[0].close()

    table, answers = batch(raw, bundle, every=EVERY)
    assert_rows(run, table)
    assert_true_to(part.table, run.allowed(), by_local_time=True)
    at = part.seconds(np.array([c.ts_ns for c, _, _ in run.decisions]))
    # What is not answered as a window in hand is, is denied for the store's sake.
    same = np.array([said(*d) == answer for d, answer in zip(run.decisions, answers, strict=True)])
    others = [d for (_, d, _), as_ever in zip(run.decisions, same, strict=True) if not as_ever]
    assert {d.reason for d in others} <= OF_THE_STORE
    assert not any(d.allow for d in others)

    allowed = np.array([d.allow for _, d, _ in run.decisions])
    before, meanwhile, after = at < GONE_S, (at > GONE_S + 1) & (at < BACK_S - 2), at > BACK_S + 5
    print([(int((allowed & m).sum()), int(m.sum()), float(same[m].mean())) for m in (before, meanwhile, after)])
    assert (allowed & before).sum() > 5
    assert meanwhile.sum() > 10
    assert not allowed[meanwhile].any()
    assert {d.reason for (_, d, _), m in zip(run.decisions, meanwhile, strict=True) if m} <= OF_THE_STORE
    assert (allowed & after).sum() > 15
    slowest_ms = max(d.latency_us for _, d, _ in run.decisions) / 1e3
    print(f"slowest {slowest_ms:.0f} ms", run.reasons)
    assert slowest_ms < BUDGET_MS + MARGIN_MS
    assert any(r.startswith("Windows do not reach the online store: ") for r in run.reasons)
    assert run.view.health() == (True, [])
