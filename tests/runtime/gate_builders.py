"""Hand-made candidates, windows, tables and a tiny bundle for the gate's tests."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from feature_repo.constants import MODEL, WINDOW_NS
from feature_repo.fields import CHANNELS, MARKET_DTYPE
from feature_repo.instruments import SIMULATED_SYMBOL, FeeTier
from runtime.buckets import ALL
from runtime.bundle import Manifest, column_facts, write_bundle
from runtime.candidate import Candidate, Entry, SigType, Tier
from runtime.rollout import Rollout

FEE = FeeTier("regular", 2.0, 5.0)
TICK, LOT = 0.01, 0.001
MINUTE_NS = 60_000_000_000
T0 = 28_333_333 * MINUTE_NS  # a whole minute
TS = T0 + 1_000 * WINDOW_NS


@dataclass(frozen=True)
class MiniTable:
    X: np.ndarray
    market: np.ndarray
    symbol: str = SIMULATED_SYMBOL
    tick: float = TICK


def quiet_market(n: int, mid: float = 2000.0) -> np.ndarray:
    """n windows after T0 in which nothing happens; no type's extra condition holds."""
    m = np.zeros(n, MARKET_DTYPE)
    m["t_ns"] = T0 + WINDOW_NS * np.arange(1, n + 1)
    m["valid"], m["warm"] = True, True
    m["mid"], m["bid"], m["ask"] = mid, mid - TICK / 2, mid + TICK / 2
    m["bid_qty"] = m["ask_qty"] = 10.0
    m["spread_bps"] = m["spread_median_bps"] = TICK / mid * 1e4
    m["depth_top5"] = m["depth_median"] = 1e6
    m["data_age_ms"] = 10.0
    m["vwap"], m["sigma_vwap"] = mid * (1 + 40e-4), 1.0  # reward of 40 bps
    m["atr"] = mid * 80e-4  # reward of 40 bps
    m["slip_buy_bps"], m["slip_sell_bps"], m["drift_bps"] = 0.3, 0.4, 0.2
    m["high"], m["low"] = mid + 1.0, mid - 1.0
    return m


def quiet_table(n: int) -> MiniTable:
    X = np.zeros((n, MODEL.C), np.float32)
    X[:, CHANNELS.index("session_flag")] = 1.0
    return MiniTable(X, quiet_market(n))


def flow(table: MiniTable, row: int, ofi_z: float, cvd_z: float) -> None:
    table.X[row, CHANNELS.index("ofi_z")] = ofi_z
    table.X[row, CHANNELS.index("cvd_z")] = cvd_z


def market_row(**changes: float) -> np.void:
    row = quiet_market(1)
    row["t_ns"] = TS
    for name, value in changes.items():
        row[name] = value
    return row[0]


def window(T: int = MODEL.T) -> np.ndarray:
    return np.zeros((T, MODEL.C), np.float32)


def candidate(**changes: object) -> Candidate:
    """One that every guard lets pass on ``market_row()`` with FEE."""
    good = Candidate(
        ts_ns=TS,
        symbol=SIMULATED_SYMBOL,
        side=1,
        sig_type=SigType.MOMENTUM,
        tier=Tier.A,
        price=2000.0,
        R_bps=40.0 / 0.9,
        exp_reward_bps=40.0,
        est_slip_bps=0.525,
        entry=Entry.IOC,
        expiry_ns=TS + 1_000_000_000,
    )
    return replace(good, **changes)


def graph(
    *,
    bias: float = 2.0,
    ofi: float = 0.0,
    T: int = MODEL.T,
    C: int = MODEL.C,
    columns: dict[str, str] | None = None,
    **names: str,
) -> onnx.ModelProto:
    """p = sigmoid(bias + ofi * the newest ofi_z); ``columns``: its metadata; ``names`` renames x, ctx or p."""
    x, ctx, p = (names.get(n, n) for n in ("x", "ctx", "p"))
    weights = np.zeros((T * C, 1), np.float32)
    weights[(T - 1) * C + CHANNELS.index("ofi_z")] = ofi
    constants = [
        numpy_helper.from_array(weights, "wx"),
        numpy_helper.from_array(np.zeros((MODEL.ctx, 1), np.float32), "wc"),
        numpy_helper.from_array(np.array([bias], np.float32), "b"),
    ]
    nodes = [
        helper.make_node("Flatten", [x], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "wx"], ["hx"]),
        helper.make_node("MatMul", [ctx, "wc"], ["hc"]),
        helper.make_node("Add", ["hx", "hc"], ["h"]),
        helper.make_node("Add", ["h", "b"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], [p]),
    ]
    inputs = [
        helper.make_tensor_value_info(x, TensorProto.FLOAT, ["N", T, C]),
        helper.make_tensor_value_info(ctx, TensorProto.FLOAT, ["N", MODEL.ctx]),
    ]
    outputs = [helper.make_tensor_value_info(p, TensorProto.FLOAT, ["N", 1])]
    model = helper.make_model(
        helper.make_graph(nodes, "tiny", inputs, outputs, constants), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 8
    helper.set_model_props(model, column_facts("x", "ctx") if columns is None else columns)
    return model


BUCKET_COLUMNS = (
    "fee_tier", "profile", "model", "exit", "sig_type", "ofi_z", "spread", "depth", "session", "multiplier"
)  # fmt: skip


def buckets_csv(multipliers: dict[str, float] | None = None) -> str:
    """buckets.csv by bucket (profile/type/ofi/spread/depth/session); by default all is allowed everywhere."""
    if multipliers is None:
        parents = product("ABC", (s.name.lower() for s in SigType), (f"{ALL}/{ALL}/{ALL}",), ("other", "handover"))
        multipliers = {"/".join(parent): 1.0 for parent in parents}
    rows = [[FEE.name, b.split("/")[0], "true", "label", *b.split("/")[1:], str(m)] for b, m in multipliers.items()]
    return "\n".join(map(",".join, [list(BUCKET_COLUMNS), *rows])) + "\n"


def rolled_out(tag: str, stage: str = "scaled", previous: str | None = None) -> Rollout:
    return Rollout(stage=stage, previous=previous, base=tag, since_ns=0)


def serve(releases: Path, tag: str) -> Path:
    """Point releases/current at a tag, whatever is there and whatever the ladder says of it; the link."""
    link, beside = releases / "current", releases / f".{threading.get_ident()}"
    beside.symlink_to(tag)
    os.replace(beside, link)
    return link


def manifest(tag: str = "tiny", **changes: object) -> Manifest:
    return replace(
        Manifest(
            tag=tag,
            symbol=SIMULATED_SYMBOL,
            venue="simulated",
            simulated=True,
            model="tiny",
            fee_tier=FEE,
            rollout=rolled_out(tag),
            spans=[{"train_start_ns": 0, "train_end_ns": TS}],
            metrics={"brier": 0.25},
            versions={"onnx": onnx.__version__},
        ),
        **changes,
    )


def bundle_folder(
    root: Path, tag: str = "tiny", *, of: dict[str, object] | None = None, buckets: str | None = None,
    **graph_changes: float,
) -> Path:  # fmt: skip
    """A release, rolled out in full; ``of`` changes its manifest."""
    return write_bundle(
        root / tag,
        onnx_bytes=graph(**graph_changes).SerializeToString(),
        manifest=manifest(tag, T=graph_changes.get("T", MODEL.T), **(of or {})),
        buckets_csv=buckets_csv() if buckets is None else buckets,
    )
