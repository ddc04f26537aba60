"""What serves changes event by event; each change is a folder, a link and a line, and refused ones leave nothing."""

from __future__ import annotations

import json
import os
import shutil
import threading
from dataclasses import replace

import pytest

from feature_repo.errors import InputError
from runtime.buckets import Share
from runtime.bundle import load_bundle, read_release
from runtime.kill_switch import KILL_NAME
from runtime.ladder import State
from runtime.release_change import change, model_state
from runtime.release_history import read_history
from runtime.release_state import served_tag, state

from .gate_builders import buckets_csv, bundle_folder, serve
from .release_folders import NOT, PARENT, PAYS, candidates


@pytest.fixture
def releases(tmp_path):
    return candidates(tmp_path)


def do(releases, *events, tag=None, **more):
    """Events one after the other, each at a time of its own."""
    for event in events:
        at_ns = 1 + (read_history(releases).last or {"at_ns": 0})["at_ns"]
        if event == "step" and state(releases).stage != "shadow" and "multipliers" not in more:
            now = state(releases).multipliers
            found = change(releases, event, at_ns=at_ns, why="grows", multipliers={PAYS: round(now[PAYS] + 0.2, 10)})
        else:
            promotes = event == "passed" or (event.startswith("operator_") and event != "operator_rollback")
            found = change(releases, event, at_ns=at_ns, why=event, tag=tag if promotes else None, **more)
    return found


def lines(releases):
    return [json.loads(line) for line in (releases / "history.jsonl").read_text().splitlines()]


def contents(releases):
    """All that is there but the lock, byte for byte."""
    return {
        str(p.relative_to(releases)): os.readlink(p) if p.is_symlink() else p.read_bytes()
        for p in sorted(releases.rglob("*"))
        if (p.is_symlink() or p.is_file()) and p.name != ".lock"
    }


# ---------------------------------------------------------------- up


def test_from_candidate_to_full_size(releases):
    assert state(releases) is None
    assert model_state(releases, "one") is State.CANDIDATE
    seen = [do(releases, "passed", tag="one"), *(do(releases, "step") for _ in range(5))]
    assert [s.tag for s in seen] == [
        "one.shadow", "one.small-live", "one.step-1", "one.step-2", "one.step-3", "one.step-4"
    ]  # fmt: skip
    assert [s.stage for s in seen] == ["shadow", "small_live"] + ["scaled"] * 4
    assert [s.multipliers[PAYS] for s in seen] == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert [s.multipliers[PARENT] for s in seen] == [0.0] + [0.2] * 5
    assert {s.multipliers[NOT] for s in seen} == {0.0}
    assert {s.base for s in seen} == {"one"}
    assert [s.previous for s in seen] == [None] + ["one.shadow"] * 5
    assert [s.since_ns for s in seen] == [1, 2, 3, 4, 5, 6]
    assert seen[-1].simulated
    assert state(releases) == seen[-1]
    assert load_bundle(releases / "current").manifest.tag == "one.step-4"


def test_since_when_a_multiplier_is_what_it_is_is_kept_by_bucket(releases):
    do(releases, "passed", "step", tag="one")
    assert state(releases).table.shares == {PAYS: Share(0.2, 2), NOT: Share(0.0, 2), PARENT: Share(0.2, 2)}
    do(releases, "step")
    assert state(releases).table.shares == {PAYS: Share(0.4, 3), NOT: Share(0.0, 2), PARENT: Share(0.2, 2)}
    do(releases, "step", multipliers={PARENT: 0.0, PAYS: 0.4})
    assert state(releases).table.shares == {PAYS: Share(0.4, 3), NOT: Share(0.0, 2), PARENT: Share(0.0, 4)}


def test_a_step_is_the_same_model_and_nothing_that_served_changes(releases):
    before = contents(releases)
    do(releases, "passed", "step", tag="one")
    kept = contents(releases)
    assert {k: v for k, v in kept.items() if k in before} == before
    do(releases, "step", "step", "operator_rollback")
    after = contents(releases)
    moved = {"current", "history.jsonl"}
    assert {k: after[k] for k in kept if k not in moved} == {k: v for k, v in kept.items() if k not in moved}
    made, was = (read_release(releases / tag) for tag in ("one.step-2", "one"))
    assert made.model == was.model
    same = replace(made.manifest, tag="one", rollout=None, files=was.manifest.files)
    assert same == was.manifest


def test_an_operator_may_pass_the_shadow(releases):
    now = do(releases, "operator_small_live", tag="one")
    assert (now.tag, now.stage, now.previous, now.multipliers[PAYS]) == ("one.small-live", "small_live", None, 0.2)


def test_one_model_in_the_place_of_another_goes_back_to_it(releases):
    do(releases, "passed", "step", "step", tag="one")
    now = do(releases, "operator_promote", tag="two")
    assert (now.tag, now.previous) == ("two.shadow", "one.step-1")
    now = do(releases, "step")
    assert (now.tag, now.previous) == ("two.small-live", "one.step-1")
    assert model_state(releases, "one") is State.CANDIDATE
    assert do(releases, "drawdown").tag == "one.step-1"
    assert model_state(releases, "two") is State.ROLLED_BACK
    assert state(releases).state is State.SCALED
    assert do(releases, "step").tag == "one.step-2"  # and it goes on where it was


# ---------------------------------------------------------------- down


@pytest.mark.parametrize("event", ["drawdown", "negative_day", "bad_record", "operator_rollback"])
def test_the_first_model_goes_back_to_its_own_shadow(releases, event):
    do(releases, "passed", "step", "step", tag="one")
    now = do(releases, event)
    assert (now.tag, now.stage, now.rolled_back, now.stopped) == ("one.shadow", "shadow", True, False)
    assert now.state is State.ROLLED_BACK
    for upward in ("passed", "step"):
        with pytest.raises(InputError, match="in state rolled_back"):
            do(releases, upward, tag="one")
    again = do(releases, "operator_promote", tag="one")
    assert (again.tag, again.stage, again.rolled_back, again.previous) == ("one.shadow-2", "shadow", False, None)
    assert do(releases, "step").previous == "one.shadow-2"


@pytest.mark.parametrize("event", ["drawdown", "negative_day", "bad_record"])
def test_with_nothing_to_go_back_to_everything_stops(releases, event):
    do(releases, "operator_small_live", tag="one")
    now = do(releases, event)
    assert (now.tag, now.stage, now.rolled_back, now.stopped) == ("one.shadow", "shadow", True, True)
    assert set(now.multipliers.values()) == {0.0}
    said = json.loads((releases / KILL_NAME).read_text())
    assert (said["event"], said["why"]) == (event, event)
    (releases / KILL_NAME).unlink()
    assert state(releases).multipliers[PAYS] == 0.0  # whoever takes KILL away has no release that trades


@pytest.mark.parametrize("spoil", ["gone", "damaged", "renamed"])
def test_a_release_to_go_back_to_that_cannot_be_used_stops_everything(releases, spoil):
    do(releases, "passed", "step", tag="one")
    if spoil == "gone":
        shutil.rmtree(releases / "one.shadow")
    elif spoil == "damaged":
        (releases / "one.shadow" / "model.onnx").write_bytes(b"")
    else:
        shutil.rmtree(releases / "one.shadow")
        shutil.copytree(releases / "two", releases / "one.shadow")
    with pytest.raises(InputError):
        do(releases, "operator_rollback")  # a person is told instead
    assert (served_tag(releases), (releases / KILL_NAME).exists()) == ("one.small-live", False)
    now = do(releases, "drawdown")
    assert (now.tag, now.stage, now.stopped) == ("one.shadow-2", "shadow", True)


def test_a_damaged_release_takes_no_step_and_can_be_taken_back(releases):
    do(releases, "passed", "step", tag="one")
    (releases / "one.small-live" / "buckets.csv").write_text("")
    with pytest.raises(InputError, match=r"buckets\.csv is not the file"):
        state(releases)
    with pytest.raises(InputError, match=r"one cannot be read.*Roll it back"):
        change(releases, "step", at_ns=9, why="grows", multipliers={PAYS: 0.4})
    assert do(releases, "operator_rollback").tag == "one.shadow"
    assert state(releases).rolled_back


def test_stop_stops_whatever_there_is_to_go_back_to(releases):
    do(releases, "passed", "step", tag="one")
    now = do(releases, "drawdown", stop=True)
    assert (now.tag, now.stopped) == ("one.shadow", True)


def test_kill_that_cannot_be_thrown_is_told_after_the_link_was_moved(releases, monkeypatch):
    do(releases, "passed", "step", tag="one")
    monkeypatch.setattr("runtime.release_change.throw", lambda *_: OSError(28, "No space left"))
    with pytest.raises(OSError, match="No space left"):
        do(releases, "drawdown", stop=True)
    assert served_tag(releases) == "one.shadow"


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("before", "event", "more", "says"),
    [
        ([], "step", {}, "step where nothing serves"),
        ([], "drawdown", {}, "drawdown where nothing serves"),
        ([], "operator_rollback", {}, "operator_rollback where nothing serves"),
        ([], "passed", {}, "passed without a tag"),
        ([], "passed", {"tag": "three"}, "no bundle at"),
        ([], "passed", {"tag": "../one"}, "the tag"),
        ([], "passed", {"tag": "current"}, "the tag"),
        ([], "passed", {"tag": 7}, "the tag 7"),
        ([], "jump", {}, "the event 'jump'"),
        ([], "passed", {"tag": "one", "at_ns": None}, "at_ns = None"),
        ([], "passed", {"tag": "one", "at_ns": True}, "at_ns = True"),
        ([], "passed", {"tag": "one", "at_ns": -1}, "at_ns = -1"),
        ([], "passed", {"tag": "one", "at_ns": 2**63}, "at_ns = 9223372036854775808"),
        (["passed"], "passed", {"tag": "one"}, "passed for one, which is in state shadow"),
        (["passed"], "drawdown", {}, "in state shadow"),
        (["passed"], "operator_rollback", {}, "no bundle was served before one.shadow"),
        (["passed"], "step", {"tag": "two"}, "step for two, while one.shadow serves"),
        (["passed"], "step", {"multipliers": {PAYS: 0.4}}, "the multiplier 0.4"),
        (["passed"], "step", {"multipliers": {PAYS: 0.0}}, "none of whose 3 buckets"),
        (["passed", "step"], "step", {}, "a step without multipliers"),
        (["passed", "step"], "step", {"multipliers": {PAYS: 0.6}}, "the multiplier 0.6"),
        (["passed", "step"], "step", {"multipliers": {NOT: 0.2}}, "0 to 0"),
        (["passed", "step"], "passed", {"tag": "two"}, "passed for two, while one.small-live trades"),
        (["passed", "step"], "operator_promote", {"tag": "one"}, "in state small_live"),
        (["passed", "step"], "drawdown", {"tag": "two"}, "drawdown for two, while one.small-live serves"),
    ],
)
def test_what_is_refused_changes_nothing(releases, before, event, more, says):
    if before:
        do(releases, *before, tag="one")
    kept = contents(releases)
    with pytest.raises(InputError, match=says):
        change(releases, event, **{"at_ns": 99, "why": "no"} | more)
    assert contents(releases) == kept


def test_a_model_without_a_bucket_that_pays_stays_in_the_shadow(tmp_path):
    releases = candidates(tmp_path, "poor", buckets=buckets_csv({str(PAYS): 0.0, str(PARENT): 0.0}))
    do(releases, "passed", tag="poor")
    for event, tag in (("step", None), ("operator_promote", "poor"), ("operator_small_live", "poor")):
        with pytest.raises(InputError, match="none of whose 2 buckets was found to pay"):
            change(releases, event, at_ns=5, why="", tag=tag)


@pytest.mark.parametrize(
    ("buckets", "says"),
    [("bucket,n\n", "holds no judged bucket"), ("fee_tier,n\n", "without the columns")],
    ids=["trained by itself", "damaged"],
)
def test_a_candidate_without_judged_buckets_is_not_rolled_out(tmp_path, buckets, says):
    releases = candidates(tmp_path, "bad", buckets=buckets)
    with pytest.raises(InputError, match=rf"bad/buckets\.csv {says}"):
        do(releases, "passed", tag="bad")
    assert not (releases / "current").exists()


def test_a_folder_named_otherwise_than_its_tag(releases):
    (releases / "one").rename(releases / "renamed")
    with pytest.raises(InputError, match="a folder named as its tag"):
        do(releases, "passed", tag="renamed")


def test_current_that_is_no_link(releases):
    (releases / "current").mkdir()
    for asked in (lambda: state(releases), lambda: do(releases, "passed", tag="one")):
        with pytest.raises(InputError, match="is no link"):
            asked()


def test_no_folder_at_all(tmp_path):
    with pytest.raises(InputError, match="no folder"):
        change(tmp_path / "none", "passed", tag="one", at_ns=1, why="")
    assert state(tmp_path / "none") is None


# ---------------------------------------------------------------- the history


def test_each_change_is_a_line(releases):
    do(releases, "passed", "step", tag="one")
    do(releases, "negative_day")
    told = [(x["event"], x["previous"], x["previous_stage"], x["tag"], x["stage"], x["by"]) for x in lines(releases)]
    assert told == [
        ("passed", None, None, "one.shadow", "shadow", "ladder"),
        ("step", "one.shadow", "shadow", "one.small-live", "small_live", "ladder"),
        ("negative_day", "one.small-live", "small_live", "one.shadow", "shadow", "account watch"),
    ]
    assert [x["at_ns"] for x in lines(releases)] == [1, 2, 3]
    assert [x["rolled_back"] for x in lines(releases)] == [None, None, "one"]
    do(releases, "operator_promote", tag="one")
    assert lines(releases)[-1]["by"] == "operator"


def cut_after_the_link(releases, monkeypatch, event, **more):
    """The change, by a process that dies before its line."""

    class Died(BaseException):
        pass

    def die(*_, **__):
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr("runtime.release_change.note", die)
        with pytest.raises(Died):
            do(releases, event, **more)


@pytest.mark.parametrize("who", ["reader", "writer"])
def test_the_next_one_adds_the_line_that_is_missing(releases, monkeypatch, who):
    do(releases, "passed", tag="one")
    cut_after_the_link(releases, monkeypatch, "step")
    assert len(lines(releases)) == 1
    if who == "reader":
        assert state(releases).tag == "one.small-live"
        assert state(releases).tag == "one.small-live"  # once
    else:
        change(releases, "step", at_ns=9, why="", multipliers={PAYS: 0.4})
    last = lines(releases)[1]
    assert (last["event"], last["previous"], last["tag"], last["at_ns"]) == (
        "recovered", "one.shadow", "one.small-live", 2
    )  # fmt: skip
    assert len(lines(releases)) == (2 if who == "reader" else 3)


@pytest.mark.parametrize("ways", ["own shadow", "another", "stop"])
def test_a_rollback_without_its_line_is_still_one(releases, monkeypatch, ways):
    """Else the nightly run would roll out again what an account watch has just taken back."""
    if ways == "stop":
        do(releases, "operator_small_live", tag="one")
        model = "one"
    else:
        do(releases, "passed", "step", tag="one")
        model = "one"
    if ways == "another":
        do(releases, "operator_small_live", tag="two")
        model = "two"
    cut_after_the_link(releases, monkeypatch, "drawdown")
    state(releases)
    assert lines(releases)[-1]["rolled_back"] == model
    assert model_state(releases, model) is State.ROLLED_BACK


def test_a_promotion_without_its_line_is_no_rollback(releases, monkeypatch):
    do(releases, "passed", "step", tag="one")
    cut_after_the_link(releases, monkeypatch, "operator_promote", tag="two")
    assert state(releases).tag == "two.shadow"
    assert lines(releases)[-1]["rolled_back"] is None


@pytest.mark.parametrize("keep", [1, 40, -1])
def test_half_a_line_at_the_end_is_mended(releases, keep):
    do(releases, "passed", "step", tag="one")
    file = releases / "history.jsonl"
    first, second = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(first + second[:keep])
    assert read_history(releases).torn
    assert state(releases).tag == "one.small-live"
    found = lines(releases)
    assert [x["event"] for x in found] == ["passed", "step" if keep == -1 else "recovered"]
    assert not read_history(releases).torn


def test_a_line_that_cannot_be_read_stops_the_way_up_by_itself(releases):
    do(releases, "passed", "step", tag="one")
    file = releases / "history.jsonl"
    first, second = file.read_text().splitlines()
    file.write_text(f"{first}\nnot a line\n[]\n{second}\n")
    assert state(releases).tag == "one.small-live"
    with pytest.raises(InputError, match="2 lines that cannot be read"):
        do(releases, "step")
    assert do(releases, "drawdown").tag == "one.shadow"


def test_lines_of_earlier_versions_are_read(releases):
    old = {"tag": "gone", "previous": None, "manifest_sha256": "0" * 64, "at_ns": None, "why": "by hand"}
    (releases / "history.jsonl").write_text(json.dumps(old) + "\n")
    assert change(releases, "passed", tag="one", at_ns=1, why="").tag == "one.shadow"
    assert [x.get("event") for x in lines(releases)] == [None, "passed"]


def test_a_link_made_by_hand_is_noted(releases):
    serve(releases, "one")
    now = state(releases)
    assert (now.tag, now.stage, now.state, now.multipliers) == ("one", "candidate", State.CANDIDATE, {})
    assert lines(releases)[-1]["event"] == "recovered"
    assert change(releases, "operator_promote", tag="two", at_ns=1, why="").previous == "one"


def test_what_a_killed_change_left_is_cleared_away_and_nothing_else(releases):
    mine = releases / ".one.shadow.k2j_x9ab"
    others = [releases / ".one.k2j_x9ab", releases / ".cache", releases / "one.shadow.k2j_x9ab"]
    for folder in (mine, *others):
        folder.mkdir()
    do(releases, "passed", tag="one")
    assert not mine.exists()
    assert all(folder.is_dir() for folder in others)


def test_a_folder_that_was_written_and_never_served_is_written_over(releases):
    other = bundle_folder(releases, "one.shadow", of={"rollout": None}, bias=9.0)
    model = (other / "model.onnx").read_bytes()
    now = do(releases, "passed", tag="one")
    assert now.tag == "one.shadow"
    assert (other / "model.onnx").read_bytes() != model


def test_two_at_once_wait_for_each_other(releases):
    """Of six promotions at the same time one is made, and the others are told what has become of it."""
    ready, said = threading.Barrier(6), []

    def promote(k):
        ready.wait()
        try:
            said.append(change(releases, "passed", tag="one", at_ns=k, why="").tag)
        except InputError as e:
            said.append(e.got)

    threads = [threading.Thread(target=promote, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(said) == ["one.shadow"] + ["passed for one, which is in state shadow"] * 5
    assert len(lines(releases)) == 1
