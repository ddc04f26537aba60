"""From what lies on disk to a drift report: the right rows, the release's own answers, and clear refusals."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_repo.errors import InputError
from feature_repo.events import GAP
from feature_repo.fields import align
from feature_repo.instruments import FeeTier
from feature_repo.market.simulator import Simulation, simulate_tape
from feature_repo.market.tape import open_tape, write_stream
from feature_repo.table import FeatureTable
from flows import steps
from flows.drift import collect, run_drift
from flows.drift_latency import logged_latency, timed_latency
from meta_models.label_io import labels_from_parquet, labels_to_parquet
from reports.drift import ALERT
from reports.records import REASONS
from runtime.bundle import load_bundle
from runtime.candidate import Tier
from runtime.context import context_rows
from runtime.decision_log import LoggedGate, SeenWindow
from runtime.gate import MetaFilter
from tests.reports.make_drift import drift_input
from tests.runtime.gate_builders import bundle_folder

pytestmark = pytest.mark.slow

FIRST, DAY = "2026-01-05", "2026-01-06"
MIDNIGHT = int(np.datetime64(DAY, "ns").astype(np.int64))
HOUR_NS = 3_600 * 10**9


class Disk:
    """A simulated tape from 22:30 to 00:50, its features and labels, and a small release."""

    def __init__(self, root, monkeypatch):
        monkeypatch.setenv("OFI_META_DATA", str(root / "data"))
        self.root = root
        self.tape = write_stream(Simulation(seed=5, hours=7 / 3, start="2026-01-05T22:30"), root / "data" / "tape")
        self.features = steps.make_features(self.tape)
        fee = steps.fee_of("simulated", None)
        self.labels = steps.make_labels(self.tape, self.features, fee, max_candidates=100_000).path
        self.release = self.released("v1", (MIDNIGHT - 2 * HOUR_NS, MIDNIGHT))

    def released(self, tag, span_ns, **of):
        span = {"role": "release", "train_start_ns": span_ns[0], "train_end_ns": span_ns[1]}
        spans = [{"role": "fold 0", "train_start_ns": 0, "train_end_ns": 1}, span] if span_ns[1] else []
        metrics = {"model": {"base_rate": 0.4, "auc_pr": 0.5, "brier": 0.23, "ece": None, "bins": []}}
        facts = {"spans": spans, "metrics": metrics} | of
        return bundle_folder(self.root / "releases", tag, bias=-0.5, ofi=0.2, of=facts)

    def collect(self, day=DAY, **changes):
        parts = {"release": self.release, "tape": self.tape, "features": self.features, "labels": self.labels}
        return collect(*(parts | changes).values(), day, sample_rows=2_000)


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        yield Disk(tmp_path_factory.mktemp("drift"), patch)


@pytest.fixture(scope="module")
def inputs(disk):
    return disk.collect()


def test_it_names_symbol_release_and_day_and_that_it_is_simulated(disk, inputs):
    assert (inputs.symbol, inputs.venue, inputs.simulated) == ("ETHUSDT-SIM", "simulated", True)
    assert (inputs.release, inputs.day, inputs.profile) == ("v1", DAY, "B")
    assert inputs.train_span_ns == (MIDNIGHT - 2 * HOUR_NS, MIDNIGHT)
    assert inputs.in_training == 0.0
    assert inputs.walk_forward.auc_pr == 0.5
    assert inputs.walk_forward.ece is None
    assert inputs.made_from["model_sha256"] == load_bundle(disk.release).manifest.files["model.onnx"]
    json.dumps(inputs.made_from)


def test_rows_are_valid_ones_of_the_table_from_their_own_side(disk, inputs):
    table = FeatureTable.load(disk.features)
    span = (MIDNIGHT - 2 * HOUR_NS, MIDNIGHT)
    for rows, (low, high) in ((inputs.current, (MIDNIGHT, MIDNIGHT + 24 * HOUR_NS)), (inputs.reference, span)):
        assert len(rows.t_ns) == 2_000
        assert ((rows.t_ns >= low) & (rows.t_ns < high)).all()
        at = np.searchsorted(table.t_ns, rows.t_ns)
        assert (table.t_ns[at] == rows.t_ns).all()
        assert table.market["valid"][at].all()
        assert (table.X[at] == rows.X).all()
        gaps = np.diff(rows.t_ns)
        assert gaps.max() < 5 * gaps.mean()


def test_the_training_spans_rows_begin_where_it_begins(disk):
    late = disk.released("late", (MIDNIGHT - HOUR_NS, MIDNIGHT))
    found = disk.collect(release=late)
    assert found.reference.t_ns.min() >= MIDNIGHT - HOUR_NS
    assert found.reference_decided.ts_ns.min() >= MIDNIGHT - HOUR_NS


def test_p_is_what_the_release_says_of_the_aligned_windows_and_labels_are_the_files(disk, inputs):
    table, file, bundle = FeatureTable.load(disk.features), labels_from_parquet(disk.labels), load_bundle(disk.release)
    rows = np.flatnonzero(file.labels["ts_ns"] >= MIDNIGHT)
    asked = inputs.decided
    assert (asked.ts_ns == file.labels["ts_ns"][rows]).all()
    assert (asked.y == file.labels["y"][rows]).all()
    x, found = table.windows(asked.ts_ns, bundle.manifest.T)
    candidates = [file.candidates[i] for i in rows]
    market = table.market[np.searchsorted(table.t_ns, asked.ts_ns)]
    ctx = context_rows(candidates, market, bundle.manifest.fee_tier)
    assert found.all()
    assert np.isfinite(asked.p).all()
    for i in (0, len(rows) // 2, len(rows) - 1):
        alone = bundle.predict(align(x[i], candidates[i].side)[None], ctx[i][None])
        assert asked.p[i] == pytest.approx(float(alone[0]), abs=1e-6)
    assert (asked.in_tier == np.array([c.tier <= Tier.B for c in candidates])).all()


def test_the_gate_is_asked_as_it_would_decide_live(disk, inputs):
    table, file = FeatureTable.load(disk.features), labels_from_parquet(disk.labels)
    gate = MetaFilter(load_bundle(disk.release), profile="B", shadow=True)
    asked = inputs.decided
    by_time = {c.ts_ns: c for c in file.candidates}
    x, _ = table.windows(asked.ts_ns, 64)
    at = np.searchsorted(table.t_ns, asked.ts_ns)
    for i in range(0, len(asked.ts_ns), 7):
        answer = gate.decide(by_time[int(asked.ts_ns[i])], int(asked.ts_ns[i]) + 2_000_000, x[i], table.market[at[i]])
        assert REASONS[asked.reason[i]] is answer.reason
        assert asked.allow[i] == answer.allow
    assert len(set(asked.reason.tolist())) > 2


def test_data_quality_is_that_of_the_day_alone(disk, inputs):
    table = FeatureTable.load(disk.features)
    of_day = table.t_ns >= MIDNIGHT
    q = inputs.quality
    assert (q.expected, q.found, q.gaps) == (864_000, int(of_day.sum()), 0)
    assert q.invalid == int((~table.market["valid"][of_day]).sum())
    first = disk.collect(FIRST).quality
    assert first.found + q.found == len(table.t_ns)
    assert first.invalid > 590  # a minute of warm-up


def test_a_day_that_was_trained_on_is_told_with_its_share(disk):
    inside = disk.released("inside", (MIDNIGHT - HOUR_NS, MIDNIGHT + 12 * HOUR_NS))
    assert disk.collect(release=inside).in_training == 0.5


def test_the_report_of_the_collected_day(disk, tmp_path):
    told = []
    done = run_drift(disk.release, disk.tape, disk.features, disk.labels, DAY, tmp_path, progress=told.append)
    assert json.loads((done.path / "drift.json").read_text())["release"] == "v1"
    by_name = {c.name: c for c in done.checks}
    assert by_name["ofi_z"].value is not None
    assert by_name["P at candidate time"].value is not None
    assert by_name["share of the day's windows"].status == "WARN"  # 50 minutes are no day
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_features_without_the_training_span_leave_the_channels_na(disk):
    early = disk.released("early", (MIDNIGHT - 90 * 24 * HOUR_NS, MIDNIGHT - 80 * 24 * HOUR_NS))
    found = disk.collect(release=early)
    assert len(found.reference.t_ns) == len(found.reference_decided.ts_ns) == 0


def test_a_day_without_candidates_is_collected_all_the_same(disk, tmp_path):
    file = labels_from_parquet(disk.labels)
    before = np.flatnonzero(file.labels["ts_ns"] < MIDNIGHT)
    path = labels_to_parquet(
        file.labels[before], [file.candidates[i] for i in before], tmp_path / "l.parquet", symbol=file.symbol,
        venue=file.venue, simulated=True, fee=file.fee,
    )  # fmt: skip
    found = disk.collect(labels=path)
    assert len(found.decided.ts_ns) == 0
    assert len(found.current.t_ns) == 2_000


def refused(disk, tmp_path, what):
    """What is handed in, and what is said of it."""
    file = labels_from_parquet(disk.labels)
    if what == "release":
        return {
            "release": disk.released("btc", (1, 2), venue="binance_usdm", symbol="BTCUSDT")
        }, "a release for BTCUSDT"
    if what == "labels":
        other = [replace(c, symbol="X") for c in file.candidates]
        path = labels_to_parquet(
            file.labels, other, tmp_path / "x.parquet", symbol="X", venue=file.venue, simulated=True, fee=file.fee
        )
        return {"labels": path}, "labels of X"
    if what == "span":
        return {"release": disk.released("spanless", (0, 0))}, "does not say what it was fitted on"
    if what == "day":
        return {"day": "2026-03-01"}, f"no rows of 2026-03-01. Expected a day that it has ({FIRST} to {DAY})"
    return {"day": "tomorrow"}, "the day 'tomorrow'"


@pytest.mark.parametrize("what", ["release", "labels", "span", "day", "word"])
def test_what_does_not_belong_together_is_refused(disk, tmp_path, what):
    changes, said = refused(disk, tmp_path, what)
    with pytest.raises(InputError) as error:
        disk.collect(changes.pop("day", DAY), **changes)
    assert said in str(error.value)


def test_gaps_are_counted_by_day(tmp_path):
    made = simulate_tape(seed=3, hours=0.05, start="2026-01-05T23:58:30")
    events = made.events.copy()
    rows = np.searchsorted(events["local_ts"], [MIDNIGHT - 10**9, MIDNIGHT + 10**9, MIDNIGHT + 20 * 10**9])
    gaps = events[rows].copy()
    gaps["ev"] = GAP
    manifest = {k: v for k, v in made.manifest.items() if k not in ("counts", "rows", "gaps", "days")}
    spoiled = replace(made, events=np.insert(events, rows, gaps), manifest=manifest | {"gaps": 3})
    from flows.drift import _gaps

    tape = open_tape(write_stream(spoiled, tmp_path))
    assert [_gaps(tape, d) for d in (FIRST, DAY, "2026-01-07")] == [1, 2, None]


def test_latency_comes_from_the_log_of_the_day(disk, tmp_path):
    table, file = FeatureTable.load(disk.features), labels_from_parquet(disk.labels)

    class Source:
        def snapshot_at(self, t_ns):
            x, found = table.windows(np.array([t_ns]), 64)
            return (x[0], table.market[np.searchsorted(table.t_ns, t_ns)]) if found[0] else None

    seen = SeenWindow(Source())
    mine = [c for c in file.candidates if c.ts_ns >= MIDNIGHT][:40]
    with LoggedGate(MetaFilter(load_bundle(disk.release), source=seen), seen, tmp_path) as gate:
        answers = [gate.allow(c, c.ts_ns + 2_000_000) for c in mine]
    rows, note = logged_latency(tmp_path, DAY)
    assert rows["e2e_us"].tolist() == [d.latency_us for d in answers]
    assert rows["sig_type"].tolist() == [int(c.sig_type) for c in mine]
    assert (rows["asked"] == [np.isfinite(d.p) for d in answers]).all()
    assert "window included" in note
    assert logged_latency(tmp_path, FIRST) == (None, f"the log has no decision of {FIRST}")


@pytest.mark.parametrize("damage", ["no Parquet", "another table"])
def test_a_log_that_cannot_be_read_is_told(tmp_path, damage):
    file = tmp_path / DAY / "1.parquet"
    file.parent.mkdir()
    if damage == "no Parquet":
        file.write_bytes(b"PAR1 cut short")
    else:
        pq.write_table(pa.table({"now_ns": [1]}), file)
    with pytest.raises(InputError, match=r"(?s)not readable as decisions .* Expected a gate's log\. Check --dec"):
        logged_latency(tmp_path, DAY)


@pytest.mark.long
def test_latency_can_be_timed_on_the_tape(disk, inputs):
    rows, note = timed_latency(open_tape(disk.tape), load_bundle(disk.release), inputs.decided.ts_ns, 5)
    assert rows["ts_ns"].tolist() == inputs.decided.ts_ns[-5:].tolist()
    assert (rows["e2e_us"] > 0).all()
    assert "5 candidates" in note


class TestCommand:
    """`ofi-meta drift`."""

    def run(self, disk, tmp_path, monkeypatch, *more, release=None):
        from flows.cli import main

        asked = (
            disk.tape, "--features", disk.features, "--labels", disk.labels, "--release", release or disk.release,
            "--day", DAY, "--out", tmp_path, *more,
        )  # fmt: skip
        monkeypatch.setattr(sys, "argv", ["ofi-meta", "drift", *map(str, asked)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code

    def faked(self, monkeypatch, inputs):
        monkeypatch.setattr("flows.drift.collect", lambda *_, **__: inputs)
        monkeypatch.setattr("reports.drift.report.evidently_html", lambda *_: "<html></html>")

    def test_a_day_like_the_training_span_ends_with_0_and_says_that_it_is_simulated(
        self, disk, tmp_path, monkeypatch, capsys
    ):
        self.faked(monkeypatch, drift_input(1))
        assert self.run(disk, tmp_path, monkeypatch) == 0
        said = capsys.readouterr().out
        assert "SIMULATED DATA" in said
        assert str(tmp_path / "drift" / "ETHUSDT-SIM" / DAY / "index.html") in said.replace("\n", "")

    def test_an_alert_ends_with_3_and_asks_for_a_retrain(self, disk, tmp_path, monkeypatch, capsys):
        day = drift_input(1)
        self.faked(monkeypatch, replace(day, quality=replace(day.quality, invalid=200_000)))
        assert self.run(disk, tmp_path, monkeypatch) == 3
        said = capsys.readouterr().out
        assert ALERT in said
        assert "invalid windows" in said
        assert "retrain" in said

    def test_a_release_for_another_symbol_is_a_sentence_and_code_2(self, disk, tmp_path, monkeypatch, capsys):
        other = disk.released("bad", (1, 2), venue="binance_usdm", symbol="BTCUSDT", fee_tier=FeeTier("x", 1.0, 2.0))
        assert self.run(disk, tmp_path, monkeypatch, release=other) == 2
        assert "a release for BTCUSDT" in " ".join(capsys.readouterr().err.split())
        assert not (tmp_path / "drift").exists()
