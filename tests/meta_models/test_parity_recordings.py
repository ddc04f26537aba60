"""The exported graphs say what torch says on ten thousand windows of a real recording, alone and in company."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch

from feature_repo.build import build_features
from feature_repo.constants import SECOND_NS, WINDOW_NS
from feature_repo.fields import CHANNELS, align
from feature_repo.market.tape import open_stream, open_tape, write_stream
from meta_models.export import FUSED_TOLERANCE, SINGLE_TOLERANCE, write_graphs
from meta_models.fit import FitConfig, fit_model
from meta_models.lit import OptimConfig
from meta_models.members import MODELS

RECORDING = Path(__file__).parents[3] / "shared" / "data" / "binance_spot_nexousdt"
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not RECORDING.is_dir(), reason=f"the recordings are not at {RECORDING.parent}"),
]
ROWS = 10_000
ACROSS_BATCHES = 1e-6


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    """Windows of the whole recording, turned to either side: float32 [ROWS, 64, 24], and their times."""
    table = build_features(open_tape(write_stream(open_stream(RECORDING), tmp_path_factory.mktemp("tape"))))
    ts = table.t_ns[:: len(table.t_ns) // (2 * ROWS)]
    x, found = table.windows(ts, T=64)
    x, ts = x[found][:ROWS], ts[found][:ROWS]
    assert len(x) == ROWS
    x[1::2] = align(x[1::2], -1)
    return x, ts


@pytest.fixture(scope="module")
def stack(windows):
    """The three nets in their default shapes and what they make up together, trained briefly on made-up labels."""
    x, ts = windows
    rng = np.random.default_rng(0)
    rows = np.arange(0, ROWS, 20)
    ctx = rng.uniform(0, 3, (ROWS, 8)).astype(np.float32)
    told = x[rows, :, CHANNELS.index("depth_imbalance")].mean(axis=1)
    y = (told / told.std() + rng.normal(0, 2.0, len(rows)) > 0).astype(int)
    config = replace(
        FitConfig.of("stack", workers=1),
        optim=OptimConfig(epochs=4, min_steps=1, batch=64, accelerator="cpu"),
        inner_folds=2,
    )
    times = (ts[rows] - 64 * WINDOW_NS, ts[rows] + 30 * SECOND_NS)
    return fit_model(x[rows], ctx[rows], y, np.ones(len(rows)), *times, config), ctx


def test_every_graph_equals_torch_on_ten_thousand_real_windows(windows, stack, tmp_path):
    x, (fitted, ctx) = windows[0], stack
    written = write_graphs(fitted, x, ctx, tmp_path / "stack.onnx", {"simulated": "false"})
    assert {p.name for p in written} == {"stack.onnx", *(f"{m}.onnx" for m in MODELS["stack"])}
    assert {p.stem for p in tmp_path.glob("*.pt")} == {"stack", *MODELS["stack"]}
    for path, exported in written.items():
        assert exported.rows == ROWS
        assert exported.max_abs_diff <= (FUSED_TOLERANCE if path.stem == "stack" else SINGLE_TOLERANCE)
    differences = {}
    for path in written:
        session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        inputs = {"x": x, "ctx": ctx} if path.stem == "stack" else {"x": x}
        many = np.concatenate(
            [session.run(["p"], {k: v[i : i + 500] for k, v in inputs.items()})[0] for i in range(0, ROWS, 500)]
        )
        alone = [session.run(["p"], {k: v[i : i + 1] for k, v in inputs.items()})[0][0] for i in range(0, ROWS, 97)]
        traced = torch.jit.load(str(path.with_suffix(".pt")))
        with torch.inference_mode():
            script = traced(*(torch.from_numpy(v[:500]) for v in inputs.values())).numpy()
        differences[path.stem] = (np.abs(np.array(alone) - many[::97]).max(), np.abs(script - many[:500]).max())
    print({name: f"alone {a:.1e}, script {s:.1e}" for name, (a, s) in differences.items()})
    assert max(a for a, _ in differences.values()) <= ACROSS_BATCHES
    assert max(s for _, s in differences.values()) <= FUSED_TOLERANCE


def test_the_graph_equals_the_pipeline_in_numpy(windows, stack):
    x, (fitted, ctx) = windows[0][::10], stack
    with torch.inference_mode():
        graph = fitted.fused()(torch.from_numpy(x), torch.from_numpy(ctx[::10])).numpy()[:, 0]
    assert np.abs(graph - fitted.predict(x, ctx[::10])).max() <= FUSED_TOLERANCE
    assert graph.std() > 0.01  # a constant would agree with itself
