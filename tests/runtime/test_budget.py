"""A store is waited for as long as the signal's budget lasts, and not a moment more."""

from __future__ import annotations

import threading
import time

import pytest

from feature_repo.errors import InputError
from runtime import MetaFilter, Reason
from runtime.budget import E2E_BUDGET_MS, RESERVE_MS, WaitingSource
from runtime.candidate import SigType
from runtime.decision_log import LoggedGate, SeenWindow, find_decision

from .gate_builders import TS, bundle_folder, candidate, market_row, window

OLD, NEW = (window(), market_row(t_ns=TS - 100_000_000)), (window(), market_row())
BUDGET_MS = 500.0  # a real one is 15: too short to say anything about a thread of a loaded machine
SLACK_MS = 10_000.0  # no measure of speed: without its budget each of these would wait for much longer, or for ever


class Store:
    """Gives what it holds; hangs while ``gate`` is closed."""

    def __init__(self, found=None):
        self.found, self.reads = found, 0
        self.open = threading.Event()
        self.open.set()

    def snapshot_at(self, t_ns):
        self.reads += 1
        self.open.wait()
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


@pytest.fixture
def store():
    made = Store(OLD)
    yield made
    made.open.set()


@pytest.fixture
def waiting(store):
    source = WaitingSource(store)
    yield source
    source.close()


def timed(call):
    began = time.perf_counter()
    try:
        return call(), (time.perf_counter() - began) * 1e3
    except Exception as e:
        return e, (time.perf_counter() - began) * 1e3


def once_free(waiting):
    """What is found as soon as the source has got over the question that was given up."""
    deadline = time.monotonic() + 60
    while isinstance(found := timed(lambda: waiting.snapshot_within(TS, 100.0))[0], TimeoutError):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return found


def test_a_window_that_is_there_is_not_waited_for(store, waiting):
    store.found = NEW
    assert waiting.snapshot_within(TS, 60_000.0) is NEW
    assert store.reads == 1


def test_a_window_that_was_found_is_read_no_more(store, waiting):
    store.found = NEW
    assert once_free(waiting) is NEW
    assert once_free(waiting) is NEW
    assert store.reads == 2


def test_one_that_comes_in_time_is_taken(store, waiting):
    threading.Timer(0.05, lambda: setattr(store, "found", NEW)).start()
    assert waiting.snapshot_within(TS, 60_000.0) is NEW
    assert store.reads > 1


def test_when_the_budget_is_spent_the_newest_there_was_is_given(store, waiting):
    found, took = timed(lambda: waiting.snapshot_within(TS, BUDGET_MS))
    assert found is OLD
    assert BUDGET_MS <= took + 1 < BUDGET_MS + SLACK_MS


def test_a_store_that_hangs_holds_up_nobody_for_longer_than_the_budget(store, waiting):
    store.open.clear()
    error, took = timed(lambda: waiting.snapshot_within(TS, 20.0))
    assert isinstance(error, TimeoutError)
    assert took < 20 + SLACK_MS
    error, took = timed(lambda: waiting.snapshot_within(TS, 60_000.0))  # and then nobody at all
    assert isinstance(error, TimeoutError)
    assert took < SLACK_MS
    store.found = NEW
    store.open.set()
    assert once_free(waiting) is NEW


def test_an_error_is_told_if_nothing_else_comes(store, waiting):
    store.found = OSError("gone")
    error, _ = timed(lambda: waiting.snapshot_within(TS, BUDGET_MS))
    assert error is store.found
    store.found = NEW
    assert once_free(waiting) is NEW  # killed, and back


@pytest.mark.parametrize(
    ("found", "hangs", "reason"),
    [
        (NEW, False, Reason.ALLOW),
        (OLD, False, Reason.STALE),
        (None, False, Reason.NO_WINDOW),
        (OSError("gone"), False, Reason.STORE_ERROR),
        ("junk", False, Reason.STORE_ERROR),
        (NEW, True, Reason.STORE_ERROR),
    ],
)
@pytest.mark.parametrize("logged", [False, True])
def test_what_the_gate_makes_of_it(tmp_path, store, waiting, monkeypatch, found, hangs, reason, logged):
    monkeypatch.setitem(E2E_BUDGET_MS, SigType.MOMENTUM, BUDGET_MS)
    store.found = found
    if hangs:
        store.open.clear()
    seen = SeenWindow(waiting)
    gate = MetaFilter.load(bundle_folder(tmp_path), source=seen if logged else waiting)
    asked = LoggedGate(gate, seen, tmp_path / "log") if logged else gate
    decision, took = timed(lambda: asked.allow(candidate(), TS))
    assert decision.reason is reason
    assert took < E2E_BUDGET_MS[SigType.MOMENTUM] + SLACK_MS
    if logged:
        asked.close()
        assert find_decision(tmp_path / "log", "last").decision.reason is reason


def test_each_type_has_its_own_budget(tmp_path, waiting, monkeypatch):
    told = []
    monkeypatch.setattr(waiting, "snapshot_within", lambda t_ns, ms: told.append(ms) or NEW)
    gate = MetaFilter.load(bundle_folder(tmp_path), source=waiting)
    for sig_type in SigType:
        gate.allow(candidate(sig_type=sig_type, reclaimed=True), TS)
    assert told == [E2E_BUDGET_MS[s] - RESERVE_MS for s in SigType]
    assert {s.name.lower(): ms for s, ms in E2E_BUDGET_MS.items()} == {
        "momentum": 15.0, "liquidation": 15.0, "reclaim": 30.0, "reversion": 50.0, "divergence": 50.0,
    }  # fmt: skip


@pytest.mark.parametrize("poll_ms", [-1.0, 1e3, float("nan")])
def test_poll_ms_is_checked(store, poll_ms):
    with pytest.raises(InputError, match="poll_ms"):
        WaitingSource(store, poll_ms=poll_ms)
