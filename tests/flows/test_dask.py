"""On a Dask cluster of two worker processes, one killed in the middle: what comes out is what the local run gives."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from feature_repo.instruments import FEE_TIERS

pytestmark = pytest.mark.long

SEEDS = (11, 12, 13, 14)


@pytest.fixture
def local(monkeypatch):
    monkeypatch.delenv("RUNNER", raising=False)
    monkeypatch.delenv("SCHEDULER", raising=False)


@pytest.fixture
def cluster(monkeypatch):
    """A running cluster, and RUNNER and SCHEDULER that name it."""
    from distributed import LocalCluster

    from flows.runner import LOCAL_CLUSTER

    with LocalCluster(**LOCAL_CLUSTER) as running:
        running.wait_for_workers(2, timeout=60)
        monkeypatch.setenv("RUNNER", "dask")
        monkeypatch.setenv("SCHEDULER", running.scheduler_address)
        yield running


class Killer(threading.Thread):
    """Ends one process with SIGKILL as soon as ``find`` names it."""

    def __init__(self, find):
        super().__init__(daemon=True)
        self.find, self.killed = find, None

    def run(self):
        deadline = time.monotonic() + 240
        while self.killed is None and time.monotonic() < deadline:
            pid = self.find()
            if pid:
                os.kill(pid, signal.SIGKILL)
                self.killed = pid
            time.sleep(0.01)


def build_day(seed: int, folder: Path) -> int:
    """From a seed to a tape and its features; the first time that seed 12 is built, half of it is left as it is."""
    from feature_repo.build import build_features
    from feature_repo.market.simulator import Simulation
    from feature_repo.market.tape import open_tape, write_stream

    place = Path(folder) / str(seed)
    tape = write_stream(Simulation(seed=seed, hours=0.2), place / "tape")
    marks = Path(folder) / "marks"
    marks.mkdir(exist_ok=True)
    first = not list(marks.glob(f"{seed}-*"))
    (marks / f"{seed}-{os.getpid()}").touch()
    if seed == 12 and first and (Path(folder) / "wait").exists():
        time.sleep(120)  # killed meanwhile
    table = build_features(open_tape(tape))
    table.save(place / "features")
    return len(table.market)


def files_of(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.parent.name != "marks" and path.name != "wait"
    }


def build_all(folder: Path) -> list:
    from prefect import flow, task

    from flows.fan_out import fan_out
    from flows.runner import runner

    folder.mkdir(exist_ok=True)

    @flow(task_runner=runner())
    def days():
        return fan_out(task(build_day, name="day"), SEEDS, folder=folder)

    return days()


def test_features_of_many_days_survive_a_killed_worker(prefect, tmp_path, monkeypatch, request):
    monkeypatch.delenv("RUNNER", raising=False)
    monkeypatch.delenv("SCHEDULER", raising=False)
    here = build_all(tmp_path / "here")
    assert all(one.ok for one in here), here
    expected = files_of(tmp_path / "here")
    assert sum("features" in name for name in expected) >= 3 * len(SEEDS)

    request.getfixturevalue("cluster")
    there = tmp_path / "there"
    (there / "marks").mkdir(parents=True)
    (there / "wait").touch()

    def stuck():
        return next((int(mark.name.split("-")[1]) for mark in (there / "marks").glob("12-*")), None)

    killer = Killer(stuck)
    killer.start()
    assert build_all(there) == here
    assert killer.killed is not None
    begun = [mark.name for mark in (there / "marks").glob("12-*")]
    assert len(begun) == 2, "the day of the killed worker is built again, by another process"
    assert killer.killed != os.getpid()
    assert files_of(there) == expected


def trained(folder: Path, made):
    """A walk-forward of the small net; more rows than it is worth to keep in one process."""
    from flows.runner import fits_on_cluster
    from meta_models.nets.tcn import TCNConfig
    from meta_models.walk_forward import Origin, walk_forward
    from tests.meta_models.small_fit import SMALL

    with fits_on_cluster():
        return walk_forward(
            made.x,
            made.ctx,
            made.labels,
            made.ts_ns,
            config=replace(SMALL, nets=(TCNConfig(T=20, channels=8, dilations=(1, 2), dropout=0.0),)),
            workdir=folder / "bundles",
            checkpoints=folder / "checkpoints",
            origin=Origin("MADE-UP", "simulated", True, FEE_TIERS["simulated"][0]),
            explain=False,
        )


@pytest.fixture(scope="module")
def made():
    from tests.meta_models.learnable import make

    return make(3_000, C=24, hours=36.0)


@pytest.fixture(scope="module")
def here(made, tmp_path_factory):
    """What this machine makes of it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RUNNER", "SCHEDULER"):
            patch.delenv(name, raising=False)
        return trained(tmp_path_factory.mktemp("here"), made)


def assert_same(one, two):
    np.testing.assert_array_equal(one.p_test, two.p_test)
    assert np.isfinite(one.p_test).sum() > 1_000
    for mine, other in zip(one.fitted.nets, two.fitted.nets, strict=True):
        weights, others = mine.state_dict(), other.state_dict()
        assert weights.keys() == others.keys()
        assert all(np.array_equal(weights[k].numpy(), others[k].numpy()) for k in weights)
    folders = [[fold.bundle_path for fold in result.folds] + [result.release] for result in (one, two)]
    for first, second in zip(*folders, strict=True):
        assert (first / "model.onnx").read_bytes() == (second / "model.onnx").read_bytes()


def test_a_training_survives_a_killed_worker(local, made, here, tmp_path, request):
    cluster = request.getfixturevalue("cluster")
    scheduler, checkpoints = cluster.scheduler, tmp_path / "there" / "checkpoints"

    def busy():
        """A worker in the middle of a fit, once another fit is done."""
        if not list(checkpoints.glob("*.pt")):
            return None
        working = [w for w in list(scheduler.workers.values()) if any("fit" in str(t.key) for t in list(w.processing))]
        return next((w.nanny and pid_of(cluster, w) for w in working), None)

    killer = Killer(busy)
    killer.start()
    there = trained(tmp_path / "there", made)
    assert killer.killed is not None
    assert "fit" in scheduler.task_prefixes, "the fits were made on the cluster"
    assert_same(here, there)


def pid_of(cluster, worker) -> int | None:
    for nanny in cluster.workers.values():
        if nanny.worker_address == worker.address:
            return nanny.pid
    return None


def test_data_that_every_worker_has_lost_are_sent_again(cluster, tmp_path):
    from distributed import Client

    from flows.runner import _spread

    nannies = list(cluster.workers.values())
    with Client(cluster, set_as_default=False) as client:
        big = np.arange(100_000)
        made = _spread(client, slow_sum, [(k,) for k in range(8)], (big,))
        first = next(made)
        for nanny in nannies:
            os.kill(nanny.pid, signal.SIGKILL)
        assert [first, *made] == [int(big.sum()) + k for k in range(8)]


def slow_sum(k: int, values: np.ndarray) -> int:
    time.sleep(0.5)
    return int(values.sum()) + k


def test_a_training_on_a_worker_uses_its_cluster(local, made, here, tmp_path, request):
    """A symbol is one task of a flow, its fits are tasks again: neither waits for the place of the other."""
    from distributed import Client

    cluster = request.getfixturevalue("cluster")
    with Client(cluster, set_as_default=False) as client:
        symbols = [client.submit(trained, tmp_path / name, made, pure=False) for name in ("one", "two")]
        there = [symbol.result(timeout=300) for symbol in symbols]
    assert "fit" in cluster.scheduler.task_prefixes
    for result in there:
        assert_same(here, result)


def test_the_training_of_a_shadow_run_goes_to_the_cluster(local, tmp_path, monkeypatch, request):
    """From a tape to bundles by the steps of `ofi-meta shadow`; only RUNNER and SCHEDULER differ."""
    from flows import steps
    from flows.parameters import ShadowParameters
    from flows.training import train

    monkeypatch.setenv("OFI_META_DATA", str(tmp_path / "data"))
    tape = steps.make_tape(None, hours=16.0)
    features, fee = steps.make_features(tape), steps.fee_of("simulated", None)
    labelled = steps.make_labels(tape, features, fee)
    steps.fill_store(features, labelled.path, fee)

    results, bundles = [], []
    for place in ("here", "there"):
        if place == "there":
            cluster = request.getfixturevalue("cluster")
        parameters = ShadowParameters(model="logistic", folds=1, models=tmp_path / place)
        done = train(labelled.path, parameters, explain=False)
        results.append(done.result)
        folders = [*(fold.bundle_path for fold in done.result.folds), done.result.release]
        bundles.append([(folder / "model.onnx").read_bytes() for folder in folders])
    assert "fit" in cluster.scheduler.task_prefixes, "the fits were made on the cluster"
    assert bundles[0] == bundles[1]
    np.testing.assert_array_equal(results[0].p_test, results[1].p_test)
    assert np.isfinite(results[0].p_test).sum() > 500
    assert (tmp_path / "here" / "logistic.onnx").read_bytes() == (tmp_path / "there" / "logistic.onnx").read_bytes()
