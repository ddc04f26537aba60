"""A user's entries from the command line: all the way to the report, or one clear refusal with nothing half-written."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from feature_repo.constants import SECOND_NS, WINDOW_NS
from feature_repo.market.tape import open_tape
from meta_models.label_io import labels_from_parquet
from runtime.candidate import SigType, Tier
from runtime.entries import read_entries
from tests.flows.conftest import ROOT, Run, ofi_meta, shadow

pytestmark = pytest.mark.slow

START = pd.Timestamp("2026-01-05", tz="UTC").value
COUNT = 150


def strategy() -> pd.DataFrame:
    """Another strategy: an entry every 23 s of the simulated hour, of each type and side, at a round price."""
    n = np.arange(COUNT)
    return pd.DataFrame(
        {
            "ts_ns": START + 20 * SECOND_NS + n * 23 * SECOND_NS + n * 7_654_321,
            "side": np.where(n % 3, "buy", "sell"),
            "sig_type": [SigType(i % 5).name.lower() for i in n],
            "price": 3500.0,
            "exp_reward_bps": np.where(n % 2, 40.0, np.nan),
        }
    )


@pytest.fixture(scope="module")
def entries(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("mine") / "entries.csv"
    strategy().to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def ran(tmp_path_factory, entries) -> Run:
    folder = tmp_path_factory.mktemp("own")
    options = ("--hours", "1", "--folds", "2", "--fee-tier", "vip9", "--model", "logistic")
    return shadow(folder, *options, "--candidates", str(entries))


@pytest.mark.long
def test_every_entry_is_labelled_at_the_window_that_ends_at_or_after_it(ran):
    file = labels_from_parquet(ran.data / "labels" / "simulated" / "ETHUSDT-SIM.parquet")
    mine = strategy()
    assert [c.ts_ns for c in file.candidates] == [-(-ts // WINDOW_NS) * WINDOW_NS for ts in mine["ts_ns"]]
    assert [c.side for c in file.candidates] == mine["side"].map({"buy": 1, "sell": -1}).tolist()
    assert [c.sig_type.name.lower() for c in file.candidates] == mine["sig_type"].tolist()
    assert {c.price for c in file.candidates} == {3500.0}
    assert {c.tier for c in file.candidates} == {Tier.A}
    given = mine["exp_reward_bps"].notna().to_numpy()
    assert {c.exp_reward_bps for c, was in zip(file.candidates, given, strict=True) if was} == {40.0}
    assert len({c.exp_reward_bps for c, was in zip(file.candidates, given, strict=True) if not was}) > 10
    assert (file.labels["y"] >= 0).mean() > 0.5


@pytest.mark.long
def test_the_report_judges_these_entries_in_every_profile(ran):
    metrics = json.loads((ran.out / "metrics.json").read_text())
    guards = [arm for arm in metrics["matrix"] if not arm["model"]]
    assert {arm["profile"] for arm in guards} >= set("ABC")
    assert {arm["candidates"] for arm in guards} == {COUNT}
    assert max(arm["allowed"] for arm in guards) > 0
    assert metrics["simulated"] is True
    by_type = {row["sig_type"]: row["candidates"] for row in metrics["funnel"][0]["rows"]}
    assert {t: by_type[t] for t in strategy()["sig_type"]} == dict(Counter(strategy()["sig_type"]))


@pytest.mark.long
def test_label_takes_entries_too(ran, entries, tmp_path):
    (tape,), (features,) = ((ran.data / kind / "simulated").iterdir() for kind in ("tape", "features"))
    environment = {**os.environ, "OFI_META_DATA": str(tmp_path / "data")}
    command = ("label", str(tape), "--features", str(features), "--candidates", str(entries))
    done = ofi_meta(*command, environment=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    file = labels_from_parquet(Path(done.stdout.strip().splitlines()[-1]))
    of_the_run = labels_from_parquet(ran.data / "labels" / "simulated" / f"{tape.name}.parquet")
    assert [repr(c) for c in file.candidates] == [repr(c) for c in of_the_run.candidates]


@pytest.mark.long
@pytest.mark.parametrize("command", ["shadow", "label"])
def test_entries_outside_a_tape_of_ones_own_leave_everything_as_it_was(ran, tmp_path, command):
    (tape,), (features,) = ((ran.data / kind / "simulated").iterdir() for kind in ("tape", "features"))
    late = strategy().iloc[:3]
    late.loc[2, "ts_ns"] = open_tape(tape).span_ns[1] + 1
    late.to_parquet(tmp_path / "late.parquet", index=False)
    (labels,) = (ran.data / "labels" / "simulated").iterdir()
    before = labels.read_bytes()
    arguments = {
        "shadow": ("--tape", str(tape), "--out", "out", "--releases", "releases", "--models", "models"),
        "label": (str(tape), "--features", str(features)),
    }[command]
    done = ofi_meta(command, *arguments, "--candidates", "late.parquet", environment=ran.environment(), cwd=tmp_path)
    said = " ".join(done.stderr.split())
    assert done.returncode == 2, said
    assert "Traceback" not in said
    assert "1 of 3 entries cannot be used row 3: 2026-01-05 0" in said
    assert "is after the end of the tape" in said
    assert labels.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["late.parquet"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no file entries.csv"),
        ("timestamp,side,sig_type,price\n1,1,momentum,3500\n", "unknown column 'timestamp' (ts_ns?)"),
        (f"ts_ns,side,sig_type,price\n{START + 1},1,momentum,3500\n{START + 2},0,momentum,-1\n", "line 3: side '0'"),
        (f"ts_ns,side,sig_type,price\n{START - 1},1,momentum,3500\n", "line 2: 2026-01-04 23:59:59.999 is before the"),
    ],
    ids=["missing", "columns", "lines", "outside the simulated tape"],
)
def test_a_bad_file_is_one_refusal_before_anything_is_made(tmp_path, content, says):
    if content is not None:
        (tmp_path / "entries.csv").write_text(content)
    before = sorted(tmp_path.iterdir())
    environment = {**os.environ, "OFI_META_DATA": str(tmp_path / "data")}
    done = ofi_meta("shadow", "--hours", "1", "--candidates", "entries.csv", environment=environment, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert says in done.stderr
    assert done.stdout == ""  # no stage began, no server started
    assert sorted(tmp_path.iterdir()) == before


def test_make_hands_the_file_on():
    command = ["make", "-n", "shadow", "TAPE=a b.gz", "CANDIDATES=my entries.csv", "ORDER_LATENCY=tape"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert '--candidates "my entries.csv"' in said
    assert "--order-latency tape" in said
    assert "--candidates" not in subprocess.run(command[:3], cwd=ROOT, capture_output=True, text=True).stdout


def test_the_example_of_the_page_gives_a_file_that_is_read(tmp_path, monkeypatch):
    page = (ROOT / "docs" / "own-strategy.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "own-strategy.md", "exec"), {})
    got = [
        (r.ts_ns - START, r.side, r.sig_type.name, r.price, r.exp_reward_bps)
        for r in read_entries(Path("entries.parquet")).rows
    ]
    minute = 60 * SECOND_NS
    assert got == [
        (20 * minute + 125_000_000, 1, "MOMENTUM", 3500.10, 25.0),
        (31 * minute + 7_400_000_000, -1, "DIVERGENCE", 3501.55, None),
        (52 * minute + 59_900_000_000, 1, "RECLAIM", 3498.20, 18.0),
    ]
