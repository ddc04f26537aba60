"""A bundle comes back as written; anything tampered with is refused with a sentence."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from feature_repo.errors import InputError
from feature_repo.fields import CHANNELS, CTX_NAMES
from runtime.buckets import BucketEdges
from runtime.bundle import column_facts, load_bundle, write_bundle
from runtime.manifest import manifest_from_json, manifest_to_json

from .gate_builders import buckets_csv, bundle_folder, graph, manifest

ROLLOUT = {"stage": "scaled", "previous": None, "base": "tiny", "since_ns": 0}
EDGES = {"ofi_z": None, "spread_bps": [0.5, 0.5], "depth": [1.0, 2.0], "n": 9}


def edit(folder: Path, **changes: object) -> Path:
    file = folder / "manifest.json"
    raw = json.loads(file.read_text())
    raw.update(changes)
    file.write_text(json.dumps({k: v for k, v in raw.items() if v is not ...}))
    return folder


def test_round_trip_and_predict(tmp_path):
    bundle = load_bundle(bundle_folder(tmp_path, bias=0.0, ofi=1.0))
    assert replace(bundle.manifest, files={}) == manifest()
    assert sorted(bundle.manifest.files) == ["buckets.csv", "model.onnx"]
    x = np.zeros((3, 64, 24), np.float32)
    x[:, -1, 0] = 0.0, 1.0, -1.0
    p = bundle.predict(x, np.zeros((3, 8), np.float32))
    assert (p.shape, p.dtype) == ((3,), np.float32)
    np.testing.assert_allclose(p, [0.5, 0.7310586, 0.26894143], atol=1e-6)


def test_bound_arrays_give_the_same_bits_and_are_read_anew_each_time(tmp_path):
    bundle, rng = load_bundle(bundle_folder(tmp_path, bias=0.0, ofi=1.0)), np.random.default_rng(0)
    x, ctx = np.zeros((1, 64, 24), np.float32), np.zeros((1, 8), np.float32)
    bundle.bind(x, ctx)
    answers, want = [], []
    for _ in range(20):
        x[...], ctx[...] = rng.normal(size=x.shape), rng.normal(size=ctx.shape)
        answers.append(bundle.predict(x, ctx))
        want.append(bundle.predict(x.copy(), ctx))
    assert (answers[0].shape, answers[0].dtype) == ((1,), np.float32)
    np.testing.assert_array_equal(answers, want)  # and no answer was written over by a later one
    assert len(np.unique(answers)) == 20
    np.testing.assert_array_equal(bundle.predict(x, ctx.copy()), answers[-1])
    assert bundle == replace(bundle)


def test_a_bound_graph_that_leaves_nothing_answers_nan(tmp_path):
    class Silent:
        def __init__(self, session):
            self.io_binding = session.io_binding

        def run_with_iobinding(self, binding):
            pass

    bundle = load_bundle(bundle_folder(tmp_path))
    silent = replace(bundle, session=Silent(bundle.session))
    x, ctx = np.zeros((1, 64, 24), np.float32), np.zeros((1, 8), np.float32)
    for b in (bundle, silent):
        b.bind(x, ctx)
    assert bundle.predict(x, ctx) > 0
    assert np.isnan(silent.predict(x, ctx)).all()


def test_manifest_json_round_trip():
    edges = BucketEdges((math.nan, math.nan), (0.5, 0.5), (1.0, 2.0), 9)
    m = manifest(metrics={"brier": 0.2, "nested": {"n": [1, None]}}, edges=edges)
    assert manifest_from_json(manifest_to_json(m), name="m") == m
    assert json.loads(manifest_to_json(m))["edges"] == EDGES
    assert json.loads(manifest_to_json(m))["rollout"] == ROLLOUT
    assert manifest_from_json(manifest_to_json(manifest(rollout=None)), name="m").rollout is None


@pytest.mark.parametrize("name", ["model.onnx", "buckets.csv"])
def test_a_changed_byte_is_refused(tmp_path, name):
    folder = bundle_folder(tmp_path)
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(InputError, match=rf"{name} is not the file.*sha256"):
        load_bundle(folder)


@pytest.mark.parametrize("name", ["model.onnx", "buckets.csv", "manifest.json"])
def test_a_missing_file_is_refused(tmp_path, name):
    folder = bundle_folder(tmp_path)
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"no file {name}"):
        load_bundle(folder)


def test_no_folder(tmp_path):
    with pytest.raises(InputError, match=r"no bundle at .*make shadow"):
        load_bundle(tmp_path / "none")


def test_where_nothing_is_served_yet_a_release_that_could_be_is_named(tmp_path):
    with pytest.raises(InputError, match="make shadow"):
        load_bundle(tmp_path / "current")
    for tag in ("b", "a", "half"):
        bundle_folder(tmp_path, tag)
    (tmp_path / "half").rename(tmp_path / ".half")  # as one is that is being written
    with pytest.raises(InputError, match=f"not promoted yet: {tmp_path}/a or another of the 2 there"):
        load_bundle(tmp_path / "current")
    with pytest.raises(InputError, match="make shadow"):
        load_bundle(tmp_path / "c")


def test_a_file_that_is_a_link_is_refused(tmp_path):
    folder = bundle_folder(tmp_path)
    (folder / "model.onnx").rename(tmp_path / "outside.onnx")
    (folder / "model.onnx").symlink_to(tmp_path / "outside.onnx")
    with pytest.raises(InputError, match="it is a link"):
        load_bundle(folder)


@pytest.mark.parametrize("name", ["../model.onnx", "/etc/passwd", "sub/model.onnx", "extra.bin"])
def test_paths_cannot_leave_the_folder(tmp_path, name):
    folder = bundle_folder(tmp_path)
    files = json.loads((folder / "manifest.json").read_text())["files"]
    with pytest.raises(InputError, match="lists the files"):
        load_bundle(edit(folder, files={**files, name: "0" * 64}))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"schema": 0}, "schema 0.*Train a new bundle"),
        ({"schema": 2}, "schema 2.*Train a new bundle"),
        ({"schema": 4}, "schema 4"),
        ({"schema": ...}, "schema None"),
        ({"catalogue_hash": "0" * 64}, "another field catalogue"),
        ({"tag": ...}, "missing fields \\['tag'\\]"),
        ({"surprise": 1}, "unknown fields \\['surprise'\\]"),
        ({"T": 19}, "unusable T = 19"),
        ({"T": "64"}, "unusable T = 64"),
        ({"C": 23}, "unusable C = 23"),
        ({"ctx": 9}, "unusable ctx = 9"),
        ({"taus": {"A": 0.7}}, "unusable taus"),
        ({"taus": {"A": 0.7, "B": 0.65, "C": -1}}, "unusable taus"),
        ({"payoff": {"target_R": 0.9}}, "unusable payoff"),
        ({"payoff": {"target_R": -0.2, "miss_R": -0.1}}, "unusable payoff"),
        ({"payoff": {"target_R": 0.9, "miss_R": "-1.1"}}, "unusable payoff"),
        ({"rollout": ...}, "missing fields \\['rollout'\\]"),
        ({"rollout": {}}, "unusable rollout"),
        ({"rollout": ROLLOUT | {"stage": "full"}}, "unusable rollout"),
        ({"rollout": ROLLOUT | {"since_ns": -1}}, "unusable rollout"),
        ({"rollout": ROLLOUT | {"since_ns": True}}, "unusable rollout"),
        ({"rollout": ROLLOUT | {"base": None}}, "unusable rollout"),
        ({"rollout": ROLLOUT | {"base": "../x"}}, "the tag '../x'"),
        ({"rollout": ROLLOUT | {"previous": "/etc"}}, "the tag '/etc'"),
        ({"rollout": {"stage": "scaled"}}, "unusable rollout"),
        ({"edges": {}}, "unusable edges"),
        ({"edges": EDGES | {"depth": [2.0, 1.0]}}, "unusable edges"),
        ({"edges": EDGES | {"depth": [1.0]}}, "unusable edges"),
        ({"edges": EDGES | {"ofi_z": ["a", "b"]}}, "unusable edges"),
        ({"fee_tier": {"name": "x"}}, "unusable fee_tier"),
        ({"simulated": "no"}, "unusable simulated"),
        ({"tag": "../../etc"}, "the tag"),
        ({"tag": 7}, "unusable tag = 7"),
        ({"T": 32}, "the graph has inputs"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(tmp_path, changes, says):
    with pytest.raises(InputError, match=says):
        load_bundle(edit(bundle_folder(tmp_path), **changes))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        ("[]", "a manifest of schema None"),
        ("null", "a manifest of schema None"),
        ('{"schema": NaN}', r"no JSON \(the number NaN\)"),
        ('{"schema": -Infinity}', r"no JSON \(the number -Infinity\)"),
        ("\x80\x02pickle", "no JSON"),
        ("[" * 100_000, "no JSON"),
    ],
)
def test_a_damaged_manifest_is_refused(tmp_path, text, says):
    folder = bundle_folder(tmp_path)
    (folder / "manifest.json").write_text(text)
    with pytest.raises(InputError, match=says):
        load_bundle(folder)


def ending_in(operator, inputs, shape, kind=TensorProto.FLOAT, **attributes):
    """The graph whose p goes through one more operator, as bytes."""
    model = graph(p="q")
    model.graph.node.append(helper.make_node(operator, inputs, ["p"], **attributes))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 1]), "one_by_one"))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("p", kind, shape))
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (b"no graph", "cannot load the graph"),
        (graph(T=32).SerializeToString(), "the graph has inputs"),
        (graph(x="window").SerializeToString(), "the graph has inputs"),
        (graph(p="prob").SerializeToString(), "the graph has inputs"),
        (graph(bias=float("nan")).SerializeToString(), "the graph answers"),
        (ending_in("Concat", ["q", "q"], ["N", 2], axis=1), r"the graph answers float32 \(1, 2\)"),
        (
            ending_in("Cast", ["q"], ["N", 1], TensorProto.DOUBLE, to=TensorProto.DOUBLE),
            r"the graph answers float64 \(1, 1\)",
        ),
        (ending_in("Reshape", ["q", "one_by_one"], [1, 1]), "the graph fails on 3 windows"),
    ],
)
def test_a_graph_that_does_not_fit_is_refused_before_anything_is_written(tmp_path, model, says):
    with pytest.raises(InputError, match=says):
        write_bundle(tmp_path / "t", onnx_bytes=model, manifest=manifest("t"), buckets_csv=buckets_csv())
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({}, "the graph has the columns of x None"),
        (column_facts("x"), "the graph has the columns of ctx None"),
        (
            column_facts("x", "ctx") | {"columns of x": ",".join(reversed(CHANNELS))},
            "columns of x range_pos,ret_1s_bps",
        ),
        (column_facts("x", "ctx") | {"columns of ctx": ",".join(sorted(CTX_NAMES))}, "columns of ctx R_over_spread,"),
    ],
)
def test_a_graph_of_other_columns_or_another_order_is_refused(tmp_path, columns, says):
    model = graph(columns=columns).SerializeToString()
    with pytest.raises(InputError, match=says):
        write_bundle(tmp_path / "t", onnx_bytes=model, manifest=manifest("t"), buckets_csv=buckets_csv())


def test_weights_in_another_file_are_refused(tmp_path):
    onnx.save(graph(), tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    with pytest.raises(InputError, match="weights in another file"):
        write_bundle(
            tmp_path / "t",
            onnx_bytes=(tmp_path / "m.onnx").read_bytes(),
            manifest=manifest("t"),
            buckets_csv=buckets_csv(),
        )


def test_writing_replaces_the_same_tag_and_nothing_else(tmp_path):
    folder = bundle_folder(tmp_path, bias=1.0)
    before = (folder / "model.onnx").read_bytes()
    bundle_folder(tmp_path, bias=2.0)
    assert (folder / "model.onnx").read_bytes() != before
    assert sorted(os.listdir(tmp_path)) == ["tiny"]
    with pytest.raises(InputError, match="holds the bundle 'tiny', not 'other'"):
        write_bundle(
            folder, onnx_bytes=graph().SerializeToString(), manifest=manifest("other"), buckets_csv=buckets_csv()
        )
    (tmp_path / "mine").mkdir()
    with pytest.raises(InputError, match="no bundle"):
        write_bundle(
            tmp_path / "mine",
            onnx_bytes=graph().SerializeToString(),
            manifest=manifest("mine"),
            buckets_csv=buckets_csv(),
        )
    (tmp_path / "linked").symlink_to("tiny")
    with pytest.raises(InputError, match="linked is a link"):
        write_bundle(
            tmp_path / "linked",
            onnx_bytes=graph().SerializeToString(),
            manifest=manifest(),
            buckets_csv=buckets_csv(),
        )
    assert sorted(os.listdir(tmp_path)) == ["linked", "mine", "tiny"]


DAMAGED_BUCKETS = [
    ("", "no judged bucket: its release was trained without a shadow run"),
    ("bucket,n\n", "no judged bucket: its release was trained without a shadow run"),
    ("fee_tier,n\n", "without the columns profile"),
    (buckets_csv().replace("multiplier", "share"), "without the columns multiplier"),
    (buckets_csv({"B/momentum/all/all/all/other": 1.5}), "line 2: multiplier '1.5'"),
    (buckets_csv({"B/momentum/all/all/all/other": -0.1}), "multiplier '-0.1'"),
    (buckets_csv({"B/momentum/all/all/all/other": math.nan}), "multiplier 'nan'"),
    (buckets_csv().replace(",1.0\n", ",\n", 1), "multiplier ''"),
    (buckets_csv({"B/momentum/all/all/all/night": 1.0}), "session 'night'"),
    (buckets_csv({"B/scalping/all/all/all/other": 1.0}), "sig_type 'scalping'"),
    (buckets_csv({"B/momentum/all/low/all/other": 1.0}), "some states are 'all'"),
    (buckets_csv() + buckets_csv().splitlines()[1] + "\n", "for the second time"),
    (buckets_csv()[:-20], "not as many fields"),
    (buckets_csv().replace("1.0\n", "1.0,1.0\n", 1), "line 2: not as many fields"),
    (buckets_csv() + "\x00\n", "not as many fields"),
    (buckets_csv() + "a\rb\n", "is no CSV"),
]


@pytest.mark.parametrize(("text", "says"), DAMAGED_BUCKETS)
def test_damaged_buckets_are_refused_where_a_gate_goes_by_them(tmp_path, text, says):
    with pytest.raises(InputError, match=says):
        bundle_folder(tmp_path, buckets=text)
    assert os.listdir(tmp_path) == []
    assert load_bundle(bundle_folder(tmp_path, of={"rollout": None}, buckets=text)).buckets.shares == {}


def test_not_finite_metrics_are_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        manifest_to_json(manifest(metrics={"ece": float("nan")}))
