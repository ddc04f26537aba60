"""`ofi-meta honesty`: what is run, what is kept, what is done again, and the short form from tapes to table."""

from __future__ import annotations

import ast
import fcntl
import json
import sys
import threading
import time
from pathlib import Path

import pytest

from feature_repo.errors import InputError
from flows import honesty, honesty_plan, honesty_run
from flows.honesty_plan import FIRST_SEED, RunPlan, arguments_of, plan_runs, sources
from reports.honesty import summarise
from reports.honesty_record import HonestRun
from tests.reports.make_honesty import CLAIM, arm
from tests.reports.make_honesty import run as made_run

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
TINY = {"seeds": 2, "candidates": 1_000, "models": ("logistic",), "folds": 2}
NAMES = ["edge0-seed601", "edge1-seed601", "edge0-seed602", "edge1-seed602"]


class Made:
    """Stands in for the processes: writes a made-up result at once, or does what a test wants of a run."""

    def __init__(self, **instead):
        self.asked: list[str] = []
        self.instead = instead

    def __call__(self, chunk, folder, code, children):
        for plan in chunk:
            self.asked.append(plan.name)
            if plan.name in self.instead:
                return self.instead[plan.name]()
            write(folder, plan.edge, plan.seed)
        return ["nothing to say"]


def write(folder, edge, seed):
    made = made_run(edge, seed, CLAIM if edge else arm())
    (folder / f"edge{edge:g}-seed{seed}.json").write_text(json.dumps(made.to_dict()))


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Call the command with made-up runs; its data and outputs below the test's folder."""
    monkeypatch.setenv("OFI_META_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(honesty, "code_version", lambda: "c0de")

    def go(stand_in, **more):
        monkeypatch.setattr(honesty, "_one", stand_in)
        return honesty.run(**(TINY | {"workers": 1, "out": tmp_path / "out"} | more))

    return go


@pytest.fixture
def kept(tmp_path):
    return lambda: sorted(p.stem for p in (tmp_path / "data" / "honesty").rglob("*.json"))


def _summary(tmp_path):
    return json.loads((tmp_path / "out" / "honesty.json").read_text())


# --- going on


def test_every_seed_is_run_on_both_edges(call, tmp_path):
    made = Made()
    assert call(made) == 0
    assert made.asked == NAMES
    (row,) = _summary(tmp_path)["claims"]
    assert [row[e]["hits"] for e in ("edge_0", "edge_1")] == [0, 2]


def test_a_call_that_was_ended_is_taken_up_where_it_ended(call, tmp_path, kept):
    def end():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        call(Made(**{NAMES[2]: end}))
    there = kept()
    assert {NAMES[0], NAMES[1]} <= set(there)
    assert NAMES[2] not in there
    again = Made()
    assert call(again) == 0
    assert again.asked == [name for name in NAMES if name not in there]
    assert _summary(tmp_path)["runs"]["done"] == 4


def test_a_second_call_runs_nothing_and_says_the_same(call, tmp_path):
    call(Made())
    first = (tmp_path / "out" / "honesty.json").read_bytes()
    again = Made()
    assert call(again) == 0
    assert again.asked == []
    assert (tmp_path / "out" / "honesty.json").read_bytes() == first


def test_more_seeds_keep_those_that_are_there(call):
    call(Made())
    more = Made()
    call(more, seeds=3)
    assert more.asked == ["edge0-seed603", "edge1-seed603"]


@pytest.mark.parametrize("change", [{"candidates": 1_001}, {"folds": 3}])
def test_another_plan_starts_anew(call, change):
    call(Made())
    other = Made()
    call(other, **change)
    assert other.asked == NAMES


def test_another_code_starts_anew(call, monkeypatch):
    call(Made())
    monkeypatch.setattr(honesty, "code_version", lambda: "other")
    other = Made()
    call(other)
    assert other.asked == NAMES


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: text.replace('"seed": 602', '"seed": 601'),
        lambda text: text.replace('"claim": false', '"claim": true'),
    ],
)
def test_a_damaged_result_is_said_and_run_again(call, tmp_path, capsys, damage):
    call(Made())
    (path,) = (tmp_path / "data").rglob("edge0-seed602.json")
    path.write_text(damage(path.read_text()))
    again = Made()
    assert call(again) == 0
    assert again.asked == ["edge0-seed602"]
    assert "damaged" in capsys.readouterr().err
    assert _summary(tmp_path)["runs"]["done"] == 4


# --- what fails


def test_a_failed_run_is_told_and_does_not_stop_the_others(call, tmp_path, capsys):
    made = Made(**{NAMES[1]: lambda: ["Traceback", "ValueError: [seven]"]})
    assert call(made) == 1
    assert made.asked == NAMES
    said = capsys.readouterr()
    assert f"failed {NAMES[1]}" in said.err
    assert "ValueError: [seven]" in said.err
    assert "3 of 4 runs" in said.out
    assert _summary(tmp_path)["failed"] == [NAMES[1]]


def test_when_all_fail_there_is_no_table(call, tmp_path):
    with pytest.raises(InputError, match="all 4 runs failed"):
        call(Made(**dict.fromkeys(NAMES, lambda: ["no"])))
    assert not (tmp_path / "out" / "honesty.json").exists()


def test_two_calls_do_not_work_on_the_same_runs(call, tmp_path):
    call(Made())
    (folder,) = (tmp_path / "data" / "honesty").iterdir()
    with (folder / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another call at work"):
            call(Made())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"seeds": 0}, "0 seeds"),
        ({"seeds": -1}, "-1 seeds"),
        ({"candidates": 99}, "99 candidates"),
        ({"folds": 0}, "0 folds"),
        ({"workers": 0}, "0 workers"),
        ({"models": ("gbm",)}, "models 'gbm'.*logistic"),
        ({"models": ()}, "models 'none'"),
        ({"models": ("logistic", "logistic")}, "each once"),
        ({"docs": Path("no-such-page.md")}, "no-such-page.md"),
        ({"out": Path(__file__)}, "is a file"),
    ],
)
def test_bad_input_is_one_sentence_before_any_run(call, kept, given, said):
    made = Made()
    with pytest.raises(InputError, match=said):
        call(made, **given)
    assert made.asked == kept() == []


# --- processes


def test_ending_takes_what_a_run_started_along_and_lets_nothing_start(tmp_path):
    children = honesty._Children()
    nested = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; print(1); time.sleep(60)'])"
    codes = []
    log = tmp_path / "log"
    worker = threading.Thread(target=lambda: codes.append(children.run([sys.executable, "-uc", nested], {}, log)))
    worker.start()
    while not (log.exists() and children.alive):
        time.sleep(0.01)
    (child,) = children.alive
    children.end()
    worker.join(20)
    assert codes == [-9]
    assert child.poll() == -9
    assert children.run([sys.executable, "-c", "print(1)"], {}, tmp_path / "later") < 0
    assert (tmp_path / "later").read_bytes() == b""


def test_a_run_ends_with_the_call_that_started_it(monkeypatch):
    ended = []
    monkeypatch.setattr(honesty_run.os, "_exit", ended.append)
    honesty_run._end_with(-1)
    assert ended == [1]


def _run(tmp_path, **more):
    told = {"edge": 0, "seed": 601, "candidates": 1_000, "models": "logistic", "folds": 2} | more
    told |= {"out": tmp_path / "out", "scratch": tmp_path / "scratch"}
    return honesty_run.main([text for name, value in told.items() for text in (f"--{name}", str(value))])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"models": "gbm"}, "models 'gbm'"),
        ({"edge": 0.5}, "edge 0.5"),
        ({"seed": "-3"}, "seed '-3'"),
        ({"seed": "x"}, "seed 'x'"),
        ({"seed": 2**31}, "seed 2147483648. Expected an integer from 0 on"),
        ({"spread": 0}, "a spread of 0. Expected 1 to 20"),
        ({"spread": 21}, "a spread of 21. Expected 1 to 20"),
        ({"code": "older"}, "code that was changed"),
    ],
)
def test_a_run_refuses_what_it_cannot_use(tmp_path, capsys, given, said):
    assert _run(tmp_path, **given) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_tape_with_too_few_candidates_is_refused_and_leaves_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("OFI_META_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(RunPlan, "hours", property(lambda _: 0.5))
    assert _run(tmp_path) == 2
    assert "candidates on 0.5 simulated hours" in capsys.readouterr().err
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_run_without_a_model_is_refused_and_leaves_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("OFI_META_DATA", str(tmp_path / "data"))
    assert _run(tmp_path, candidates=100, spread=1, folds=20) == 2
    assert "Expected at least one fold with a model. Ask for more candidates or fewer" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# --- plans and keys


def test_the_seeds_are_none_that_a_default_was_chosen_on():
    seeds = {plan.seed for plan in plan_runs(20, 3_000, ("tcn", "logistic"), 3)}
    assert seeds == set(range(601, 621))
    assert FIRST_SEED > 100


def test_a_run_reads_its_own_arguments(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(honesty_run, "_keep", lambda plan, *_: asked.append(plan))
    chunk = [p for p in plan_runs(2, 1_000, ("tcn", "logistic"), 3) if p.edge == 1.0]
    honesty_run.main([*arguments_of(chunk), "--out", str(tmp_path), "--scratch", str(tmp_path)])
    assert asked == chunk


def test_the_key_misses_no_file_that_a_run_imports():
    # What is imported by way of a package's __init__ would be missed; the other packages are taken whole.
    files = sources()
    assert {ROOT / "flows" / "cells.py", ROOT / "reports" / "arm_stats.py"} <= set(files)
    for file in files:
        if file.parent.name not in ("flows", "reports"):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                assert not {a.name.split(".")[0] for a in node.names} & {"flows", "reports"}, file
            if isinstance(node, ast.ImportFrom):
                folder = file.parents[node.level - 1] if node.level else ROOT
                package = folder.joinpath(*(node.module or "").split("."))
                if package.is_dir() and package.is_relative_to(ROOT) and package.name != "meta_models":
                    assert all((package / f"{a.name}.py") in files for a in node.names), (file, package)


def test_a_face_of_the_report_is_no_part_of_the_key():
    assert ROOT / "reports" / "honesty_faces.py" not in sources()


def test_the_code_version_is_that_of_the_text(tmp_path, monkeypatch):
    file = tmp_path / "a.py"
    monkeypatch.setattr(honesty_plan, "_ROOT", tmp_path)
    monkeypatch.setattr(honesty_plan, "sources", lambda: [file])
    seen = []
    for text in ("x = 1", "x = 2", "x = 1"):
        file.write_text(text)
        seen.append(honesty_plan.code_version())
    assert seen[0] == seen[2] != seen[1]


# --- the short form, for real


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """Three seeds of each edge, from simulated tapes to the table."""
    folder = tmp_path_factory.mktemp("honest")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OFI_META_DATA", str(folder / "data"))
        assert honesty.run(short=True, out=folder / "out") == 0
    (runs,) = (folder / "data" / "honesty").iterdir()
    return folder, runs


def test_the_short_form_keeps_a_result_a_run_and_nothing_else(short):
    folder, runs = short
    wanted = {f"edge{edge}-seed{seed}.json" for edge in (0, 1) for seed in (601, 602, 603)}
    assert {p.name for p in runs.iterdir()} == wanted | {".lock"}
    assert [p.name for p in (folder / "data").iterdir()] == ["honesty"]


def test_the_short_table_is_that_of_its_results(short):
    folder, runs = short
    told = json.loads((folder / "out" / "honesty-short.json").read_text())
    found = [HonestRun.from_dict(json.loads(p.read_text())) for p in runs.glob("*.json")]
    assert told | summarise(found) == told
    counted = {0.0: 0, 1.0: 0}
    for row in told["intervals"]:
        assert row["claim"] == ((row["difference"][1] or 0) > 0 and (row["model_mean"][1] or 0) > 0)
        if (row["fee_tier"], row["exit"]) == ("regular", "label"):
            counted[row["edge"]] += row["claim"]
    (deciding,) = [r for r in told["claims"] if r["decides"]]
    assert {0.0: deciding["edge_0"]["hits"], 1.0: deciding["edge_1"]["hits"]} == counted
    assert deciding["edge_0"]["met"] is deciding["edge_1"]["met"] is None  # three runs judge nothing


def test_short_runs_hold_what_they_were_asked_for(short):
    for path in short[1].glob("*.json"):
        run = HonestRun.from_dict(json.loads(path.read_text()))
        (model,) = run.models.values()
        assert set(model.arms) == {(t, e) for t in ("regular", "vip9") for e in ("label", "runner")}
        assert 200 < len(model.y) <= model.candidates < 550  # two of three blocks; the first may have no model
        assert len(set(model.p)) > 20
        regular, vip9 = (model.arms[tier, "label"] for tier in ("regular", "vip9"))
        assert regular.n == vip9.n <= model.candidates
        assert regular.n_none <= vip9.n_none  # lower fees let no fewer through the EV gate
        assert all(d.n_model <= d.n_none for d in model.arms.values())  # the model only ever denies
