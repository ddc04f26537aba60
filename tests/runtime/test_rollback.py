"""A release that loses is taken back within one decision, whatever disk and webhook do meanwhile."""

from __future__ import annotations

import os
import threading

import pytest

from feature_repo.errors import InputError
from runtime import Reason
from runtime.account_watch import AccountWatch, Trade
from runtime.release_change import change
from runtime.release_history import read_history
from runtime.release_state import served_tag, state
from runtime.serving import ServedFilter

from .gate_builders import TS
from .rollback_losses import LOSS, PATIENCE_S, P, ask, settled, wait_for

pytest_plugins = ("tests.runtime.rollback_releases",)


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
    over, waited_for = threading.Event(), []

    def hangs(*_, **__):
        over.wait(PATIENCE_S)
        waited_for.append(1)

    monkeypatch.setattr("runtime.rollback.change", hangs)
    served = ServedFilter(releases / "current", watch=AccountWatch(), alert=hangs)
    try:
        served.record(LOSS)
        assert round(ask(served).p, 3) == P["one"]
        assert served_tag(releases) == "two.small-live"
        assert not waited_for
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


def test_who_has_moved_the_link_meanwhile_is_left_alone(served, releases, monkeypatch):
    change(releases, "operator_rollback", at_ns=4, why="by hand")
    before = read_history(releases).lines
    served.record(LOSS)
    settled(served)
    assert read_history(releases).lines == before
    assert served.manifest.tag == "one.small-live"


def test_the_release_before_begins_its_day_at_nothing(served):
    served.record(LOSS)
    assert served.record(Trade(TS + 1, -5_000.0, 10_000.0)) is None
    assert ask(served).allow


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
