"""The whole way on a short simulated tape: every output is there, agrees with the others, and says what it is."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil

import numpy as np
import onnxruntime as ort
import pytest
import torch
from jsonschema import Draft202012Validator

from feature_repo.fees import FEE_TIERS
from feature_repo.table import FeatureTable
from flows.sensitivity import TAUS
from flows.steps import make_tape
from reports.matrix import BANNER
from runtime import MetaFilter
from tests.flows.conftest import ROOT, ofi_meta

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def metrics(simulated_run):
    return json.loads((simulated_run.out / "metrics.json").read_text())


def test_every_named_output_is_there(simulated_run):
    for name in ("metrics.json", "buckets.csv", "calibration.png", "index.html"):
        assert (simulated_run.out / name).stat().st_size > 0, name
    assert (simulated_run.out / "calibration.png").read_bytes().startswith(b"\x89PNG")
    assert not [p for p in simulated_run.out.iterdir() if p.name.startswith(".")]


def test_every_output_says_that_it_is_simulated(simulated_run, metrics):
    assert metrics["simulated"] is True
    assert metrics["banner"] == BANNER
    assert BANNER in (simulated_run.out / "index.html").read_text()
    assert "SIMULATED" in simulated_run.said
    rows = list(csv.DictReader((simulated_run.out / "buckets.csv").open()))
    assert rows
    assert {row["simulated"].lower() for row in rows} == {"true"}
    assert MetaFilter.load(simulated_run.bundle).manifest.simulated
    (features,) = (simulated_run.data / "features" / "simulated").iterdir()
    assert FeatureTable.load(features).simulated
    assert features.name.endswith("-SIM")


def test_simulated_data_never_gets_a_go(metrics):
    assert metrics["verdict"]["word"] == "NO-GO"
    assert any("simulated" in reason for reason in metrics["verdict"]["reasons"])


def test_the_matrix_has_every_arm_and_both_books_agree(metrics):
    arms = {(a["fee_tier"], a["profile"], a["model"]) for a in metrics["matrix"]}
    assert arms == {(f, p, m) for f in ("regular", "vip9") for p in ("A", "B", "C", "C6") for m in (False, True)}
    for arm in metrics["matrix"]:
        assert arm["na"] is None
        assert 0 <= arm["allowed"] <= arm["candidates"]


def test_the_model_only_takes_away(metrics):
    """The same guards with and without a model: what the model allows, the guards alone allow too."""
    by = {(a["fee_tier"], a["profile"], a["model"]): a["allowed"] for a in metrics["matrix"]}
    for (fee, profile, model), allowed in by.items():
        if model:
            assert allowed <= by[fee, profile, False]
    assert sum(by.values()) > 0


def test_metrics_follow_the_published_schema(metrics):
    schema = json.loads((ROOT / "docs" / "metrics.schema.json").read_text())
    Draft202012Validator(schema).validate(metrics)


def test_at_six_ticks_profile_c_decides_as_at_five(metrics):
    """Every R of a built-in signal respects six ticks, so the two differ for a user's own entries only."""
    arms = {(a["fee_tier"], a["profile"], a["model"]): a for a in metrics["matrix"]}
    for (fee, profile, model), arm in arms.items():
        if profile == "C6":
            five = arms[fee, "C", model]
            assert {**arm, "profile": "C"} == five


def test_a_knob_at_its_own_setting_gives_the_arm(metrics):
    arms = {(a["fee_tier"], a["model"]): a["exits"]["label"] for a in metrics["matrix"] if a["profile"] == "B"}
    fits = [fold["fit"]["thresholds"]["taus"]["B"] for fold in metrics["training"]["folds"] if fold["fit"]]
    (tau,) = {p["value"] for p in metrics["sensitivity"]["points"] if p["knob"] == "tau"} - set(TAUS)
    assert min(fits) - 1e-4 <= tau <= max(fits) + 1e-4
    own, seen = {"tau": tau, "latency_ms": 20, "base_size_usd": 10_000}, set()
    for point in metrics["sensitivity"]["points"]:
        if point["knob"] == "fee_bps" or point["label"] or point["value"] != own[point["knob"]]:
            continue
        arm = arms[point["fee_tier"], point["model"]]
        assert (point["trades"], point["net_bps"]) == (arm["trades"], arm["net_bps"])
        seen.add((point["knob"], point["fee_tier"], point["model"]))
    assert len(seen) == 2 * (2 + 2 + 1)  # tau is the model's only
    regular = [p for p in metrics["sensitivity"]["points"] if p["knob"] == "fee_bps" and p["value"] == 5]
    assert {p["model"]: p["trades"] for p in regular} == {m: arms["regular", m]["trades"] for m in (False, True)}


def test_an_arm_with_too_few_trades_fails_that_kpi_and_the_verdict_says_so(metrics):
    few = 0
    for kpi in metrics["kpis"]:
        trades = next(row for row in kpi["rows"] if row["key"] == "trades")
        assert trades["status"] == ("PASS" if trades["n"] >= 500 else "FAIL")
        assert trades["value"] == trades["n"]
        few += trades["status"] == "FAIL"
    assert few >= 6
    assert metrics["verdict"]["word"] == "NO-GO"
    reasons = "\n".join(metrics["verdict"]["reasons"])
    for name in metrics["verdict"]["headline"]:
        assert re.search(rf"Arm {name}: too little data to judge, \d+ trades of 500 needed\.", reasons)


def test_every_tier_of_the_venue_has_its_verdict(metrics):
    assert [(t["fee_tier"], t["model"]) for t in metrics["tiers"]] == [
        (tier.name, model) for tier in FEE_TIERS["simulated"] for model in (False, True)
    ]
    assert {t["verdict"] for t in metrics["tiers"]} == {"NO-GO"}


def test_the_funnel_only_narrows(metrics):
    for arm in metrics["funnel"]:
        for row in arm["rows"]:
            stages = [
                v for k, v in row.items() if k not in ("sig_type", "filled_runner", "busy", "unfilled", "no_data")
            ]
            assert stages == sorted(stages, reverse=True), row


def test_the_bundle_is_verified_and_its_graph_is_a_probability(simulated_run):
    m = MetaFilter.load(simulated_run.bundle, profile="C").manifest
    assert (m.T, m.C) == (64, 24)
    session = ort.InferenceSession(simulated_run.bundle / "model.onnx", providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(1)
    x, ctx = rng.normal(size=(5, m.T, m.C)).astype(np.float32), rng.random((5, 8)).astype(np.float32)
    (p,) = session.run(None, {"x": x, "ctx": ctx})
    assert p.shape == (5, 1)
    assert ((p >= 0) & (p <= 1)).all()


def test_the_single_net_is_exported_twice_and_both_agree(simulated_run):
    x = np.random.default_rng(2).normal(size=(7, 64, 24)).astype(np.float32)
    session = ort.InferenceSession(simulated_run.models / "tcn.onnx", providers=["CPUExecutionProvider"])
    (onnx,) = session.run(None, {"x": x})
    script = torch.jit.load(simulated_run.models / "tcn.pt")
    np.testing.assert_allclose(onnx, script(torch.from_numpy(x)).detach().numpy(), atol=1e-6)


def test_a_release_is_not_served_until_promoted(simulated_run, tmp_path):
    assert not (simulated_run.releases / "current").exists()
    environment, base = simulated_run.environment(), simulated_run.bundle.name
    shutil.copytree(simulated_run.releases, tmp_path / "releases")

    def release(*arguments):
        return ofi_meta("release", *arguments, environment=environment, cwd=tmp_path)

    done = release("promote", base)
    assert done.returncode == 0, done.stderr
    assert "SIMULATED" in done.stdout
    assert "stage shadow: no order is allowed" in done.stdout
    assert MetaFilter.load(tmp_path / "releases" / "current").manifest.tag == f"{base}.shadow"
    listed = release("list").stdout
    assert f"{base}.shadow" in listed
    assert "operator_promote by operator: nothing -> " in listed
    again = release("rollback")
    assert again.returncode == 2
    assert "no bundle was served before" in again.stderr


def test_the_release_knows_the_edges_of_its_buckets(simulated_run):
    """Those that the candidates before the first test fold had, by which buckets.csv was made."""
    manifest = MetaFilter.load(simulated_run.bundle).manifest
    assert (manifest.rollout, simulated_run.bundle.parent) == (None, simulated_run.releases)
    for low, high in (manifest.edges.ofi_z, manifest.edges.spread_bps, manifest.edges.depth):
        assert low <= high
    assert manifest.edges.n > 0
    report = (simulated_run.out / "buckets.csv").read_text()
    assert (simulated_run.bundle / "buckets.csv").read_text() == report
    named = {(r["ofi_z"], r["spread"], r["depth"]) for r in csv.DictReader(io.StringIO(report)) if r["ofi_z"] != "all"}
    assert named


def test_infer_says_the_same_in_process_and_through_the_online_store(simulated_run, tmp_path):
    (tape,) = (simulated_run.data / "tape" / "simulated").iterdir()
    said = []
    for store in ([], ["--store"]):
        done = ofi_meta(
            *(
                "infer",
                str(tape),
                "--bundle",
                str(simulated_run.bundle),
                "--profile",
                "C",
                "--fee-tier",
                "vip9",
                *store,
            ),
            environment=simulated_run.environment(),
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        assert "no order is placed" in done.stdout
        assert "In sample" in done.stdout  # the release was fitted on this very tape
        assert "SIMULATED" in done.stdout
        said.append(done.stdout)
    assert said[0] == said[1]


def test_the_run_names_each_stage_and_its_time(simulated_run, metrics):
    stages = metrics["measured"]["stage_s"]
    for name in ("tape (simulated)", "features", "candidates and labels", "feature store", "walk-forward training"):
        assert stages[name] > 0
        assert name in simulated_run.said


def test_the_default_tape_is_the_seeded_one(simulated_run, tmp_path, monkeypatch):
    """The same seed gives the same tape, byte for byte."""
    monkeypatch.setenv("OFI_META_DATA", str(tmp_path))
    folder = make_tape(None, hours=3.0)
    (before,) = (simulated_run.data / "tape" / "simulated").iterdir()
    names = sorted(p.name for p in before.iterdir())
    assert names == sorted(p.name for p in folder.iterdir())
    assert all((before / n).read_bytes() == (folder / n).read_bytes() for n in names)
