"""The command: from features, labels and the store to a net on disk; every bad input is one sentence."""

from __future__ import annotations

import json

import numpy as np
import onnxruntime as ort
import pytest

from feature_repo import offline
from feature_repo.constants import SECOND_NS, WINDOW_NS
from feature_repo.errors import InputError
from feature_repo.fields import CHANNELS, MARKET_DTYPE, SIGNED
from feature_repo.instruments import SIMULATED_SYMBOL, FeeTier
from feature_repo.offline import TrainingSet
from feature_repo.store import StoreError
from feature_repo.table import QUOTE_DTYPE, FeatureTable
from meta_models import train
from meta_models.dataset import build_dataset
from meta_models.label_io import labels_to_parquet
from meta_models.labels import LABEL_DTYPE
from meta_models.samples import spans_of
from runtime.candidate import Candidate, Entry, SigType, Tier
from tests.meta_models.learnable import T0, make

pytestmark = pytest.mark.slow

N = 420
FEE = FeeTier("regular", 2.0, 5.0)


def candidate(ts_ns, side):
    return Candidate(int(ts_ns), SIMULATED_SYMBOL, side, SigType.MOMENTUM, Tier.B, 3_000.0, 5.0, 4.5, 1.0, Entry.IOC, 0)


@pytest.fixture(scope="module")
def made():
    return make(N, C=len(CHANNELS), hours=6.0)


@pytest.fixture
def files(made, tmp_path):
    """A feature table that spans the labels, and the labels: (features folder, labels file)."""
    rows = 6 * 36_000 + 1_000
    market = np.zeros(rows, MARKET_DTYPE)
    market["t_ns"] = T0 + (np.arange(rows) - 500) * WINDOW_NS
    market["valid"] = True
    X = np.zeros((rows, len(CHANNELS)), np.float32)
    table = FeatureTable("simulated", SIMULATED_SYMBOL, True, X, market, np.zeros(0, QUOTE_DTYPE), 0.01)
    side = np.where(np.arange(N) % 2 == 0, 1, -1)
    candidates = [candidate(t, int(s)) for t, s in zip(made.ts_ns, side, strict=True)]
    labels = labels_to_parquet(
        made.labels,
        candidates,
        tmp_path / "labels.parquet",
        symbol=SIMULATED_SYMBOL,
        venue="simulated",
        simulated=True,
        fee=FEE,
    )
    return table.save(tmp_path / "features"), labels


@pytest.fixture
def store(made, monkeypatch):
    """A store that knows every candidate; hands out windows as the market saw them, not yet turned to the side."""
    side = np.where(np.arange(N) % 2 == 0, 1, -1).astype(np.float32)
    unaligned = np.where(SIGNED, made.x * side[:, None, None], made.x)

    def training_set(symbol, ids, ts_ns):
        assert symbol == SIMULATED_SYMBOL
        assert list(ids[:2]) == [f"{symbol}:{made.ts_ns[0]}:+1", f"{symbol}:{made.ts_ns[1]}:-1"]
        return TrainingSet(unaligned, made.ctx, np.ones(N, bool))

    monkeypatch.setattr(offline, "training_set", training_set)


def command(files, tmp_path, *more):
    features, labels = files
    given = ["--features", str(features), "--labels", str(labels), "--model", "tcn", "--t", "20", "--c", "24"]
    return train.main([*given, "--export", str(tmp_path / "out" / "tcn.onnx"), "--folds", "1", *more])


@pytest.mark.slow
def test_trains_exports_and_says_what_the_data_is(files, store, made, tmp_path, capsys):
    place = tmp_path / "[out]" / "tcn.onnx"  # a name in which a console could see a style
    assert command(files, tmp_path, "--bundle", str(tmp_path / "releases" / "r1"), "--export", str(place)) == 0
    out = capsys.readouterr().out
    assert f"{place} and tcn.pt: ONNX and torch differ by" in out
    assert "SIMULATED data" in out
    assert f"{N:,} candidates" in out
    assert "pooled" in out
    session = ort.InferenceSession(place)
    assert session.get_modelmeta().custom_metadata_map["simulated"] == "true"
    assert session.run(["p"], {"x": made.x})[0].shape == (N, 1)
    assert place.with_suffix(".pt").is_file()
    manifest = json.loads((tmp_path / "releases" / "r1" / "manifest.json").read_text())
    assert manifest["simulated"] is True
    assert manifest["T"] == 20


def refused(code, files, tmp_path, capsys, *more):
    assert command(files, tmp_path, *more) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert "Traceback" not in captured.err
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "out").exists()
    return captured.err


@pytest.mark.parametrize(
    ("more", "part"),
    [
        (("--model", "mlp"), "one of: logistic, tcn"),
        (("--t", "19"), "[20, 100]"),
        (("--model", "stack"), "T = 20"),
        (("--c", "23"), "--c 23"),
        (("--t", "64"), "stored windows of 20 rows"),
        (("--features", "/nowhere"), "/nowhere"),
        (("--labels", "/nowhere.parquet"), "/nowhere.parquet"),
        (("--train-minutes", "0"), "positive"),
        (("--train-minutes", "inf"), "positive number, at most 527,040"),
        (("--train-minutes", "1e300"), "positive number, at most 527,040"),
        (("--folds", "0"), "n_splits"),
        (("--export", "net.pb"), "--export net.pb"),
    ],
)
def test_bad_input_is_one_sentence(files, store, tmp_path, capsys, more, part):
    assert part in refused(2, files, tmp_path, capsys, *more)


def test_without_the_store_there_is_no_training(files, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("OFI_META_DATA", str(tmp_path / "empty"))
    assert "registry" in refused(2, files, tmp_path, capsys)

    def broken(*_):
        raise StoreError("the store is gone", "a store", "Fill it")

    monkeypatch.setattr(offline, "training_set", broken)
    assert "the store is gone" in refused(2, files, tmp_path, capsys)


def test_too_few_labels_is_exit_one(files, store, made, tmp_path, capsys, monkeypatch):
    few = made.labels.copy()
    few["y"][50:] = -1
    few["weight"][50:] = 0
    candidates = [candidate(t, 1 if i % 2 == 0 else -1) for i, t in enumerate(made.ts_ns)]
    labels_to_parquet(few, candidates, files[1], symbol=SIMULATED_SYMBOL, venue="simulated", simulated=True, fee=FEE)
    assert "50 labels" in refused(1, files, tmp_path, capsys)


def test_labels_of_another_time_or_symbol_are_refused(files, store, made, tmp_path, capsys):
    later = made.labels.copy()
    later["ts_ns"] += 86_400 * SECOND_NS
    candidates = [candidate(t, 1) for t in later["ts_ns"]]
    facts = {"symbol": SIMULATED_SYMBOL, "venue": "simulated", "simulated": True, "fee": FEE}
    labels_to_parquet(later, candidates, files[1], **facts)
    assert "outside the time" in refused(2, files, tmp_path, capsys)
    earlier = made.labels[:1].copy()
    earlier["ts_ns"] -= 86_400 * SECOND_NS
    labels_to_parquet(earlier, [candidate(earlier["ts_ns"][0], 1)], files[1], **facts)
    assert "outside the time" in refused(2, files, tmp_path, capsys)
    labels_to_parquet(made.labels[:0], [], files[1], **facts)
    assert "holds no label" in refused(2, files, tmp_path, capsys)
    labels_to_parquet(made.labels[:0], [], files[1], **(facts | {"simulated": False}))
    assert f"recorded labels of {SIMULATED_SYMBOL} on simulated" in refused(2, files, tmp_path, capsys)
    labels_to_parquet(made.labels[:0], [], files[1], **(facts | {"symbol": "ETHUSDT", "venue": "binance_usdm"}))
    assert "labels of ETHUSDT" in refused(2, files, tmp_path, capsys)


def test_features_without_a_row_are_refused(files, store, tmp_path, capsys):
    market, quotes = np.zeros(0, MARKET_DTYPE), np.zeros(0, QUOTE_DTYPE)
    none = FeatureTable(
        "simulated", SIMULATED_SYMBOL, True, np.zeros((0, len(CHANNELS)), np.float32), market, quotes, 0.01
    )
    empty = none.save(tmp_path / "empty")
    assert "outside the time" in refused(2, (empty, files[1]), tmp_path, capsys)


def test_dataset_turns_windows_to_the_side():
    labels = np.zeros(2, LABEL_DTYPE)
    labels["ts_ns"], labels["t_end_ns"] = T0, T0 + SECOND_NS
    labels["y"] = 1, -1
    x = np.arange(2 * 30 * 24, dtype=np.float32).reshape(2, 30, 24)
    training = TrainingSet(x, np.ones((2, 8), np.float32), np.ones(2, bool))
    data = build_dataset(labels, [1, -1], training, T=20)
    assert data.x.shape == (2, 20, 24)
    assert (data.x[0] == x[0, -20:]).all()
    assert (data.x[1][:, SIGNED] == -x[1, -20:][:, SIGNED]).all()
    assert (data.x[1][:, ~SIGNED] == x[1, -20:][:, ~SIGNED]).all()
    assert data.x.dtype == np.float32


def test_a_sample_touches_the_time_from_its_first_window_to_the_end_of_its_label_or_the_horizon():
    labels = np.zeros(2, LABEL_DTYPE)
    labels["t_end_ns"], labels["y"] = T0 + SECOND_NS, (1, -1)
    t_start, t_end = spans_of(labels, np.full(2, T0), 20)
    assert t_start.tolist() == [T0 - 20 * WINDOW_NS] * 2
    assert t_end.tolist() == [T0 + SECOND_NS, T0 + 60 * SECOND_NS]


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"side": [1]}, "1 sides"),
        ({"side": [1, 0]}, "side 0 of candidate 1"),
        ({"T": 31}, "30 rows"),
        ({"x": np.zeros((2, 30, 23), np.float32)}, "in the catalogue's order"),
        ({"x": np.zeros((2, 720), np.float32)}, "in the catalogue's order"),
        ({"x": np.full((2, 30, 24), np.nan, np.float32)}, "ofi_z"),
        ({"found": np.zeros(2, bool)}, "none of the 2"),
    ],
)
def test_dataset_refusals(change, part):
    given = {"side": [1, -1], "T": 20, "x": np.zeros((2, 30, 24), np.float32), "found": np.ones(2, bool)} | change
    training = TrainingSet(given["x"], np.zeros((2, 8), np.float32), given["found"])
    with pytest.raises(InputError, match=part):
        build_dataset(np.zeros(2, LABEL_DTYPE), given["side"], training, T=given["T"])
