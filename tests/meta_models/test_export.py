"""ONNX and TorchScript say what torch says, for one window and for many; a short span is refused."""

from __future__ import annotations

import io
import json
import warnings
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from feature_repo.constants import MODEL
from feature_repo.errors import InputError
from feature_repo.fields import CHANNELS, CTX_NAMES
from meta_models import export
from meta_models.calibrators import Isotonic
from meta_models.export import export_fused, export_single, write_graphs
from meta_models.fit import FitConfig, NotEnoughData, fit_model
from meta_models.samples import spans_of
from tests.meta_models.learnable import make
from tests.meta_models.small_fit import SMALL

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made():
    return make(700)


def fit(made, n=None):
    rows = slice(n)
    labels = made.labels[rows]
    spans = spans_of(labels, made.ts_ns[rows], 20)
    return fit_model(made.x[rows], made.ctx[rows], labels["y"].astype(int), labels["weight"], *spans, SMALL)


@pytest.fixture(scope="module")
def fitted(made):
    return fit(made)


def test_fused_graph_equals_torch_alone_and_in_company(made, fitted):
    exported = export_fused(fitted, made.x, made.ctx)
    print(f"largest difference, fused: {exported.max_abs_diff:.1e} on {exported.rows}")
    assert exported.max_abs_diff <= 1e-5
    model = onnx.load_from_string(exported.onnx_bytes)
    assert [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")] == [17]
    assert [i.name for i in model.graph.input] == ["x", "ctx"]
    assert {p.key: p.value.split(",") for p in model.metadata_props} == {
        "columns of x": list(CHANNELS),
        "columns of ctx": list(CTX_NAMES),
    }
    session = ort.InferenceSession(exported.onnx_bytes)
    many = session.run(["p"], {"x": made.x, "ctx": made.ctx})[0]
    assert many.shape == (700, 1)
    assert many.dtype == np.float32
    for i in (0, 350, 699):
        one = session.run(["p"], {"x": made.x[i : i + 1], "ctx": made.ctx[i : i + 1]})[0]
        assert abs(one[0, 0] - many[i, 0]) <= 1e-6


def test_fused_graph_equals_the_numpy_pipeline(made, fitted):
    with torch.inference_mode():
        p = fitted.fused()(torch.from_numpy(made.x), torch.from_numpy(made.ctx)).numpy()[:, 0]
    assert np.abs(fitted.predict(made.x, made.ctx) - p).max() < 1e-5


@pytest.mark.parametrize("knots", [1, 2, 64])
def test_isotonic_of_any_size_goes_through_onnx(made, fitted, knots):
    isotonic = Isotonic(np.arange(1, knots + 1) / 128, np.linspace(0.2, 0.7, knots))
    stepped = replace(fitted, calibration=replace(fitted.calibration, calibrator=isotonic, chosen="isotonic"))
    exported = export_fused(stepped, made.x, made.ctx)
    p = ort.InferenceSession(exported.onnx_bytes).run(["p"], {"x": made.x, "ctx": made.ctx})[0]
    assert exported.max_abs_diff <= 1e-5
    assert p.min() >= 0.2 - 1e-6
    assert p.max() <= 0.7 + 1e-6


def test_both_inputs_matter(made, fitted):
    graph = fitted.fused()
    x, ctx = torch.from_numpy(made.x), torch.from_numpy(made.ctx)
    with torch.inference_mode():
        p = graph(x, ctx)
        assert (graph(x.flip(0), ctx) - p).abs().max() > 0.05
        assert (graph(x, ctx.flip(0)) - p).abs().max() > 0.02


def test_single_net_as_onnx_and_torchscript(made, fitted, tmp_path):
    facts = {"symbol": "TEST", "simulated": "true"}
    (exported,) = write_graphs(fitted, made.x, made.ctx, tmp_path / "out" / "tcn.onnx", facts).values()
    print(f"largest difference, single: {exported.max_abs_diff:.1e}")
    assert exported.max_abs_diff <= 1e-6
    assert sorted(f.name for f in (tmp_path / "out").iterdir()) == ["tcn.onnx", "tcn.pt"]
    session = ort.InferenceSession(tmp_path / "out" / "tcn.onnx")
    facts |= {"columns of x": ",".join(CHANNELS)}
    assert session.get_modelmeta().custom_metadata_map == facts
    extra = {"facts.json": ""}
    script = torch.jit.load(str(tmp_path / "out" / "tcn.pt"), _extra_files=extra)
    assert json.loads(extra["facts.json"]) == facts
    for n in (1, 700):
        p = session.run(["p"], {"x": made.x[:n]})[0]
        assert p.shape == (n, 1)
        assert np.abs(script(torch.from_numpy(made.x[:n])).numpy() - p).max() <= 1e-6


def test_torchscript_is_written_without_a_word_about_its_age(made, fitted, tmp_path):
    before = list(warnings.filters)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        write_graphs(fitted, made.x, made.ctx, tmp_path / "tcn.onnx", {})
    assert [str(w.message) for w in said if "jit" in str(w.message)] == []
    assert warnings.filters == before  # silenced there and nowhere else


def test_bytes_depend_on_the_fit_and_not_on_the_windows_compared(made, fitted):
    assert export_single(fitted, "tcn", made.x).onnx_bytes == export_single(fitted, "tcn", made.x[:3]).onnx_bytes


def test_a_graph_that_differs_is_not_written(made, fitted, tmp_path, monkeypatch):
    class Lying(ort.InferenceSession):
        def run(self, *args, **kw):
            return [super().run(*args, **kw)[0] + np.float32(1e-3)]

    monkeypatch.setattr(export.ort, "InferenceSession", Lying)
    with pytest.raises(InputError, match="differs from torch by"):
        write_graphs(fitted, made.x, made.ctx, tmp_path / "tcn.onnx", {})
    assert list(tmp_path.iterdir()) == []


def test_a_graph_that_answers_in_another_shape_is_not_written(made, fitted, tmp_path, monkeypatch):
    class Flat(ort.InferenceSession):
        def run(self, *args, **kw):
            return [super().run(*args, **kw)[0][:, 0]]

    monkeypatch.setattr(export.ort, "InferenceSession", Flat)
    with pytest.raises(InputError, match=r"p has shape \(1,\) and differs from torch by"):
        write_graphs(fitted, made.x[:1], made.ctx[:1], tmp_path / "tcn.onnx", {})
    assert list(tmp_path.iterdir()) == []


def test_other_names_and_no_windows_are_refused(made, fitted, tmp_path):
    with pytest.raises(InputError, match=r"\.onnx"):
        write_graphs(fitted, made.x, made.ctx, tmp_path / "tcn.bin", {})
    with pytest.raises(InputError, match="no window"):
        export_single(fitted, "tcn", made.x[:0])


def test_manifest_numbers_are_plain(fitted):
    json.dump(fitted.report, io.StringIO(), allow_nan=False)
    chosen = fitted.report["ensemble"]
    name = f"{chosen['combiner']}+{chosen['chosen']}"
    assert chosen["gain"].keys() == chosen["brier"].keys() - {name}
    for other, gain in chosen["gain"].items():
        assert gain == pytest.approx(chosen["brier"][other] - chosen["brier"][name], abs=2e-6)


def test_same_seed_same_bytes(made):
    a, b = (export_fused(fit(made, 300), made.x, made.ctx).onnx_bytes for _ in range(2))
    assert a == b


@pytest.mark.parametrize("kind", ["few", "one class", "crowded"])
def test_too_little_is_refused_with_the_counts(made, kind):
    if kind == "few":
        with pytest.raises(NotEnoughData, match=f"{MODEL.min_train - 1} labels"):
            fit(made, MODEL.min_train - 1)
    elif kind == "one class":
        lonely = make(300)
        lonely.labels["y"] = 0
        with pytest.raises(NotEnoughData, match="0 that reached the target, 300 that did not"):
            fit(lonely)
    else:  # plenty of labels, but within eight minutes: purging leaves nothing to calibrate on
        with pytest.raises(NotEnoughData, match="out-of-fold"):
            fit(make(300, hours=8 / 60))


def test_values_that_are_not_finite_are_named(made):
    broken = make(300)
    broken.ctx[5, 6] = np.nan
    with pytest.raises(InputError, match="context values that are not finite in reward_over_cost"):
        fit(broken)
    broken = make(300)
    broken.x[5, 3, 1] = np.inf
    with pytest.raises(InputError, match="channel 1"):
        fit(broken)


def test_only_known_models():
    with pytest.raises(InputError, match="one of: logistic, tcn, transformer, lstm, stack"):
        FitConfig.of("mlp")
