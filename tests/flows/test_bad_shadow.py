"""`ofi-meta shadow` on tapes that give nothing: it ends with reports and a NO-GO that says why, or with one sentence.

The command itself, in this process: Prefect's tasks are called as the functions they are, so that no server starts.
"""

from __future__ import annotations

import io
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prefect.tasks import Task

import flows.shadow
from feature_repo.events import (
    BUY,
    DEPTH_CLEAR,
    EVENT_DTYPE,
    EXCH,
    KIND_MASK,
    LOCAL,
    SELL,
    TRADE,
)
from feature_repo.fees import FEE_TIERS
from feature_repo.market.simulator import simulate_tape
from feature_repo.market.tape import Tape, write_stream
from flows.cli import main
from runtime.decision import Reason
from tests.runtime.shadow_tapes import calm

pytestmark = pytest.mark.slow  # hftbacktest compiles in every process

MS, S = 1_000_000, 1_000_000_000
PICTURES = ("bucket_ir", "calibration", "equity", "folds", "importance", "latency", "rejections", "sensitivity")
FILES = sorted(["buckets.csv", "index.html", "metrics.json", *(f"{name}.png" for name in PICTURES)])


def refuse_constant(name: str) -> None:
    raise AssertionError(f"metrics.json holds {name}, which is no JSON")


@dataclass(frozen=True)
class Ended:
    """How a run ended: the exit code, what a person read, and what lies in the folder of the reports."""

    code: int
    said: str
    out: Path

    @property
    def metrics(self) -> dict[str, Any]:
        """By a reader that takes no NaN and no infinity."""
        return json.loads((self.out / "metrics.json").read_text(), parse_constant=refuse_constant)

    @property
    def reasons(self) -> str:
        assert self.metrics["verdict"]["word"] == "NO-GO"
        return "\n".join(self.metrics["verdict"]["reasons"])

    @property
    def written(self) -> list[str]:
        return sorted(p.name for p in self.out.iterdir()) if self.out.exists() else []


@pytest.fixture(scope="module")
def directly():
    """The flow and its tasks as plain functions."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in list(vars(flows.shadow).items()):
            if isinstance(value, Task):
                patch.setattr(flows.shadow, name, value.fn)
        patch.setattr(flows.shadow, "create_markdown_artifact", lambda *_, **__: None)
        patch.setattr(flows.shadow, "shadow_flow", flows.shadow.shadow_flow.fn)
        yield patch


@pytest.fixture(scope="module")
def shadow(directly, tmp_path_factory):
    """Run the command on a tape folder; every output below a folder of its own."""

    def run(tape: Path, *more: str, root: Path | None = None) -> Ended:
        root = root or tmp_path_factory.mktemp("run")
        places = [f"--{name}={root / name}" for name in ("out", "releases", "models")]
        arguments = ["ofi-meta", "shadow", f"--tape={tape}", *places, "--folds=1", "--model=logistic", *more]
        directly.setenv("OFI_META_DATA", str(root / "data"))
        directly.setattr(sys, "argv", arguments)
        with pytest.MonkeyPatch.context() as patch, Said() as said:
            patch.setenv("COLUMNS", "300")
            with pytest.raises(SystemExit) as left:
                main()
        return Ended(left.value.code or 0, said.text, root / "out")

    return run


class Said:
    """What is printed meanwhile, to either stream; a fixture of the whole file cannot ask pytest's own for it."""

    def __enter__(self):
        self._kept, self._both = (sys.stdout, sys.stderr), io.StringIO()
        sys.stdout = sys.stderr = self._both
        return self

    def __exit__(self, *_):
        sys.stdout, sys.stderr = self._kept

    @property
    def text(self) -> str:
        return self._both.getvalue()


@pytest.fixture(scope="module")
def lively():
    """SIMULATED: half an hour with 200 candidates."""
    return simulate_tape(seed=3, hours=0.5).events


def first(events, seconds):
    return events[events["local_ts"] < events["local_ts"][0] + int(seconds * S)]


def without_asks(events, from_s, to_s):
    lo, hi = (int(events["local_ts"][0]) + s * S for s in (from_s, to_s))
    kind = events["ev"] & np.uint64(KIND_MASK)
    ask = (kind != TRADE) & ((events["ev"] & np.uint64(SELL)) > 0)
    kept = events[~(ask & (events["local_ts"] >= lo) & (events["local_ts"] < hi))]
    at = np.searchsorted(kept["local_ts"], lo)
    gone = np.array([(DEPTH_CLEAR | SELL | LOCAL | EXCH, lo - 5 * MS, lo, 0.0, 0.0, 0, 0, 0.0)], EVENT_DTYPE)
    return np.concatenate([kept[:at], gone, kept[at:]])


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Write events as a tape of a known symbol; returns its folder."""

    def write(events, symbol="ETHUSDT") -> Path:
        return write_stream(Tape("binance_usdm", symbol, events, {}), tmp_path_factory.mktemp("tape"))

    return write


def arms(metrics, *, model):
    found = [a for a in metrics["matrix"] if a["model"] is model]
    assert {a["profile"] for a in found} >= {"A", "B", "C"}
    return found


def unknown_rewards(metrics) -> int:
    """Candidates that have no label for another reason, as a note says."""
    found = re.search(r"(\d+) candidates have no known reward", "\n".join(metrics["run"]["notes"]))
    return int(found[1]) if found else 0


def assert_whole(run: Ended) -> None:
    """All files are there, the page shows the verdict, and no reader meets a NaN."""
    assert run.code == 0, run.said
    assert "Traceback" not in run.said
    assert run.written == FILES
    assert run.metrics["verdict"]["go"] is False
    page = re.sub(r"data:image/[^\"')]+", "", (run.out / "index.html").read_text())
    assert "NO-GO" in page
    assert "NO-GO" in run.said
    buckets = (run.out / "buckets.csv").read_text()
    for text in (page, run.said, buckets):
        assert not re.search(r"\b(nan|inf)\b", text, re.IGNORECASE)


# Tapes without a candidate.

NOTHING = {
    "a calm book": lambda lively: calm(180.0),
    "only bids": lambda lively: calm(180.0, sides=(BUY,)),
    "only asks": lambda lively: calm(180.0, sides=(SELL,)),
    "only trades": lambda lively: lively[(lively["ev"] & np.uint64(KIND_MASK)) == TRADE][:2_000],
    "shorter than the warm-up": lambda lively: first(lively, 30),
    "one event": lambda lively: lively[:1],
}


@pytest.mark.parametrize("name", NOTHING)
def test_a_tape_without_a_candidate_ends_with_reports_and_a_no_go(name, lively, stored, shadow):
    run = shadow(stored(NOTHING[name](lively)), "--fee-tier=vip9")
    assert_whole(run)
    metrics = run.metrics
    assert metrics["run"]["candidates_found"] == {}
    assert metrics["labels"]["outcomes"] == dict.fromkeys(("target", "stop", "timeout", "unfilled", "invalid"), 0)
    for arm in arms(metrics, model=False):
        assert (arm["candidates"], arm["allowed"], arm["reasons"]) == (0, 0, {})
        assert arm["rejection"] is None
        for judged in arm["exits"].values():
            assert (judged["trades"], judged["net_bps"]["value"], judged["win_rate"]) == (0, None, None)
    assert all("0 candidates" in arm["na"] for arm in arms(metrics, model=True))
    assert "could not be run: no model: 0 candidates" in run.reasons
    for kpi in metrics["kpis"]:
        trades = next(row for row in kpi["rows"] if row["key"] == "trades")
        assert (trades["status"], trades["value"], trades["n"]) == ("FAIL", 0.0, 0)
        assert {row["status"] for row in kpi["rows"] if row is not trades} == {"N/A"}
    assert not list((run.out.parent / "releases").glob("*/model.onnx"))


# Tapes with candidates that come to nothing.


def test_candidates_before_the_first_whole_window_are_denied_for_it(stored, shadow):
    """SIMULATED: 66 seconds with crossings right after the warm-up, when 64 valid rows are not there yet."""
    run = shadow(stored(first(simulate_tape(seed=5, hours=0.02).events, 66)))
    assert_whole(run)
    n = sum(run.metrics["run"]["candidates_found"].values())
    assert n >= 3
    for arm in arms(run.metrics, model=False):
        assert set(arm["reasons"]) <= {Reason.NO_WINDOW.value, Reason.TIER.value}
        assert arm["reasons"][Reason.NO_WINDOW.value] == n  # asked before the tier
        assert arm["allowed"] == 0
    assert f"{n} candidates have no window of 64 valid rows." in run.metrics["run"]["notes"]
    assert run.metrics["labels"]["outcomes"]["invalid"] == n


def test_a_tape_that_ends_inside_trades_counts_them_as_no_data(lively, stored, shadow):
    run = shadow(stored(first(lively, 921)), "--fee-tier=vip9")
    assert_whole(run)
    assert run.metrics["labels"]["outcomes"]["invalid"] >= unknown_rewards(run.metrics) + 2
    counted = [arm["exits"][e]["no_data"] for arm in arms(run.metrics, model=False) for e in ("label", "runner")]
    assert max(counted) >= 1
    for arm in arms(run.metrics, model=False):
        label = arm["exits"]["label"]
        assert label["trades"] + label["unfilled"] + label["busy"] + label["no_data"] == arm["allowed"]
        (row,) = [
            row
            for f in run.metrics["funnel"]
            if (f["fee_tier"], f["profile"], f["model"]) == (arm["fee_tier"], arm["profile"], False)
            for row in f["rows"]
            if row["sig_type"] == "all"
        ]
        assert (row["no_data"], row["filled"]) == (label["no_data"], label["trades"])


def test_a_book_that_loses_a_side_for_a_minute_voids_the_trades_under_way(lively, stored, shadow):
    """The tape goes on for longer than a label lasts, so nothing else can void one; nothing fires in the warm-up."""
    run = shadow(stored(first(without_asks(lively, 893, 953), 990)), "--fee-tier=vip9")
    assert_whole(run)
    metrics = run.metrics
    assert sum(metrics["run"]["candidates_found"].values()) >= 20
    assert metrics["labels"]["outcomes"]["invalid"] >= unknown_rewards(metrics) + 2
    assert max(arm["exits"]["label"]["no_data"] for arm in arms(metrics, model=False)) >= 1


# What cannot be run at all: one sentence, and nothing written.


def assert_refused(run: Ended, code: int, *names: str) -> None:
    assert run.code == code, run.said
    (line,) = [line for line in run.said.splitlines() if "error:" in line]
    assert "Expected" in line
    for name in names:
        assert name in line
    assert "Traceback" not in run.said
    assert run.written == []
    releases = run.out.parent / "releases"
    assert not releases.exists() or not list(releases.iterdir())


def another(tape: Path, **facts: str) -> Path:
    """A tape whose manifest says that it is of something else."""
    path = tape / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))
    return tape


def test_a_symbol_whose_costs_and_steps_are_unknown(stored, shadow):
    run = shadow(another(stored(calm(10.0)), symbol="NOPEUSDT"))
    assert_refused(run, 2, "NOPEUSDT", "instruments.json")


def test_a_venue_whose_fees_are_unknown(stored, shadow):
    run = shadow(another(stored(calm(10.0)), venue="kraken"))
    assert_refused(run, 2, "kraken", "binance_usdm")


def test_a_person_s_own_instrument_on_a_venue_without_fees(stored, shadow, tmp_path):
    entry = {"venue": "kraken", "symbol": "ETHUSDT", "tick": 0.01, "lot": 0.001, "funding_interval_h": 8}
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "instruments.json").write_text(json.dumps([entry]))
    run = shadow(another(stored(calm(10.0)), venue="kraken"), root=tmp_path)
    assert_refused(run, 2, "kraken", "instruments.json", "binance_usdm")


def test_a_venue_that_lost_its_fees(stored, shadow, directly):
    """Were a venue ever listed without fees, nothing would be judged with a guess."""
    whole = dict(FEE_TIERS)
    try:
        del FEE_TIERS["binance_usdm"]
        run = shadow(stored(calm(10.0)))
    finally:  # in its old order: other tests read the table too
        FEE_TIERS.clear()
        FEE_TIERS.update(whole)
    assert_refused(run, 2, "no fees are known", "binance_usdm")


def test_a_fee_tier_that_the_venue_does_not_have(stored, shadow):
    run = shadow(stored(calm(10.0)), "--fee-tier=supreme_vip")
    assert_refused(run, 2, "supreme_vip", "regular")


def test_a_tape_without_events(tmp_path, shadow, stored):
    empty = stored(calm(10.0))
    for day in empty.glob("*.parquet"):
        day.unlink()
    assert_refused(shadow(empty, root=tmp_path), 2, str(empty.name))


@pytest.mark.parametrize("name", ["out", "releases"])
def test_a_folder_that_cannot_be_written(name, stored, shadow, tmp_path):
    """A file stands where the folder should be: even an administrator cannot write below it."""
    (tmp_path / name).write_text("kept")
    run = shadow(stored(calm(180.0)), root=tmp_path)
    assert run.code in (1, 2), run.said
    (line,) = [line for line in run.said.splitlines() if "error:" in line]
    assert str(tmp_path / name) in line
    assert "Traceback" not in run.said
    assert (tmp_path / name).read_text() == "kept"
