"""A rollback while a release is being loaded, the link is being moved, or questions and trades come all at once."""

from __future__ import annotations

import threading

import pytest

from runtime.account_watch import DAY_NS, AccountWatch, Trade
from runtime.kill_switch import KILL_NAME
from runtime.release_change import change
from runtime.release_state import served_tag, state
from runtime.serving import ServedFilter

from .gate_builders import TS
from .release_folders import candidates
from .rollback_losses import BUCKETS, LOSS, PATIENCE_S, P, ask, settled, stopped, wait_for

pytest_plugins = ("tests.runtime.rollback_releases",)


@pytest.mark.parametrize("moved", [False, True], ids=["link not moved yet", "link moved by then"])
def test_what_the_link_names_while_it_trips_is_not_taken_up(releases, monkeypatch, moved):
    """A step of the losing model is being loaded when the loss is told; the link may be back before it is loaded."""
    held, really = threading.Event(), change

    def when_it_may(*args, **more):
        held.wait(PATIENCE_S)
        return really(*args, **more)

    monkeypatch.setattr("runtime.rollback.change", when_it_may)
    with ServedFilter(releases / "current", watch=AccountWatch(), alert=lambda _: None) as served:
        grown = dict.fromkeys(state(releases).multipliers, 0.4)
        change(releases, "step", at_ns=3, why="", multipliers=grown)
        real = ServedFilter._ready

        def slow(self, gate):
            if gate.manifest.tag == "two.step-1":
                self.record(LOSS)
                if moved:
                    held.set()
                    settled(self)
            return real(self, gate)

        monkeypatch.setattr(ServedFilter, "_ready", slow)
        assert served.refresh() is False
        assert round(ask(served).p, 3) == P["one"]
        held.set()
        settled(served)
        assert state(releases).tag == "one.small-live"  # the step was taken back with its model
        served.refresh()
        assert served.manifest.tag == "one.small-live"


def test_the_second_trip_may_come_before_the_link_has_followed_the_first(releases, monkeypatch):
    first, real = threading.Event(), change

    def slow(*args, tag, **more):
        if tag == "two":
            first.wait(PATIENCE_S)
        return real(*args, tag=tag, **more)

    monkeypatch.setattr("runtime.rollback.change", slow)
    with ServedFilter(releases / "current", watch=AccountWatch(), alert=lambda _: None) as served:
        served.record(LOSS)
        moving, joined = served._moving, threading.Event()
        moving.join = lambda *given, join=moving.join: (joined.set(), join(*given))
        served.record(Trade(TS + 1, -6_500.0, 10_000.0))
        assert stopped(served)
        wait_for(lambda: (releases / KILL_NAME).exists())
        assert joined.wait(PATIENCE_S)  # the second waits for the first
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
            held.wait(PATIENCE_S)
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
        first.join(PATIENCE_S)
        assert served._swap.tripped
        assert (served.manifest.tag, served_tag(tmp_path)) == ("one.small-live", "two.small-live")
        assert served.refresh() is False
        assert served.manifest.tag == "one.small-live"
        held.set()
        settled(served)
        assert served_tag(tmp_path) == "one.small-live"


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
