"""The feature store is on the path, not beside it: without it training and gating stop, and say why."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from feature_repo.fields import CHANNELS
from feature_repo.offline import apply_definitions
from feature_repo.store import StoreError, feast_root
from feature_repo.table import FeatureTable
from flows.parameters import ShadowParameters
from flows.training import train
from meta_models.label_io import labels_from_parquet
from runtime import MetaFilter, Reason
from runtime.live.online import OnlineWindow
from tests.flows.conftest import ofi_meta

pytestmark = pytest.mark.slow


@pytest.fixture
def copied(simulated_run, tmp_path, monkeypatch):
    """The run's data in a folder of its own, so that its store can be taken away."""
    shutil.copytree(simulated_run.data.parent / "feast", tmp_path / "data" / "feast")
    monkeypatch.setenv("OFI_META_DATA", str(tmp_path / "data"))
    return tmp_path


def labels_path(run):
    (path,) = (run.data / "labels" / "simulated").iterdir()
    return path


@pytest.mark.parametrize("lost", ["registry.db", "window_sequence", "candidate_context"])
def test_training_stops_without_the_store(simulated_run, copied, lost):
    away = feast_root() / lost
    shutil.rmtree(away) if away.is_dir() else away.unlink()
    with pytest.raises(StoreError, match=r"feature (store|registry)") as refused:
        train(labels_path(simulated_run), ShadowParameters(models=copied / "models"))
    assert lost.split(".")[0] in str(refused.value)
    assert not (copied / "models").exists()


def test_the_train_command_says_so_in_one_sentence(simulated_run, copied):
    shutil.rmtree(feast_root())
    (features,) = (simulated_run.data / "features" / "simulated").iterdir()
    done = ofi_meta(
        *("train", "--features", str(features), "--labels", str(labels_path(simulated_run))),
        *("--export", str(copied / "models" / "tcn.onnx")),
        environment={**simulated_run.environment(), "OFI_META_DATA": str(copied / "data")},
        cwd=copied,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "feature registry" in done.stderr
    assert not (copied / "models").exists()


def test_gating_through_the_store_and_then_without_it(simulated_run, copied):
    (features,) = (simulated_run.data / "features" / "simulated").iterdir()
    table, file = FeatureTable.load(features), labels_from_parquet(labels_path(simulated_run))
    candidate = file.candidates[-1]
    now_ns = candidate.ts_ns + 2_000_000

    early = MetaFilter.load(simulated_run.bundle, profile="C", shadow=True, source=LateSource(file.symbol))
    assert early.allow(candidate, now_ns).reason is Reason.STORE_ERROR  # no online database yet
    apply_definitions()
    online = OnlineWindow(file.symbol)
    gate = MetaFilter.load(simulated_run.bundle, profile="C", shadow=True, source=online)
    assert gate.allow(candidate, now_ns).reason is Reason.NO_WINDOW

    (x,), (ok,) = table.windows(np.array([candidate.ts_ns]))
    assert ok
    row = table.market[np.searchsorted(table.t_ns, candidate.ts_ns)]
    online.push(x, row)
    through, direct = gate.allow(candidate, now_ns), gate.decide(candidate, now_ns, x, row)
    assert through == direct
    assert through.reason not in (Reason.NO_WINDOW, Reason.STORE_ERROR, Reason.STALE, Reason.INTERNAL_ERROR)

    for file_ in feast_root().glob("online.db*"):
        file_.unlink()
    (feast_root() / "registry.db").unlink()
    fresh = MetaFilter.load(simulated_run.bundle, profile="C", shadow=True, source=LateSource(file.symbol))
    denied = fresh.allow(candidate, now_ns)
    assert not denied.allow
    assert denied.size == 0
    assert denied.reason is Reason.STORE_ERROR
    assert "feature registry" in (fresh.last_error or "")


class LateSource:
    """A source made when it is first asked, as a process does that starts beside a missing store."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol

    def snapshot_at(self, t_ns: int):
        return OnlineWindow(self.symbol).snapshot_at(t_ns)


def test_the_channels_in_the_store_are_the_catalogue(simulated_run, copied):
    from feature_repo.offline import candidate_id, training_set

    file = labels_from_parquet(labels_path(simulated_run))
    some = file.candidates[:3]
    ids = [candidate_id(c.symbol, c.ts_ns, c.side) for c in some]
    stored = training_set(file.symbol, ids, np.array([c.ts_ns for c in some]))
    assert stored.x.shape == (3, 64, len(CHANNELS))
