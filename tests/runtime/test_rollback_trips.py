"""What takes a release back, and what does not: trades, days that end, records that are none."""

from __future__ import annotations

import math

import pytest

from runtime import Reason
from runtime.account_watch import DAY_NS, AccountWatch, Trade
from runtime.decision_log import LoggedGate, SeenWindow, find_decision
from runtime.release_change import change
from runtime.release_history import read_history
from runtime.serving import ServedFilter

from .gate_builders import TS, candidate, market_row, window
from .rollback_losses import DAY, LOSS, P, ask, settled

pytest_plugins = ("tests.runtime.rollback_releases",)


def test_thirty_trades_that_lose_on_average(served):
    for k in range(29):
        assert served.record(Trade(TS + k, 3.0 if k % 2 else -5.0, 10_000.0)) is None
    assert ask(served).p == pytest.approx(P["two"], abs=1e-3)
    assert served.record(Trade(TS + 29, -1.0, 10_000.0)) == "negative_day"
    assert ask(served).p == pytest.approx(P["one"], abs=1e-3)


@pytest.mark.parametrize("logged", [False, True])
def test_the_first_question_of_a_new_day_is_answered_by_the_release_before(releases, logged, tmp_path):
    """Fewer than thirty: the day is judged when it is over, before anything is allowed on the next one."""

    class Held:
        def snapshot_at(self, t_ns):
            return window(), market_row(t_ns=t_ns)

    seen = SeenWindow(Held())
    with ServedFilter(releases / "current", source=seen, watch=AccountWatch(), alert=lambda _: None) as served:
        gate = LoggedGate(served, seen, tmp_path / "log") if logged else served
        for k in range(3):
            served.record(Trade(TS + k, -5.0 - k, 10_000.0))
        late = (DAY + 1) * DAY_NS - 1
        assert gate.allow(candidate(ts_ns=late, expiry_ns=late), late).p == pytest.approx(P["two"], abs=1e-3)
        early = late + 1
        assert gate.allow(candidate(ts_ns=early, expiry_ns=early), early).p == pytest.approx(P["one"], abs=1e-3)
        settled(served)
        assert read_history(releases).last["event"] == "negative_day"
        if logged:
            gate.close()
            assert find_decision(tmp_path / "log", "last").release == "one.small-live"


@pytest.mark.parametrize("now_ns", [None, "late", math.nan, math.inf, -1, 10**30, (DAY + 5) * DAY_NS])
def test_a_question_at_no_time_ends_no_day(served, now_ns):
    for k in range(3):
        served.record(Trade(TS + k, -5.0, 10_000.0))
    assert not ask(served, now_ns).allow
    assert served.manifest.tag == "two.small-live"
    assert served.record(Trade(TS + 5, -5.0, 10_000.0)) is None


@pytest.mark.parametrize("asked", [None, "ETHUSDT", candidate(ts_ns="now")])
def test_a_question_that_was_none_keeps_no_trade_from_the_watch(served, asked):
    assert not served.allow(asked, TS).allow
    assert served.record(LOSS) is not None
    assert served.manifest.tag == "one.small-live"


@pytest.mark.parametrize(
    "record", [None, (), (TS, 1.0), (TS, math.nan, 1e4), (TS, 1.0, 0.0), (TS, 2e4, 1e4), ("x", 1.0, 1e4), 5, [[], 1, 1]]
)  # fmt: skip
def test_a_record_that_is_none_takes_the_release_back(served, releases, record):
    ask(served)
    assert served.record(record) == "bad_record"
    assert round(ask(served).p, 3) == P["one"]
    settled(served)
    assert (read_history(releases).last["event"], read_history(releases).last["at_ns"]) == ("bad_record", TS)


def test_a_release_that_may_not_trade_is_not_taken_back(releases, told):
    change(releases, "operator_rollback", at_ns=4, why="")
    change(releases, "operator_promote", tag="two", at_ns=5, why="")
    with ServedFilter(releases / "current", watch=AccountWatch(), alert=told.append) as served:
        assert served.record(LOSS) == "drawdown"
        assert (served.manifest.tag, served.stopped, told) == ("two.shadow", False, [])
        assert ask(served).reason is Reason.NOT_ROLLED_OUT


def test_what_the_account_lost_today_holds_for_a_release_that_comes_later(releases):
    change(releases, "operator_rollback", at_ns=4, why="")
    change(releases, "operator_promote", tag="two", at_ns=5, why="")
    with ServedFilter(releases / "current", watch=AccountWatch(), alert=lambda _: None) as served:
        served.record(LOSS)
        change(releases, "step", at_ns=6, why="")
        assert served.refresh()
        assert served.record(Trade(TS + 1, 1.0, 10_000.0)) == "drawdown"
        assert served.manifest.tag == "one.small-live"
