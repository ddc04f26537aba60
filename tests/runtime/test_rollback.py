"""A release that loses is taken back within one decision, whatever disk, webhook and other processes do meanwhile."""

from __future__ import annotations

import math
import os
import shutil
import threading
import time

import pytest

from feature_repo.errors import InputError
from runtime import Reason
from runtime.account_watch import DAY_NS, AccountWatch, Trade
from runtime.decision_log import LoggedGate, SeenWindow, find_decision
from runtime.kill_switch import KILL_NAME, throw
from runtime.release_change import change
from runtime.release_history import read_history
from runtime.release_state import served_tag, state
from runtime.serving import ServedFilter

from .gate_builders import TS, buckets_csv, bundle_folder, candidate, market_row, rolled_out, window
from .release_folders import candidates

BUCKETS = buckets_csv({"B/momentum/all/all/all/other": 1.0})
LOSS = Trade(TS, -6_500.0, 10_000.0)
P = {"one": 0.881, "two": 0.953}
DAY = TS // DAY_NS


@pytest.fixture
def releases(tmp_path):
    """Model one trades, and model two has taken its place."""
    candidates(tmp_path, "one", "two", buckets=BUCKETS)
    change(tmp_path, "operator_small_live", tag="one", at_ns=1, why="")
    change(tmp_path, "operator_small_live", tag="two", at_ns=2, why="")
    return tmp_path


@pytest.fixture
def told():
    return []


@pytest.fixture
def served(releases, told):
    with ServedFilter(releases / "current", watch=AccountWatch(), alert=told.append) as gate:
        yield gate


def ask(gate, now_ns=TS, **of):
    return gate.decide(candidate(**of), now_ns, window(), market_row())


def wait_for(done):
    deadline = time.monotonic() + 20
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def settled(gate):
    gate._moving.join(20)
    assert not gate._moving.is_alive()


def test_the_very_next_decision_is_made_by_the_release_before(served, releases, told):
    assert (round(ask(served).p, 3), served.goes_back_to) == (P["two"], "one.small-live")
    assert served.record(Trade(TS, 100.0, 10_000.0)) is None
    assert round(ask(served).p, 3) == P["two"]
    assert served.record(LOSS) == "drawdown"
    d = ask(served)
    assert (d.allow, round(d.p, 3), served.manifest.tag) == (True, P["one"], "one.small-live")
    settled(served)
    now = state(releases)
    assert (now.tag, now.stopped) == ("one.small-live", False)
    line = read_history(releases).last
    assert (line["event"], line["previous"], line["rolled_back"], line["at_ns"], line["by"]) == (
        "drawdown", "two.small-live", "two", TS, "account watch"
    )  # fmt: skip
    assert "2 trades, -6,400.00 USD, drawdown 6.50 % of the equity" in line["why"]
    wait_for(lambda: told)
    (event,) = told
    assert {k: event[k] for k in ("event", "reason", "release", "serves", "simulated")} == {
        "event": "rollback", "reason": "drawdown", "release": "two.small-live", "serves": "one.small-live",
        "simulated": True,
    }  # fmt: skip


def test_it_does_not_wait_for_disk_or_webhook(releases, monkeypatch):
    """Both hang; the answer that follows is the other release's all the same."""
    over = threading.Event()
    monkeypatch.setattr("runtime.rollback.change", lambda *_, **__: over.wait(30))
    served = ServedFilter(releases / "current", watch=AccountWatch(), alert=lambda _: over.wait(30))
    try:
        served.record(LOSS)
        assert round(ask(served).p, 3) == P["one"]
        assert served_tag(releases) == "two.small-live"
    finally:
        over.set()
        served.close()


def test_while_the_link_is_not_moved_nothing_is_taken_up(releases, monkeypatch):
    """The disk fails for a while: the process stays where it went, and tries until it works."""
    fails, real = threading.Event(), change

    def broken(*args, **more):
        if not fails.is_set():
            raise OSError(28, "No space left on device")
        return real(*args, **more)

    monkeypatch.setattr("runtime.rollback.change", broken)
    monkeypatch.setattr("runtime.rollback._MOST_WAIT_S", 0.05)
    with ServedFilter(releases / "current", watch=AccountWatch(), alert=lambda _: None) as served:
        served.record(LOSS)
        wait_for(lambda: served.rollback_error)
        assert "No space left" in served.rollback_error
        os.utime(releases / "two.small-live" / "manifest.json")  # looks new to whoever follows the link
        for _ in range(3):
            assert served.refresh() is False
            assert round(ask(served).p, 3) == P["one"]
        fails.set()
        settled(served)
        assert served_tag(releases) == "one.small-live"
        assert served.refresh() is False  # the same release, over the link
        assert (served.manifest.tag, served.last_error) == ("one.small-live", None)
        assert "no release to go back to from one.small-live" in served.rollback_error


def test_the_link_is_followed_again_afterwards(served, releases):
    served.record(LOSS)
    settled(served)
    change(releases, "operator_promote", tag="two", at_ns=5, why="looked at it")
    assert served.refresh() is True
    assert served.manifest.tag == "two.shadow"
    assert ask(served).reason is Reason.NOT_ROLLED_OUT


def test_what_the_link_names_while_it_trips_is_not_taken_up(releases, monkeypatch):
    """A step of the losing model is being loaded when the loss is told."""
    with ServedFilter(releases / "current", watch=AccountWatch(), alert=lambda _: None) as served:
        grown = dict.fromkeys(state(releases).multipliers, 0.4)
        change(releases, "step", at_ns=3, why="", multipliers=grown)
        real = ServedFilter._ready

        def slow(self, gate):
            if gate.manifest.tag == "two.step-1":
                self.record(LOSS)
            return real(self, gate)

        monkeypatch.setattr(ServedFilter, "_ready", slow)
        assert served.refresh() is False
        assert round(ask(served).p, 3) == P["one"]
        settled(served)
        assert state(releases).tag == "one.small-live"  # the step was taken back with its model
        served.refresh()
        assert served.manifest.tag == "one.small-live"


def test_who_has_moved_the_link_meanwhile_is_left_alone(served, releases, monkeypatch):
    change(releases, "operator_rollback", at_ns=4, why="by hand")
    before = read_history(releases).lines
    served.record(LOSS)
    settled(served)
    assert read_history(releases).lines == before
    assert served.manifest.tag == "one.small-live"


# ---------------------------------------------------------------- nothing to go back to


def stopped(gate):
    d = ask(gate)
    return (d.allow, d.reason, d.size) == (False, Reason.KILL_SWITCH, 0.0)


def test_without_one_everything_is_denied_at_once_and_by_file(releases, told):
    change(releases, "operator_rollback", at_ns=4, why="")  # one serves, and nothing was before it
    with ServedFilter(releases / "current", watch=AccountWatch(), alert=told.append) as served:
        assert served.goes_back_to is None
        assert "a rollback stops everything: no release to go back to from one.small-live" in served.rollback_error
        served.record(LOSS)
        assert stopped(served)
        settled(served)
        assert (releases / KILL_NAME).exists()
        assert state(releases).stage == "shadow"
        (releases / KILL_NAME).unlink()
        assert stopped(served)  # a person has to start a process again
        change(releases, "operator_small_live", tag="two", at_ns=9, why="")
        assert served.refresh() is False
        assert served.stopped
        assert stopped(served)
        wait_for(lambda: told)
        assert (told[0]["event"], told[0]["serves"]) == ("stopped", None)


@pytest.mark.parametrize("spoil", ["gone", "damaged", "other windows"])
def test_one_that_cannot_be_loaded_is_none(releases, spoil):
    folder = releases / "one.small-live"
    if spoil == "gone":
        shutil.rmtree(folder)
    elif spoil == "other windows":
        bundle_folder(releases, folder.name, of={"rollout": rolled_out("one")}, T=32)
    else:
        (folder / "model.onnx").write_bytes(b"")
    with ServedFilter(releases / "current", watch=AccountWatch(), alert=lambda _: None) as served:
        assert served.goes_back_to is None
        assert "a rollback stops everything" in served.rollback_error
        assert ask(served).allow
        served.record(LOSS)
        assert stopped(served)


def test_a_flag_is_enough_where_no_file_can_be_made(releases, monkeypatch):
    change(releases, "operator_rollback", at_ns=4, why="")
    monkeypatch.setattr("runtime.serving.throw", lambda *_: OSError("full"))
    monkeypatch.setattr("runtime.rollback.throw", lambda *_: OSError("full"))
    monkeypatch.setattr("runtime.rollback.change", lambda *_, **__: (_ for _ in ()).throw(OSError("full")))
    with ServedFilter(releases / "current", watch=AccountWatch(), alert=lambda _: None) as served:
        served.record(LOSS)
        assert stopped(served)
        wait_for(lambda: "full" in (served.rollback_error or ""))
        assert not (releases / KILL_NAME).exists()
        assert stopped(served)


def test_the_second_trip_of_a_day_stops_everything(served, releases):
    served.record(LOSS)
    settled(served)
    assert round(ask(served).p, 3) == P["one"]
    assert served.record(Trade(TS + 1, -6_500.0, 10_000.0)) == "drawdown"
    assert stopped(served)
    settled(served)
    assert (releases / KILL_NAME).exists()
    assert [line["rolled_back"] for line in read_history(releases).lines] == [None, None, "two", "one"]


@pytest.mark.parametrize(("days", "stops"), [(0, True), (1, False)])
def test_of_three_models_a_day_takes_back_one(tmp_path, days, stops):
    """There is another to go back to, but two losers on one day are no matter of the release."""
    candidates(tmp_path, "one", "two", "three", buckets=BUCKETS)
    for k, tag in enumerate(("one", "two", "three")):
        change(tmp_path, "operator_small_live", tag=tag, at_ns=k, why="")
    with ServedFilter(tmp_path / "current", watch=AccountWatch(), alert=lambda _: None) as served:
        served.record(LOSS)
        settled(served)
        assert (served.manifest.tag, served.goes_back_to) == ("two.small-live", "one.small-live")
        served.record(Trade(TS + days * DAY_NS, -6_500.0, 10_000.0))
        settled(served)
        assert served.stopped is stops
        assert (tmp_path / KILL_NAME).exists() is stops
        assert served_tag(tmp_path) == "one.small-live"
        assert served.manifest.tag == ("two.small-live" if stops else "one.small-live")
        assert stopped(served) is stops


def test_the_second_trip_may_come_before_the_link_has_followed_the_first(releases, monkeypatch):
    first, real = threading.Event(), change

    def slow(*args, tag, **more):
        if tag == "two":
            first.wait(20)
        return real(*args, tag=tag, **more)

    monkeypatch.setattr("runtime.rollback.change", slow)
    with ServedFilter(releases / "current", watch=AccountWatch(), alert=lambda _: None) as served:
        served.record(LOSS)
        served.record(Trade(TS + 1, -6_500.0, 10_000.0))
        assert stopped(served)
        wait_for(lambda: (releases / KILL_NAME).exists())
        time.sleep(0.3)  # time for the second to be done, if it did not wait for the first
        first.set()
        settled(served)
        assert (state(releases).tag, state(releases).stopped) == ("one.shadow", True)


def test_a_trip_in_the_moment_in_which_the_link_has_followed_the_one_before(tmp_path, monkeypatch):
    """What the first trip leaves in order must not unlock the second, whose link still leads to the loser."""
    candidates(tmp_path, "one", "two", "three", buckets=BUCKETS)
    for k, tag in enumerate(("one", "two", "three")):
        change(tmp_path, "operator_small_live", tag=tag, at_ns=k, why="")
    held, real = threading.Event(), change

    def slow(*args, tag, **more):
        if tag == "two":
            held.wait(20)
        return real(*args, tag=tag, **more)

    class Swap:
        """The lock, and a loss of the next day as soon as the thread that moved the link has let it go."""

        def __init__(self, lock):
            self.lock, self.tripped = lock, False

        def __enter__(self):
            return self.lock.__enter__()

        def __exit__(self, *why):
            self.lock.__exit__(*why)
            if threading.current_thread().name == "rollback" and not self.tripped:
                self.tripped = True
                served.record(Trade(TS + DAY_NS, -6_500.0, 10_000.0))

    monkeypatch.setattr("runtime.rollback.change", slow)
    with ServedFilter(tmp_path / "current", watch=AccountWatch(), alert=lambda _: None) as served:
        served._swap = Swap(served._swap)
        served.record(LOSS)
        first = served._moving
        first.join(20)
        assert served._swap.tripped
        assert (served.manifest.tag, served_tag(tmp_path)) == ("one.small-live", "two.small-live")
        assert served.refresh() is False
        assert served.manifest.tag == "one.small-live"
        held.set()
        settled(served)
        assert served_tag(tmp_path) == "one.small-live"


def test_kill_is_thrown_until_it_is_there(releases, monkeypatch):
    """Where it lies on a disk of its own, the link may have been moved long before."""
    change(releases, "operator_rollback", at_ns=4, why="")
    real, full = throw, threading.Event()
    full.set()

    def sometimes(path, said):
        return OSError(28, "No space left on device") if full.is_set() else real(path, said)

    monkeypatch.setattr("runtime.serving.throw", sometimes)
    monkeypatch.setattr("runtime.rollback.throw", sometimes)
    monkeypatch.setattr("runtime.rollback._MOST_WAIT_S", 0.05)
    elsewhere = releases / "elsewhere"
    elsewhere.mkdir()
    options = {"watch": AccountWatch(), "alert": lambda _: None, "kill_switch": elsewhere / KILL_NAME}
    with ServedFilter(releases / "current", **options) as served:
        served.record(LOSS)
        wait_for(lambda: state(releases).stage == "shadow")
        wait_for(lambda: f"{elsewhere / KILL_NAME} is not there yet" in (served.rollback_error or ""))
        full.clear()
        settled(served)
        assert (elsewhere / KILL_NAME).exists()
        assert served.rollback_error is None


def test_the_release_before_begins_its_day_at_nothing(served):
    served.record(LOSS)
    assert served.record(Trade(TS + 1, -5_000.0, 10_000.0)) is None
    assert ask(served).allow


# ---------------------------------------------------------------- what trips


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


# ---------------------------------------------------------------- around it


def test_a_trade_for_nobody_is_a_mistake_that_is_told(releases):
    with ServedFilter(releases / "current") as served, pytest.raises(InputError, match="without a watch"):
        served.record(LOSS)


def test_a_folder_is_no_link_that_could_be_moved(releases):
    with pytest.raises(InputError, match="with an account watch"):
        ServedFilter(releases / "two.small-live", watch=AccountWatch())


def test_the_one_to_go_back_to_is_loaded_once(releases):
    with ServedFilter(releases / "current", watch=AccountWatch(), alert=lambda _: None) as served:
        before = served._before
        change(releases, "step", at_ns=3, why="", multipliers=dict.fromkeys(state(releases).multipliers, 0.4))
        assert served.refresh()
        assert served._before is before


def test_an_alert_that_raises_is_nobodys_problem(releases):
    def broken(event):
        raise RuntimeError("no webhook")

    with ServedFilter(releases / "current", watch=AccountWatch(), alert=broken) as served:
        served.record(LOSS)
        assert round(ask(served).p, 3) == P["one"]
        settled(served)


def test_under_trades_and_questions_at_the_same_time_each_answer_is_one_releases(releases):
    with ServedFilter(releases / "current", watch=AccountWatch(), alert=lambda _: None) as served:
        answers, go = [], threading.Event()

        def questions():
            go.wait()
            answers.extend(ask(served) for _ in range(400))

        thread = threading.Thread(target=questions)
        thread.start()
        go.set()
        for k in range(20):
            served.record(Trade(TS + k, -400.0, 10_000.0))
        thread.join()
        settled(served)
    seen = [round(d.p, 3) for d in answers]
    assert set(seen) <= {P["one"], P["two"]}
    assert seen == sorted(seen, reverse=True)  # and there is no way back
    assert all(d.allow for d in answers)
