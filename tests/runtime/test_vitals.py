"""What a live process says of itself is what happened to it, whoever asks and whenever."""

from __future__ import annotations

import math
import sys
import threading
from dataclasses import FrozenInstanceError, replace
from itertools import pairwise

import numpy as np
import pytest

from runtime.budget import E2E_BUDGET_MS
from runtime.candidate import Candidate, Entry, SigType, Tier
from runtime.decision import Decision, Reason
from runtime.live.vitals import Vitals
from runtime.live.vitals_view import P_EDGES

NOW = 1_785_585_600_000_000_000
SECOND = 1_000_000_000
CANDIDATE = Candidate(NOW, "ETHUSDT", 1, SigType.MOMENTUM, Tier.A, 2412.35, 5.0, 40.0, 0.5, Entry.IOC, NOW + SECOND)


def decision(reason: Reason = Reason.EV, p: float = math.nan) -> Decision:
    allow = reason is Reason.ALLOW
    return Decision(allow, p, 1_250.0 if allow else 0.0, reason, 0.5, 80.0)


def empty(**changes) -> Vitals:
    return Vitals("ETHUSDT", "binance_usdm", **{"profile": "B", "source": "in process", **changes})


def running(**changes) -> Vitals:
    """Healthy at NOW, with 40 decisions of every kind."""
    vitals = empty(**{"source": "online store", "release": "eth-1", **changes})
    vitals.feed(
        connected={"public": True, "market": True}, clock_offset_ns=-1_230_000, reconnects=1, gaps=2, snapshots=3
    )
    for k in range(61):
        vitals.feed(messages={"depth": 100 * k, "trade": 25 * k}, last_message_ns=NOW - (60 - k) * SECOND // 4)
    vitals.book(True, NOW - 40 * SECOND)
    vitals.window(NOW - SECOND // 10)
    vitals.window(NOW)
    for k in range(40):
        reason = (Reason.ALLOW, Reason.P_BELOW_TAU, Reason.EV, Reason.DEPTH)[k % 4]
        candidate = replace(CANDIDATE, ts_ns=NOW - (40 - k) * SECOND, sig_type=SigType(k % 5), side=(1, -1)[k % 2])
        vitals.decided(candidate, decision(reason, k / 40 if k % 4 < 2 else math.nan), 1.0 + k, 0.25)
    vitals.recorder(lines=123_456, lost=0, now_ns=NOW)
    vitals.pushed(3.14)
    vitals.saved(NOW - 12 * SECOND)
    vitals.logged(None)
    return vitals


def troubled() -> Vitals:
    """Everything that can be wrong at once."""
    vitals = running(release="", simulated=True)
    vitals.feed(connected={"public": True, "market": False}, snapshot_failures=2)
    vitals.book(False, NOW - 100 * SECOND)
    vitals.recorder(lines=123_456, lost=31, now_ns=NOW - 3 * SECOND, error="[Errno 28] No space left on device")
    vitals.push_failed("Connection refused.")
    vitals.logged("[Errno 28] No space left on device: 'decisions/2026-08-01/1785585600000000000.parquet'")
    vitals.released("", "model.onnx: its sha256 is not the manifest's. Expected an undamaged release. Export it again.")
    return vitals


def test_before_anything_has_happened():
    view = empty().snapshot(NOW)
    assert view.decisions == view.windows == view.recorded_lines == view.p.count == 0
    assert list(view.by_reason) == list(Reason)
    assert not any(view.by_reason.values())
    assert view.feed_age_ms is view.messages_per_s is view.last_window_ns is view.cost_share.p50 is None
    assert {t: x.budget_ms for t, x in view.e2e.items()} == E2E_BUDGET_MS
    assert all(x.n == 0 and x.p95_ms is None and x.within is None for x in view.e2e.values())
    assert view.last == ()


@pytest.mark.parametrize("seed", range(3))
def test_counts_and_quantiles_are_those_of_the_decisions(seed):
    rng = np.random.default_rng(seed)
    n = 3_000
    reasons = rng.choice(np.array(Reason, object), n)
    types = rng.integers(0, 4, n)  # the last type never comes
    p = np.where(rng.random(n) < 0.4, np.nan, np.clip(rng.normal(0.5, 0.4, n), 0, 1).round(2))
    e2e_ms, cost = rng.lognormal(2.3, 1.0, n), rng.lognormal(-1, 0.5, n)
    vitals = empty()
    for k in range(n):
        candidate = replace(CANDIDATE, sig_type=SigType(int(types[k])))
        vitals.decided(candidate, decision(reasons[k], float(p[k])), float(e2e_ms[k]), float(cost[k]))
    view = vitals.snapshot(NOW)

    assert view.decisions == n == sum(view.by_reason.values())
    assert all(view.by_reason[r] == (reasons == r).sum() for r in Reason)
    for k, (low, high) in enumerate(pairwise(P_EDGES)):
        assert view.p.bins[k] == ((p > low) & (p <= high)).sum() + (k == 0) * (p == 0).sum()
    assert view.p.count == np.isfinite(p).sum()
    assert view.p.sum == pytest.approx(np.nansum(p))
    assert view.cost_share.n == 1_000
    np.testing.assert_allclose(view.cost_share[1:], np.percentile(cost[-1_000:], (50, 95, 99)))
    for sig_type in SigType:
        mine, x = e2e_ms[types == sig_type][-1_000:], view.e2e[sig_type]
        assert x.n == len(mine)
        if len(mine):
            np.testing.assert_allclose(x[1:4], np.percentile(mine, (50, 95, 99)))
            assert x.within == pytest.approx((mine <= E2E_BUDGET_MS[sig_type]).mean())
        else:
            assert x[1:5] == (None,) * 4


def test_only_the_last_thousand_of_a_type_make_its_quantiles():
    vitals = empty()
    for k in range(2_500):
        vitals.decided(CANDIDATE, decision(), 1_000.0 if k < 1_500 else 1.0)
    x = vitals.snapshot(NOW).e2e[SigType.MOMENTUM]
    assert (x.n, x.p99_ms, x.within) == (1_000, 1.0, 1.0)


def test_a_p_on_an_edge_belongs_below_it_and_none_is_lost():
    vitals = empty()
    for p in (*P_EDGES, math.nan, -0.1, 1.1, math.inf):
        vitals.decided(CANDIDATE, decision(p=p), None)
    assert vitals.snapshot(NOW).p == ((2,) + (1,) * 19, 21, pytest.approx(sum(P_EDGES)))


@pytest.mark.parametrize("cost_share", [None, math.nan, math.inf])
def test_what_is_no_number_stays_out_of_the_quantiles(cost_share):
    vitals = empty()
    vitals.decided(CANDIDATE, decision(), math.nan, cost_share)
    view = vitals.snapshot(NOW)
    assert (view.decisions, view.cost_share.n, view.e2e[SigType.MOMENTUM].n) == (1, 0, 0)


@pytest.mark.parametrize("candidate", [None, replace(CANDIDATE, price=math.nan), replace(CANDIDATE, sig_type=7)])
def test_of_an_unsound_candidate_only_the_reason_counts(candidate):
    vitals = empty()
    vitals.decided(candidate, decision(Reason.BAD_CANDIDATE), 1.0, 0.2)
    view = vitals.snapshot(NOW)
    assert (view.decisions, view.by_reason[Reason.BAD_CANDIDATE], view.last, view.cost_share.n) == (1, 1, (), 0)


def test_the_last_twelve_newest_first():
    vitals = empty()
    for k in range(30):
        vitals.decided(replace(CANDIDATE, ts_ns=NOW + k), decision(Reason.ALLOW, 0.7), 2.5)
    last = vitals.snapshot(NOW).last
    assert [d.ts_ns - NOW for d in last] == list(range(29, 17, -1))
    assert last[0] == (NOW + 29, "ETHUSDT", SigType.MOMENTUM, 1, 2412.35, Reason.ALLOW, True, 0.7, 1_250.0, 2.5)


def test_a_view_stays_as_it_was_taken():
    vitals, messages = running(), {"depth": 1}
    vitals.feed(messages=messages)
    view = vitals.snapshot(NOW)
    before = repr(view)
    messages["depth"] = 2
    vitals.decided(CANDIDATE, decision(Reason.ALLOW, 0.9), 2.0)
    vitals.feed(connected={"public": False})
    assert repr(view) == before
    with pytest.raises(FrozenInstanceError):
        view.gaps = 0


def test_what_the_feed_does_not_say_stays():
    vitals = running()
    vitals.feed(gaps=7)
    view = vitals.snapshot(NOW)
    assert (view.gaps, view.reconnects, view.snapshots, view.clock_offset_ns) == (7, 1, 3, -1_230_000)
    assert view.messages == {"depth": 6_000, "trade": 1_500}


def test_the_age_of_the_feed():
    vitals = running()
    assert vitals.snapshot(NOW + 12_500_000).feed_age_ms == 12.5
    assert vitals.snapshot(NOW - 5).feed_age_ms == 0.0  # the message came after the caller's look at the clock


def test_the_rate_is_that_of_the_last_ten_seconds():
    vitals = running()
    assert vitals.snapshot(NOW).messages_per_s == pytest.approx(500.0)
    assert vitals.snapshot(NOW + 5 * SECOND).messages_per_s == pytest.approx(250.0, rel=0.1)
    assert vitals.snapshot(NOW + 60 * SECOND).messages_per_s == 0.0
    fresh = empty()
    fresh.feed(messages={"depth": 1}, last_message_ns=NOW)
    assert fresh.snapshot(NOW).messages_per_s is None
    for k in range(1, 1_000):  # a message each millisecond
        fresh.feed(messages={"depth": 1 + k}, last_message_ns=NOW + k * 1_000_000)
    assert fresh.snapshot(NOW + SECOND).messages_per_s == pytest.approx(1_000.0, rel=0.01)


def later(vitals: Vitals, now_ns: int) -> None:
    """The feed goes on, so that only what is asked about is wrong."""
    vitals.feed(last_message_ns=now_ns)
    vitals.window(now_ns)


def cut(vitals):
    vitals.feed(connected={"public": True, "market": False})


def join(vitals):
    vitals.feed(connected={"public": True, "market": True})


TROUBLE = {
    "No connection: the route market is down.": (cut, join),
    "31 recorded lines are lost, the last 0 s ago.": (
        lambda v: v.recorder(lines=9, lost=31, now_ns=NOW),
        lambda v: None,  # a minute without a further loss
    ),
    "The recorder failed: no space left.": (
        lambda v: v.recorder(lines=9, lost=0, now_ns=NOW, error="no space left"),
        lambda v: v.recorder(lines=9, lost=0, now_ns=NOW),
    ),
    "Windows do not reach the online store: refused.": (lambda v: v.push_failed("refused."), lambda v: v.pushed(1.0)),
    "Decisions are not being written: no space left.": (lambda v: v.logged("no space left"), lambda v: v.logged(None)),
    "The new release was not taken up: a bad sha256.": (
        lambda v: v.released("eth-1", "a bad sha256"),
        lambda v: v.released("eth-2"),
    ),
}


@pytest.mark.parametrize("reason", TROUBLE)
def test_each_trouble_shows_alone_and_goes(reason):
    begin, end = TROUBLE[reason]
    vitals = running()
    assert vitals.health(NOW) == (True, [])
    begin(vitals)
    assert vitals.health(NOW) == (False, [reason])
    end(vitals)
    later(vitals, NOW + 61 * SECOND)
    assert vitals.health(NOW + 61 * SECOND) == (True, [])


def test_silence_is_trouble_after_five_seconds():
    vitals = running()
    assert vitals.health(NOW + 5 * SECOND) == (True, [])
    assert vitals.health(NOW + 7 * SECOND) == (False, ["No message for 7 s."])
    later(vitals, NOW + 7 * SECOND)
    assert vitals.health(NOW + 7 * SECOND) == (True, [])


def test_a_book_that_does_not_become_valid_is_trouble_after_thirty_seconds():
    vitals = running()
    vitals.book(False, NOW)
    for s in range(1, 42):
        vitals.book(False, NOW + s * SECOND)  # said again, it began when it began
        later(vitals, NOW + s * SECOND)
        expected = [f"The book has not been valid for {s} s."] if s > 30 else []
        assert vitals.health(NOW + s * SECOND) == (not expected, expected)
    vitals.book(True, NOW + 42 * SECOND)
    later(vitals, NOW + 42 * SECOND)
    assert vitals.health(NOW + 42 * SECOND) == (True, [])


def test_a_book_that_nobody_speaks_of_counts_from_the_first_message():
    vitals = empty()
    vitals.feed(connected={"all": True}, last_message_ns=NOW, clock_offset_ns=0)
    vitals.feed(last_message_ns=NOW + 31 * SECOND)
    assert vitals.health(NOW + 31 * SECOND) == (False, ["The book has not been valid for 31 s."])


def test_windows_that_stop_while_messages_come_are_trouble():
    vitals = running()
    vitals.feed(last_message_ns=NOW + 12 * SECOND)
    assert vitals.health(NOW + 12 * SECOND) == (False, ["No window for 12 s, although messages come."])
    vitals.book(False, NOW + 12 * SECOND)
    vitals.book(True, NOW + 13 * SECOND)  # none could close before
    assert vitals.health(NOW + 13 * SECOND) == (True, [])
    later(vitals, NOW + 14 * SECOND)
    assert vitals.health(NOW + 14 * SECOND) == (True, [])


def test_a_start_takes_its_reasons_back_one_by_one():
    vitals = empty()
    opening = "Starting: no connection has been opened yet."
    waiting = "Starting: no message has come yet."
    settling = "Starting: the clock offset is not settled yet."
    assert vitals.health(NOW) == (False, [opening, waiting, settling])
    vitals.feed(connected={"public": True})
    assert vitals.health(NOW) == (False, [waiting, settling])
    vitals.feed(last_message_ns=NOW, messages={"depth": 1})
    assert vitals.health(NOW) == (False, [settling])
    vitals.feed(clock_offset_ns=0)
    assert vitals.health(NOW) == (True, [])


def test_a_replay_has_no_connection_and_no_clock_to_settle():
    vitals = empty(replay=True)
    assert vitals.health(NOW) == (False, ["Starting: no message has come yet."])
    vitals.feed(last_message_ns=NOW)
    assert vitals.health(NOW) == (True, [])
    assert vitals.health(NOW + 6 * SECOND) == (False, ["No message for 6 s."])


def test_all_troubles_at_once():
    healthy, reasons = troubled().health(NOW)
    assert not healthy
    assert len(reasons) == 7
    assert all(r.endswith(".") and not r.endswith("..") for r in reasons)


def test_an_error_is_one_printable_line_whatever_it_holds():
    vitals = running()
    vitals.push_failed("closed:\n\x1b[2J\x07 gone\u202e away" + 500 * "x")
    (reason,) = vitals.health(NOW)[1]
    assert reason.startswith("Windows do not reach the online store: closed: [2J gone away")
    assert reason.isprintable()
    assert len(reason) < 300


def test_no_reader_ever_sees_half_an_update():
    vitals, done = empty(), threading.Event()
    wrong: list[str] = []
    interval = sys.getswitchinterval()

    def decide(reason):
        while not done.is_set():
            vitals.decided(CANDIDATE, decision(reason, 0.5), 2.0, 0.25)

    def receive():
        n = 0
        while not done.is_set():
            n += 1
            vitals.feed(reconnects=n, gaps=n, messages={"depth": n}, last_message_ns=NOW + n)
            vitals.recorder(lines=n, lost=n, now_ns=NOW + n)

    def read():
        while not done.is_set():
            v = vitals.snapshot(NOW)
            halves = sum(v.by_reason.values()), v.p.count, v.p.sum * 2
            if halves != (v.decisions,) * 3 or v.cost_share.n != min(1_000, v.decisions):
                wrong.append(f"{v.decisions} decisions and {halves}, {v.cost_share.n}")
            if not v.reconnects == v.gaps == v.messages.get("depth", 0) == (v.last_message_ns or NOW) - NOW:
                wrong.append(f"{v.reconnects}, {v.gaps}, {v.messages}")
            if v.recorded_lines != v.lost_lines:
                wrong.append(f"{v.recorded_lines} and {v.lost_lines} lines")

    threads = [threading.Thread(target=decide, args=(r,)) for r in (Reason.ALLOW, Reason.EV)]
    threads += [threading.Thread(target=receive), threading.Thread(target=read), threading.Thread(target=read)]
    try:
        sys.setswitchinterval(1e-5)
        for thread in threads:
            thread.start()
        done.wait(0.8)
    finally:
        done.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
    assert not wrong, wrong[:3]
    assert vitals.snapshot(NOW).decisions > 100
