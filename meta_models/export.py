"""Fitted pipelines as files that need no Python of ours: ONNX and TorchScript, compared with torch before use."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from torch import nn

from feature_repo.errors import InputError
from feature_repo.fields import CATALOGUE_HASH
from feature_repo.paths import atomic_path
from runtime.bundle import column_facts

from .fit import FittedModel

__all__ = [
    "FUSED_TOLERANCE",
    "OPSET",
    "SINGLE_TOLERANCE",
    "Exported",
    "export_facts",
    "export_fused",
    "export_single",
    "write_graphs",
]

OPSET = 17
FUSED_TOLERANCE, SINGLE_TOLERANCE = 1e-5, 1e-6
"""Largest accepted difference between ONNX and torch: after calibration, and of one net."""
_PARITY_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Exported:
    """One graph and how far it is from torch on the windows it was made with."""

    onnx_bytes: bytes
    max_abs_diff: float
    rows: int


def export_fused(fitted: FittedModel, x: np.ndarray, ctx: np.ndarray) -> Exported:
    """The bundle's graph: inputs "x" [N, T, C] and "ctx" [N, 8], output "p" [N, 1].

    Parameters
    ----------
    x : float32 [N, T, C], ctx : float32 [N, 8]; windows to compare on, N >= 1

    Raises
    ------
    InputError
        When ONNX and torch differ by more than `FUSED_TOLERANCE`.
    """
    return _export(fitted.fused(), {"x": x, "ctx": ctx}, FUSED_TOLERANCE)


def export_single(fitted: FittedModel, member: str, x: np.ndarray) -> Exported:
    """One net's own graph: input "x" [N, T, C], output "p" [N, 1] through its own Platt line."""
    return _export(fitted.single(member), {"x": x}, SINGLE_TOLERANCE)


def export_facts(*, symbol: str, venue: str, simulated: bool, model: str, T: int, C: int) -> dict[str, str]:
    """What an exported net says of itself: where it comes from and which inputs it takes."""
    return {
        "symbol": symbol,
        "venue": venue,
        "simulated": str(simulated).lower(),
        "model": model,
        "T": str(T),
        "C": str(C),
        "catalogue_hash": CATALOGUE_HASH,
    }


def write_graphs(
    fitted: FittedModel, x: np.ndarray, ctx: np.ndarray, path: Path, facts: dict[str, str]
) -> dict[Path, Exported]:
    """Write ``path`` (ONNX) and beside it the same graph as TorchScript (.pt); of a stack each of its nets, too.

    A single net takes x alone, through its own Platt line, so that it can be used without a context. A stack's file is
    the whole pipeline and takes x and ctx, as a bundle's does; its nets lie beside it under their own names.

    Parameters
    ----------
    x : float32 [N, T, C], side-aligned windows to compare on, ctx : float32 [N, 8]
    path : ends in .onnx
    facts : what the files say of themselves (symbol, simulated, ...) beside the order of the columns: the ONNX model's
        metadata, facts.json in the .pt

    Returns
    -------
    dict
        What was written, by the path of the ONNX file; each file is replaced in one step.
    """
    path = Path(path)
    if path.suffix != ".onnx":
        raise InputError(f"the export path {path}", "a name that ends in .onnx", "The .pt goes beside it by itself")
    members = fitted.config.members
    if len(members) == 1:
        return {path: _write(fitted.single(members[0]), {"x": x}, SINGLE_TOLERANCE, path, facts)}
    made = {path: _write(fitted.fused(), {"x": x, "ctx": ctx}, FUSED_TOLERANCE, path, facts)}
    for member in members:
        own = path.with_name(f"{member}.onnx")
        made[own] = _write(fitted.single(member), {"x": x}, SINGLE_TOLERANCE, own, facts | {"model": member})
    return made


def _write(
    module: nn.Module, inputs: dict[str, np.ndarray], tolerance: float, path: Path, facts: dict[str, str]
) -> Exported:
    exported, facts = _export(module, inputs, tolerance), facts | column_facts(*inputs)
    with _no_deprecation():
        traced = torch.jit.trace(module, tuple(torch.from_numpy(v[:2].copy()) for v in inputs.values()))
    exported = replace(exported, onnx_bytes=_with_facts(exported.onnx_bytes, facts))
    with atomic_path(path) as beside, atomic_path(path.with_suffix(".pt")) as traced_beside, _no_deprecation():
        beside.write_bytes(exported.onnx_bytes)
        torch.jit.save(traced, str(traced_beside), _extra_files={"facts.json": json.dumps(facts, sort_keys=True)})
    return exported


def _export(module: nn.Module, inputs: dict[str, np.ndarray], tolerance: float) -> Exported:
    inputs = {name: np.ascontiguousarray(v[:_PARITY_ROWS], dtype=np.float32) for name, v in inputs.items()}
    rows = len(next(iter(inputs.values())))
    if rows == 0:
        raise InputError("no window to export with", "at least one", "Pass the training windows")
    # Two rows: a batch of one would be taken for a constant by some operators.
    sample = tuple(torch.from_numpy(np.resize(v, (2, *v.shape[1:]))) for v in inputs.values())
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the exporter recommends its successor, which writes another opset
        torch.onnx.export(
            module,
            sample,
            buffer,
            dynamo=False,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=["p"],
            dynamic_axes={name: {0: "N"} for name in (*inputs, "p")},
        )
    data = _with_facts(buffer.getvalue(), column_facts(*inputs))
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    with torch.inference_mode():
        expected = module(*(torch.from_numpy(v) for v in inputs.values())).numpy()
    got = _session(data).run(("p",), inputs)[0]
    diff = float(np.abs(got - expected).max())
    if got.shape != (rows, 1) or not diff <= tolerance:
        raise InputError(
            f"an exported graph whose p has shape {got.shape} and differs from torch by {diff:.2e} on {rows} windows",
            f"p [N, 1] and at most {tolerance:.0e}",
            "Check the windows for values that are not finite, and the calibrator for cliffs",
        )
    return Exported(data, diff, rows)


def _with_facts(data: bytes, facts: dict[str, str]) -> bytes:
    """The graph with this metadata and no other."""
    model = onnx.load_from_string(data)
    onnx.helper.set_model_props(model, facts)
    return model.SerializeToString(deterministic=True)


@contextmanager
def _no_deprecation() -> Iterator[None]:
    # TorchScript is asked for by name; torch would rather write something else.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # shapes are checked where the window comes in
        yield


def _session(data: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
