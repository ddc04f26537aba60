"""Where there is nothing to go back to, and at the second loser of a day, everything is denied."""

from __future__ import annotations

import shutil
import threading

import pytest

from runtime.account_watch import DAY_NS, AccountWatch, Trade
from runtime.kill_switch import KILL_NAME, throw
from runtime.release_change import change
from runtime.release_history import read_history
from runtime.release_state import served_tag, state
from runtime.serving import ServedFilter

from .gate_builders import TS, bundle_folder, rolled_out
from .release_folders import candidates
from .rollback_losses import BUCKETS, LOSS, P, ask, settled, stopped, wait_for

pytest_plugins = ("tests.runtime.rollback_releases",)


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
