"""The bench's account: schema, judgement, page. Nothing here is timed."""

from __future__ import annotations

import gzip
import json
import time
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from feature_repo.errors import InputError

from . import data, harness
from .__main__ import FILES, main
from .harness import Bench, in_process, load, measured, merge, not_measured, save
from .render import figure, markdown

KEYS = ["name", "ours", "unit", "peer_name", "peer", "ratio", "goal", "met", "how"]
ROWS = [
    Bench("a: fast", 250_000.4, "lines/s", "theirs", 100_000.0, 2.5, "ratio >= 2", True, "this way"),
    Bench("a: size", 13.25, "bytes", None, None, None, "ours <= 12", False, "that way"),
    Bench("b", None, "events/s", None, None, None, "ours >= 2000000", None, "not measured: no data"),
    Bench("b: floor", 1_500_000.0, "events/s", None, None, None, None, None, "for information"),
]
TABLE = """\
| what | ours | peer | ratio | goal | |
| --- | --- | --- | --- | --- | --- |
| a: fast | 250,000 lines/s | 100,000 (theirs) | 2.50 | ratio >= 2 | PASS |
| a: size | 13.2 bytes | - | - | <= 12 | FAIL |
| b | - | - | - | >= 2,000,000 | N/A |
| b: floor | 1,500,000 events/s | - | - | - |  |

## How each was measured

- **a: fast**: this way.
- **a: size**: that way.
- **b**: not measured: no data.
- **b: floor**: for information.
"""


def test_the_file_is_a_list_of_the_documented_fields(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    save(ROWS, path)
    rows = json.loads(path.read_text())
    assert [list(r) for r in rows] == [KEYS] * len(ROWS)
    assert load(path) == ROWS
    assert [p.name for p in tmp_path.iterdir()] == ["bench.json"]


@pytest.mark.parametrize("text", ["", "{}", '[{"name": "a"}]', "[1]"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bench.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"bench\.json"):
        load(path)
    assert main(["--render", "--out", str(path), "--docs", str(tmp_path / "page.md")]) == 2
    assert not (tmp_path / "page.md").exists()


def test_the_page_is_the_rendering_of_the_file(tmp_path: Path) -> None:
    save(ROWS, tmp_path / "bench.json")
    page = tmp_path / "benchmarks.md"
    assert main(["--render", "--out", str(tmp_path / "bench.json"), "--docs", str(page)]) == 0
    assert page.read_text() == markdown(ROWS)
    assert page.read_text().endswith(TABLE)


@pytest.mark.parametrize(
    ("goal", "ours", "peer", "met"),
    [
        ("ratio >= 2", 4.0, 2.0, True),
        ("ratio >= 2", 3.9, 2.0, False),
        ("ratio <= 1.2", 12.0, 10.0, True),
        ("ratio <= 1.2", 12.1, 10.0, False),
        ("ratio >= 2", 4.0, None, False),
        ("ours >= 2000000", 2_000_000.0, None, True),
        ("ours <= 12", 12.01, 1.0, False),
        ("ours >= 1", float("nan"), None, False),
        (None, 1.0, 1.0, None),
    ],
)
def test_a_goal_is_judged(goal: str | None, ours: float, peer: float | None, met: bool | None) -> None:
    row = measured("x", ours, "s", how="so", peer_name="p", peer=peer, goal=goal)
    assert row.met is met
    assert row.ratio == (None if peer is None else ours / peer)


def test_a_goal_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(ValueError, match="goal"):
        measured("x", 1.0, "s", how="so", goal="fast")


def test_a_part_run_again_takes_the_place_of_its_rows() -> None:
    new = [Bench("b", 3.0, "events/s", None, None, None, None, None, "now"), not_measured("c", "s", "no")]
    assert merge(ROWS, new) == [ROWS[0], ROWS[1], new[0], ROWS[3], new[1]]


def test_waiting_is_no_work() -> None:
    (slept,) = harness.alternate([lambda: time.sleep(0.05)], rounds=1, warm=False)
    assert slept.wall_s >= 0.05 > slept.cpu_s


def test_small_and_large_figures() -> None:
    assert [figure(x, "s") for x in (None, 0.12345, 5.0, 999.6, 1_234.5)] == [
        "-",
        "0.123 s",
        "5 s",
        "1,000 s",
        "1,234 s",
    ]


def test_a_measurement_runs_in_a_process_bound_to_its_cpus() -> None:
    assert in_process("harness:machine").startswith("1 CPUs, ")


@pytest.mark.slow
def test_the_peak_is_of_the_process_itself() -> None:
    held = np.ones(50_000_000)  # 400 MB here, which getrusage would pass on to the child
    assert held.sum() > 0
    assert in_process("harness:peak_mib") < 350 < harness.peak_mib()


def test_sides_take_turns() -> None:
    seen: list[str] = []
    best = harness.alternate([lambda: seen.append("a"), lambda: seen.append("b")], rounds=2)
    assert seen == ["a", "b"] * 3
    assert all(took.wall_s >= 0 and took.cpu_s >= 0 for took in best)


def test_a_bench_that_breaks_does_not_take_the_others_along(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    one, two = import_module("tests.bench.bench_engine"), import_module("tests.bench.bench_tape")
    monkeypatch.setattr(one, "run", lambda: in_process("harness:load", tmp_path / "none"))
    monkeypatch.setattr(two, "run", lambda: ROWS[:1])
    out, page = tmp_path / "bench.json", tmp_path / "page.md"
    arguments = ["--only", "engine", "--only", "tape", "--out", str(out), "--docs", str(page)]
    assert main(arguments) == 1
    assert load(out) == ROWS[:1]
    assert "broke" in capfd.readouterr().err


@pytest.mark.parametrize("name", FILES)
def test_every_bench_says_what_it_lacks(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bench = import_module(f"tests.bench.bench_{name}")
    if not hasattr(bench, "ETHUSDT"):
        pytest.skip("needs no recording")
    monkeypatch.setattr(bench, "ETHUSDT", tmp_path / "none")
    rows = bench.run()
    assert rows
    assert all(r.ours is None and r.met is None and data.WHY_NOT in r.how for r in rows)
    assert all(r.name.partition(":")[0] == name for r in rows)


@pytest.mark.slow
@pytest.mark.skipif(not data.ETHUSDT.is_dir(), reason=data.WHY_NOT)
def test_a_longer_recording_is_the_real_one_again_and_again(tmp_path: Path) -> None:
    lines = data.make_recording(tmp_path / "two.gz", 2, level=1)
    text = gzip.decompress((tmp_path / "two.gz").read_bytes())
    real = b"".join(gzip.decompress(p.read_bytes()) for p in sorted(data.ETHUSDT.glob("*.gz")))
    assert text.count(b"\n") == lines == 2 * real.count(b"\n")
    assert text.startswith(real)
    first, again = json.loads(real.split(b"\n", 1)[0][20:])["data"], text[len(real) :].split(b"\n", 1)[0]
    last = json.loads([x for x in real.splitlines() if b"depthUpdate" in x][-1][20:])["data"]
    second = json.loads(again[20:])["data"]
    assert (second["b"], second["a"]) == (first["b"], first["a"])
    assert second["E"] > last["E"]
    # Later ids that leave some out: a reconnect, which the snapshot of the copy heals.
    assert second["pu"] > last["u"]
    assert second["u"] - second["pu"] == first["u"] - first["pu"]
    assert int(again[:19]) > int(real.splitlines()[-1][:19])
