"""``ofi-meta release``: list, promote and roll back by hand, as a person sees it."""

from __future__ import annotations

import json
import os

import pytest

from feature_repo.errors import InputError
from flows import release
from runtime.release_change import change
from runtime.release_history import read_history
from runtime.release_state import served_tag, state
from tests.flows.conftest import ofi_meta
from tests.runtime.release_folders import PAYS, candidates


@pytest.fixture
def releases(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "220")
    return candidates(tmp_path / "releases")


def said(capsys, command, *arguments, **more):
    command(*arguments, **more)
    return capsys.readouterr().out


def rows(text):
    """Cells of the printed table by tag."""
    cells = ([c.strip() for c in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│"))
    return {row[1]: row for row in cells}


def test_up_by_hand_and_back(releases, capsys):
    text = said(capsys, release.show, releases)
    assert "Nothing is served: `ofi-meta release promote <tag>` begins a roll-out." in text
    assert {tag: row[4] for tag, row in rows(text).items()} == {"one": "candidate", "two": "candidate"}

    text = said(capsys, release.promote, releases, "one", why="first")
    assert "current -> one.shadow (made from SIMULATED data)" in text
    assert "stage shadow: no order is allowed" in text
    text = said(capsys, release.promote, releases, "one", why="it pays")
    assert "stage small_live: up to 0.2 of the full size, by bucket" in text
    change(releases, "step", at_ns=10**18, why="grows", multipliers={PAYS: 0.4})

    text = said(capsys, release.show, releases)
    assert rows(text)["one.step-1"] == [
        "→", "one.step-1", "regular", "SIMULATED", "scaled", "0 to 0.4", ".shadow", "verified",
    ]  # fmt: skip
    assert rows(text)["one.shadow"][4:7] == ["shadow", "0", ""]
    assert "Last change: 2001-09-09 01:46:40 UTC, step by ladder: one.small-live -> one.step-1" in text
    assert "Why: grows" in text

    text = said(capsys, release.rollback, releases, why="I do not like it")
    assert "current -> one.shadow" in text
    text = said(capsys, release.show, releases)
    assert rows(text)["one.shadow"][4] == "shadow, rolled back"
    assert "operator_rollback by operator: one.step-1 -> one.shadow" in text
    assert read_history(releases).last["why"] == "I do not like it"


@pytest.mark.parametrize(
    ("steps", "stage", "ends"),
    [
        ([], None, "shadow"), ([], "shadow", "shadow"), ([], "small_live", "small_live"),
        (["shadow"], None, "small_live"), (["shadow"], "small_live", "small_live"),
    ],
)  # fmt: skip
def test_the_stage_that_was_asked_for(releases, capsys, steps, stage, ends):
    for before in steps:
        release.promote(releases, "one", stage=before, why="")
    release.promote(releases, "one", stage=stage, why="")
    assert state(releases).stage == ends


@pytest.mark.parametrize(
    ("steps", "stage", "says"),
    [
        ([], "scaled", "--stage scaled"),
        ([], "full", "--stage full"),
        (["shadow"], "shadow", "--stage shadow for one, whose model is in state shadow"),
        (["small_live"], "small_live", "whose model is in state small_live"),
        (["small_live"], "shadow", "release rollback` goes back"),
        (["small_live"], None, "operator_promote for one, which is in state small_live"),
    ],
)
def test_a_stage_that_does_not_come_next_is_refused(releases, steps, stage, says):
    for before in steps:
        release.promote(releases, "one", stage=before, why="")
    serving = served_tag(releases)
    with pytest.raises(InputError, match=says):
        release.promote(releases, "one", stage=stage, why="")
    assert served_tag(releases) == serving


def test_what_is_wrong_is_listed(releases, capsys):
    release.promote(releases, "one", why="")
    (releases / "two" / "model.onnx").write_bytes(b"")
    (releases / "one.shadow" / "buckets.csv").write_text("")
    with (releases / "history.jsonl").open("a") as file:
        file.write("nonsense\n")
    (releases / "KILL").touch()
    text = said(capsys, release.show, releases)
    assert "refused:" in rows(text)["two"][-1]
    assert rows(text)["one.shadow"][0] == "→"
    assert "refused:" in rows(text)["one.shadow"][-1]
    assert "STOPPED" in text
    assert "1 lines of history.jsonl cannot be read." in text


def test_a_folder_with_brackets_is_named_as_it_is(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "220")
    there = candidates(tmp_path / "data [old]")
    assert "data [old]/current -> one.shadow" in said(capsys, release.promote, there, "one", why="")
    (there / "two" / "model.onnx").unlink()
    text = said(capsys, release.show, there)
    assert text.count("data [old]") == 2  # the title, and what is wrong with two


def test_text_of_the_history_is_shown_as_text(releases, capsys):
    release.promote(releases, "one", why="[bold red]look[/] \x1b[31mhere")
    assert "Why: [bold red]look[/]  [31mhere" in said(capsys, release.show, releases)
    line = json.dumps({"tag": "one.shadow", "at_ns": 10**30, "event": 5, "why": None})
    (releases / "history.jsonl").write_text(line + "\n")
    text = said(capsys, release.show, releases)
    assert f"Last change: {10**30} ns, 5 by unknown: nothing -> one.shadow" in text
    assert "Why: not said" in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(("promote", "../one"), "the tag '../one'"), (("promote", "one", "--stage", "scaled"), "shadow or small_live")],
)
def test_a_refusal_is_a_sentence_and_exit_code_2(releases, arguments, says):
    done = ofi_meta("release", *arguments, environment=dict(os.environ), cwd=releases.parent)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert served_tag(releases) is None
