"""SIMULATED: what was trained on one mechanism is asked on a tape of the other, made for that and thrown away."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from feature_repo.build import build_features
from feature_repo.fields import CHANNELS, align
from feature_repo.instruments import SIMULATED_SYMBOL, FeeTier
from feature_repo.market.simulator import Simulation
from feature_repo.market.tape import open_tape, write_stream
from flows import transfer
from flows.training import Trained
from flows.transfer import judge_transfer
from meta_models.label_io import LabelFile
from meta_models.labels import LABEL_DTYPE
from runtime.gate import GuardsOnly
from runtime.signals import find_candidates
from tests.runtime.gate_builders import bundle_folder, candidate

pytestmark = pytest.mark.slow  # the trainer's libraries

FEE = FeeTier("vip9", 0.0, 1.7)
DEAR = FeeTier("regular", 2.0, 5.0)
FACTS = {"seed": 3, "hours": 0.3, "edge": 0.5, "rate": 50.0}
BIAS, OFI = -0.15, 0.3  # profile B allows from an ofi_z of 2.6 on


@pytest.fixture(scope="module")
def tape(tmp_path_factory):
    return write_stream(Simulation(**FACTS), tmp_path_factory.mktemp("tape"))


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """The tape that the module makes, and its features, by hand."""
    made = Simulation(**{**FACTS, "seed": 4, "mechanism": "book"})
    opened = open_tape(write_stream(made, tmp_path_factory.mktemp("other")))
    return opened, build_features(opened)


@pytest.fixture
def trained(tmp_path):
    """Four candidates, two of a fold with a bundle; a release that sees the newest ofi_z and is not rolled out."""
    release = bundle_folder(tmp_path, "release", bias=BIAS, ofi=OFI, of={"rollout": None})
    labels = np.zeros(4, LABEL_DTYPE)
    labels["ts_ns"], labels["y"], labels["net_bps"] = [10, 20, 30, 40], [1, 0, 1, 0], [5.0, -6.0, 7.0, -8.0]
    return Trained(
        LabelFile(labels, [candidate()] * 4, SIMULATED_SYMBOL, "simulated", True, FEE),
        np.zeros((4, 64, len(CHANNELS)), np.float32),
        np.ones(4, bool),
        SimpleNamespace(
            folds=[SimpleNamespace(k=0, bundle_path=release), SimpleNamespace(k=1, bundle_path=None)],
            fold_of=np.array([-1, 0, 0, 1]),
            p_test=np.array([np.nan, 0.2, 0.9, np.nan]),
            release=release,
        ),
    )


@pytest.fixture
def matrix():
    """Of the arms, those of profile B at the tier of the labels are the headline."""

    def arm(profile, fee, model, allow):
        return SimpleNamespace(profile=profile, fee=fee, model=model, decisions={"allow": np.array(allow)})

    return SimpleNamespace(
        arms=[
            arm("B", FEE, False, [True, True]), arm("B", FEE, True, [False, True]),
            arm("C", FEE, False, [False, False]), arm("C", FEE, True, [False, False]),
            arm("B", DEAR, False, [False, False]), arm("B", DEAR, True, [False, False]),
        ]
    )  # fmt: skip


@pytest.fixture
def judged(tape, trained, matrix, tmp_path, monkeypatch):
    monkeypatch.setenv("OFI_META_DATA", str(tmp_path / "data"))
    seen = []
    own, far = judge_transfer(tape, trained, matrix, progress=seen.append)
    assert seen == [1.0]
    assert list((tmp_path / "data").iterdir()) == []  # nothing of it is kept
    return own, far


def test_its_own_test_folds_come_from_the_matrix(judged):
    own, _ = judged
    assert (own.name, own.trained_on, own.mechanism) == ("flow, test folds", "flow", "flow")
    assert own.ts_ns.tolist() == [20, 30]
    assert own.p.tolist() == [0.2, 0.9]
    assert own.y.tolist() == [0, 1]
    assert own.net_bps.tolist() == [-6.0, 7.0]
    assert own.none.tolist() == [True, True]
    assert own.model.tolist() == [False, True]


def test_the_other_tape_is_another_day_of_the_other_mechanism(judged, other):
    _, far = judged
    candidates = find_candidates(other[1])
    assert (far.name, far.trained_on, far.mechanism) == ("book, never seen", "flow", "book")
    assert far.ts_ns.tolist() == [c.ts_ns for c in candidates]
    assert len(candidates) > 30
    assert set(far.y.tolist()) >= {0, 1}


def test_p_is_the_releases_on_the_window_from_the_candidates_own_side(judged, other):
    _, far = judged
    _, table = other
    candidates = find_candidates(table)
    x, found = table.windows(np.array([c.ts_ns for c in candidates]), 64)
    newest = [align(x[i], c.side)[-1, CHANNELS.index("ofi_z")] for i, c in enumerate(candidates)]
    expected = np.where(found, 1 / (1 + np.exp(-(BIAS + OFI * np.array(newest)))), np.nan)
    np.testing.assert_allclose(far.p, expected, atol=1e-6)
    assert {c.side for c in candidates} == {-1, 1}
    assert found.any()


def test_allowed_is_what_the_gates_say(judged, other, trained):
    _, far = judged
    opened, table = other
    candidates = find_candidates(table)
    guards = GuardsOnly.on(opened.instrument, "B", fee=FEE, T=64)
    x, found = table.windows(np.array([c.ts_ns for c in candidates]), 64)
    market = table.market[np.searchsorted(table.t_ns, far.ts_ns)]
    said = [
        guards.decide(c, c.ts_ns + 2_000_000, *((x[i], market[i]) if found[i] else (None, None))).allow
        for i, c in enumerate(candidates)
    ]
    assert far.none.tolist() == said
    assert any(said)
    # The thresholds of the release: profile B's own 0.65.
    assert far.model.tolist() == [allowed and p > 0.65 for allowed, p in zip(said, far.p, strict=True)]
    assert 0 < far.model.sum() < far.none.sum()


def test_a_long_tape_is_not_matched_in_length(tape, trained, matrix, tmp_path, monkeypatch):
    class Asked(Exception):
        pass

    def simulation(**facts):
        raise Asked(facts)

    monkeypatch.setenv("OFI_META_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(transfer, "Simulation", simulation)
    for hours, expected in ((0.3, 0.3), (100.0, 12.0)):
        manifest = open_tape(tape).manifest | {"hours": hours}
        monkeypatch.setattr(transfer, "open_tape", lambda _, told=manifest: SimpleNamespace(manifest=told))
        with pytest.raises(Asked) as asked:
            judge_transfer(tape, trained, matrix)
        assert asked.value.args == ({"seed": 4, "hours": expected, "edge": 0.5, "mechanism": "book", "rate": 50.0},)


def test_there_is_nothing_to_say_of_a_recorded_tape(tape, trained, matrix, monkeypatch):
    recorded = SimpleNamespace(manifest={"venue": "binance_usdm"})
    monkeypatch.setattr(transfer, "open_tape", lambda _: recorded)
    assert judge_transfer(tape, trained, matrix) == ()


def test_there_is_nothing_to_say_without_a_release(tape, trained, matrix):
    trained.result.release = None
    assert judge_transfer(tape, trained, matrix) == ()
    assert judge_transfer(tape, replace(trained, result=None), matrix) == ()
