"""Killed at any moment, what serves is the release before a change or the one after it, and the history says so."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import random
import signal
import time
from pathlib import Path

import pytest

from feature_repo.errors import InputError
from runtime.bundle import load_bundle
from runtime.ladder import TABLE, Action, Event, State
from runtime.release_change import change
from runtime.release_history import read_history
from runtime.release_state import served_tag, state

from .release_folders import candidates

KILLS = 40


def changes(releases: Path, first: int, ready) -> None:
    """A process of its own: one change after the other, until somebody ends it."""
    for k in itertools.count(first):
        told = next_change(releases, k)
        if k == first:
            ready.set()
        change(releases, at_ns=k, why=f"change {k}", **told)


def next_change(releases: Path, k: int) -> dict:
    """Some event that the ladder knows where things stand; by k, so that every kind comes up."""
    now = state(releases)
    if now is None:
        return {"event": "passed", "tag": "one"}
    other = "two" if now.base == "one" else "one"
    if now.state is State.SHADOW:
        return [{"event": "step"}, {"event": "operator_small_live", "tag": other}][k % 2]
    if now.state is State.ROLLED_BACK:
        return {"event": "operator_promote", "tag": [now.base, other][k % 2]}
    if now.state is State.CANDIDATE:
        return {"event": "operator_promote", "tag": other}
    grown = {b: round(min(1.0, m + 0.2), 10) for b, m in now.multipliers.items() if m > 0}
    return [
        {"event": "step", "multipliers": grown},
        {"event": "drawdown", "stop": k % 3 == 0},
        {"event": "operator_promote", "tag": other},
        {"event": "negative_day"},
    ][k % 4]


@pytest.mark.slow
def test_forty_kills(tmp_path):
    """A process changes what serves again and again, and is killed in the middle of it, forty times."""
    releases, rng, mended = candidates(tmp_path), random.Random(8), 0
    processes = multiprocessing.get_context("forkserver")  # starts in a moment, and shares no state with this one
    processes.set_forkserver_preload([__name__])
    for kill in range(1, KILLS + 1):
        ready = processes.Event()
        child = processes.Process(target=changes, args=(releases, kill * 100_000, ready), daemon=True)
        child.start()
        assert ready.wait(60)
        time.sleep(rng.uniform(0.0, 0.15))
        child.kill()
        child.join(10)
        assert child.exitcode == -signal.SIGKILL
        before, tag = read_history(releases), whole(releases)
        now, after = state(releases), read_history(releases)
        assert (now and now.tag, after.torn, after.unreadable) == (tag, False, 0)
        assert after.last is None or after.last["tag"] == tag
        mended += len(after.lines) > len(before.lines)
        follows(after.lines)
        change(releases, at_ns=kill, why="the next one goes on", **next_change(releases, kill))
        assert not [p.name for p in releases.iterdir() if p.name.startswith(".") and p.is_dir()]
    print(f"{len(read_history(releases).lines)} changes, {KILLS} kills, {mended} of them between link and line")


def whole(releases: Path) -> str:
    """What the link leads to at this moment can be used, or there is none yet."""
    tag = served_tag(releases)
    if tag is not None:
        assert load_bundle(releases / tag).manifest.tag == tag
    return tag


def follows(lines) -> None:
    """Each line begins where the one before it ended, and is a move that the ladder knows."""
    for before, line in itertools.pairwise(lines):
        assert line["previous"] == before["tag"]
        assert line["previous_stage"] == before["stage"]
        if line["event"] == "recovered":
            continue
        event = Event(line["event"])
        ends = {m.state.value if m.action is Action.STAGE else "back" for (_, e), m in TABLE.items() if e is event}
        assert line["stage"] in ends or "back" in ends
        assert bool(line["rolled_back"]) == ("back" in ends)
        assert line["why"]
        json.dumps(line)


@pytest.mark.parametrize("at", ["written", "linked", "noted"])
def test_at_each_of_the_three_steps(tmp_path, monkeypatch, at):
    """The moments that random kills hit by luck, one by one."""
    releases = candidates(tmp_path)
    change(releases, "passed", tag="one", at_ns=1, why="")

    class Killed(BaseException):
        pass

    def kill(*_, **__):
        raise Killed

    name = {"written": "_point", "linked": "note", "noted": "state_now"}[at]
    with monkeypatch.context() as patch:
        patch.setattr(f"runtime.release_change.{name}", kill)
        with pytest.raises(Killed):
            change(releases, "step", at_ns=2, why="")
    assert served_tag(releases) == ("one.shadow" if at == "written" else "one.small-live")
    assert state(releases).tag == served_tag(releases)
    events = [line["event"] for line in read_history(releases).lines]
    assert events == {"written": ["passed"], "linked": ["passed", "recovered"], "noted": ["passed", "step"]}[at]
    if at == "written":
        assert change(releases, "step", at_ns=3, why="").tag == "one.small-live"
    else:
        with pytest.raises(InputError):
            change(releases, "step", at_ns=3, why="")
