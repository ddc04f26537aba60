"""The trades of a release on a day: out of sample only, one position at a time, and kept by day."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from itertools import pairwise

import pytest

from feature_repo.errors import InputError
from flows.day_trades import day_trades, keep_trades, kept_trades
from runtime.buckets import Bucket
from runtime.bundle import load_bundle, write_bundle

pytestmark = pytest.mark.slow

DAY = date(2026, 1, 5)


@pytest.fixture(scope="module")
def parts(simulated_run):
    data = simulated_run.data
    (tape,) = (data / "tape" / "simulated").iterdir()
    (features,) = [p for p in (data / "features" / "simulated").iterdir() if p.is_dir()]
    return {"tape": tape, "features": features, "labels": data / "labels" / "simulated" / f"{tape.name}.parquet"}


@pytest.fixture(scope="module")
def older(simulated_run, tmp_path_factory):
    """The run's release as if it had been fitted on the day before."""
    bundle = load_bundle(simulated_run.bundle)
    spans = [{"role": "release", "train_start_ns": 0, "train_end_ns": 1}]
    made = replace(bundle.manifest, spans=spans, files={})
    return write_bundle(
        tmp_path_factory.mktemp("releases") / made.tag,
        onnx_bytes=(simulated_run.bundle / "model.onnx").read_bytes(),
        manifest=made,
        buckets_csv=(simulated_run.bundle / "buckets.csv").read_text(),
    )


def test_a_release_is_not_judged_by_what_it_was_fitted_on(simulated_run, parts):
    with pytest.raises(InputError, match="which 2026-01-05 is not after"):
        day_trades(simulated_run.bundle, DAY, **parts)


def test_a_release_that_does_not_say_what_it_was_fitted_on_is_not_judged(simulated_run, parts, tmp_path):
    bundle = load_bundle(simulated_run.bundle)
    silent = write_bundle(
        tmp_path / "silent",
        onnx_bytes=(simulated_run.bundle / "model.onnx").read_bytes(),
        manifest=replace(bundle.manifest, tag="silent", spans=[], files={}),
        buckets_csv=(simulated_run.bundle / "buckets.csv").read_text(),
    )
    with pytest.raises(InputError, match="does not say what it was fitted on"):
        day_trades(silent, DAY, **parts)


def test_a_day_of_trades(older, parts, tmp_path):
    trades = day_trades(older, DAY, **parts)
    assert len(trades) > 3
    for before, after in pairwise(sorted(trades, key=lambda t: t.ts_ns)):
        assert after.t_end_ns > after.ts_ns > before.ts_ns
        assert after.ts_ns >= before.t_end_ns  # one position at a time
    for trade in trades:
        assert Bucket.parse(trade.bucket).profile == "B"
        assert trade.full_usd > 0
        half = trade.as_account(0.5)
        assert half.notional_usd == pytest.approx(trade.full_usd / 2)
        assert half.net_usd == pytest.approx(trade.net_bps * 1e-4 * half.notional_usd)
    assert day_trades(older, DAY, **parts) == trades
    keep_trades(tmp_path, "base", DAY, trades)
    assert list(kept_trades(tmp_path, "base")) == trades


def test_a_day_without_candidates_has_no_trades(older, parts):
    assert day_trades(older, date(2026, 1, 9), **parts) == []


def test_another_contract_is_refused(older, parts, tmp_path):
    bundle = load_bundle(older)
    other = write_bundle(
        tmp_path / "other",
        onnx_bytes=(older / "model.onnx").read_bytes(),
        manifest=replace(bundle.manifest, tag="other", venue="binance_usdm", symbol="ETHUSDT", files={}),
        buckets_csv=(older / "buckets.csv").read_text(),
    )
    with pytest.raises(InputError, match="a tape of ETHUSDT-SIM on simulated and a release for ETHUSDT"):
        day_trades(other, DAY, **parts)
