"""Training: a Lightning step beside a bare loop, a walk-forward of the stack, the fused graph beside its parts."""

from __future__ import annotations

from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from .harness import Bench, Took, alternate, in_process, measured

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

__all__ = ["run"]

_NETS = ("tcn", "transformer", "lstm")
_ROWS, _SEED = 2_048, 7
_CANDIDATES, _FOLDS, _HOURS = 4_000, 3, 24.0
_CALLS = 1_000


def run() -> list[Bench]:
    """Steps of each net, the walk-forward on two CPUs, and one inference."""
    rows = []
    for name in _NETS:
        steps, took = in_process("bench_training:steps", name)
        ours, bare = (1e3 * Took(*t).cpu_s / steps for t in took)
        rows.append(
            measured(
                f"training: one step, {name}",
                ours,
                "ms",
                peer_name="bare PyTorch loop",
                peer=bare,
                goal="ratio <= 1.1",
                how=f"fit_net on {_ROWS:,} made-up windows [64, 24], {steps} steps of 128, with the trainer's start; "
                "one thread; the peer has the same net, data, order, optimiser and schedule, and ends with the same "
                "bits; CPU time",
            )
        )
    candidates, folds, fits_s = in_process("bench_training:folds", cpus=2)
    rows.append(
        measured(
            f"training: {len(_NETS)} nets, {_FOLDS} folds, {_CANDIDATES:,} candidates",
            fits_s,
            "s",
            goal="ours <= 300",
            how=f"SIMULATED: the latest {candidates:,} labelled candidates of {_HOURS:g} h; {folds} folds and the "
            "release, for each 3 out-of-fold nets a member and the final ones, baselines, what each channel is worth, "
            "and the bundles; wall time on two CPUs",
        )
    )
    fused_s, after_s, *singles_s = (Took(*t).cpu_s for t in in_process("bench_training:inference"))
    each = ", ".join(f"{name} {1e6 * s / _CALLS:.0f} us" for name, s in zip(_NETS, singles_s, strict=True))
    rows.append(
        measured(
            "training: fused inference",
            1e6 * fused_s / _CALLS,
            "us",
            peer_name="the three nets, one after the other",
            peer=1e6 * after_s / _CALLS,
            goal="ratio <= 1.1",
            how=f"onnxruntime, one thread, a batch of one [64, 24], {_CALLS:,} windows in a row; a net alone: {each}; "
            "CPU time",
        )
    )
    return rows


def steps(name: str) -> tuple[int, list[Took]]:
    """Steps of one fit; the time of ours and of the bare loop."""
    from meta_models.lit import OptimConfig, epochs_for, fit_net
    from meta_models.members import make_net, nets_of

    optim = OptimConfig(accelerator="cpu")
    (config,) = nets_of(name)
    rng = np.random.default_rng(_SEED)
    x = rng.standard_normal((_ROWS, config.T, config.C)).astype(np.float32)
    y = (x[:, -4:, 0].mean(axis=1) + rng.normal(0, 0.5, _ROWS) > 0).astype(np.int64)
    data = (x, y, rng.uniform(0.2, 1.0, _ROWS))
    nets: dict[str, nn.Module] = {}

    def ours() -> None:
        nets["ours"] = fit_net(lambda: make_net(config), *data, optim, seed=_SEED, max_seconds=3_600.0).net

    def bare() -> None:
        nets["bare"] = _bare_loop(lambda: make_net(config), *data, optim)

    took = alternate([ours, bare], rounds=5)
    # Weights, not answers: torch takes another attention kernel where a weight wants a gradient.
    weights = [[w.detach().numpy() for w in net.state_dict().values()] for net in nets.values()]
    if not all(np.array_equal(a, b) for a, b in zip(*weights, strict=True)):
        raise RuntimeError("the bare loop does not train the same net")
    return epochs_for(_ROWS, optim) * -(-_ROWS // optim.batch), took


def _bare_loop(
    make_net: Callable[[], nn.Module], x: np.ndarray, y: np.ndarray, weight: np.ndarray, optim: Any
) -> nn.Module:
    """What `fit_net` does, without Lightning."""
    import torch

    from meta_models.lit import Batches, class_weights, epochs_for, hide_channels
    from meta_models.losses import loss_of

    torch.manual_seed(_SEED)
    torch.set_num_threads(optim.threads)
    net, loss = make_net().train(), loss_of(optim.loss, optim.gamma)
    tensors = (torch.from_numpy(a) for a in (x, y.astype(np.float32), class_weights(y, weight)))
    batches, epochs = Batches(tuple(tensors), optim.batch, _SEED), epochs_for(len(y), optim)
    optimizer = torch.optim.AdamW(net.parameters(), lr=optim.lr, weight_decay=optim.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=optim.lr, total_steps=epochs * len(batches), pct_start=optim.rise
    )
    for epoch in range(epochs):
        batches.set_epoch(epoch)
        for windows, target, mass in batches:
            optimizer.zero_grad()
            loss(net(hide_channels(windows, optim.channel_dropout)), target, mass).backward()
            optimizer.step()
            schedule.step()
    return net.eval()


def folds() -> tuple[int, int, float]:
    """Candidates, folds with a model, and the seconds of one walk-forward of the stack."""
    from pathlib import Path

    from meta_models.fit import FitConfig
    from meta_models.walk_forward import Origin, walk_forward

    x, ctx, labels, fee = _market()
    config = FitConfig.of("stack", folds=_FOLDS, seed=_SEED)
    with TemporaryDirectory() as folder:
        results = []

        def once() -> None:
            results.append(
                walk_forward(
                    x,
                    ctx,
                    labels,
                    labels["ts_ns"].copy(),
                    config=config,
                    workdir=Path(folder),
                    origin=Origin("SIM", "simulator", True, fee),
                )
            )

        (took,) = alternate([once], rounds=1, warm=False)
    made = sum(fold.bundle_path is not None for fold in results[0].folds)
    if made != _FOLDS or results[0].release is None:
        raise RuntimeError(f"{made} of {_FOLDS} folds have a model: {results[0].metrics['notes']}")
    return len(labels), made, took.wall_s


def _market() -> tuple[np.ndarray, np.ndarray, np.ndarray, Any]:
    """Windows aligned to the side, contexts and labels of the latest candidates of a simulated day, and the fees."""
    from feature_repo.build import build_features
    from feature_repo.events import TRADE
    from feature_repo.fields import align
    from feature_repo.instruments import FeeTier
    from feature_repo.market.simulator import simulate_tape
    from meta_models.labels import label_candidates
    from runtime.context import context_rows
    from runtime.signals import find_candidates

    tape = simulate_tape(seed=_SEED, hours=_HOURS)
    table, fee = build_features(tape), FeeTier("bench", 2.0, 5.0)
    candidates = find_candidates(table)
    labels = label_candidates(
        table.quotes, tape.of_kind(TRADE), candidates, fee, instrument=tape.instrument, end_ns=tape.span_ns[1]
    )
    x, whole = table.windows(labels["ts_ns"])
    kept = np.flatnonzero(whole & (labels["y"] >= 0))
    kept = kept[np.argsort(labels["ts_ns"][kept], kind="stable")][-_CANDIDATES:]
    if len(kept) < _CANDIDATES:
        raise RuntimeError(f"{len(kept)} labelled candidates where {_CANDIDATES} are wanted")
    chosen = [candidates[i] for i in kept]
    buys = np.array([c.side > 0 for c in chosen])[:, None, None]
    at = np.searchsorted(table.t_ns, labels["ts_ns"][kept])
    windows = np.where(buys, x[kept], align(x[kept], -1)).astype(np.float32)
    return windows, context_rows(chosen, table.market[at], fee), labels[kept], fee


def inference() -> list[Took]:
    """Time of the calls: the fused graph, the nets one after the other for each window, and each net alone."""
    import onnxruntime as ort

    from meta_models.export import export_fused, export_single
    from meta_models.fit import FitConfig, fit_model
    from meta_models.lit import OptimConfig
    from meta_models.samples import spans_of
    from tests.meta_models.learnable import make

    made = make(400, T=64, C=24)
    brief = OptimConfig(epochs=1, min_steps=1, accelerator="cpu")  # the graph is the same whatever was learnt
    fitted = fit_model(
        made.x,
        made.ctx,
        made.labels["y"].astype(int),
        made.labels["weight"].astype(float),
        *spans_of(made.labels, made.ts_ns, 64),
        FitConfig.of("stack", optim=brief, workers=1),
    )
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1

    def session(graph: bytes) -> ort.InferenceSession:
        return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def calls(sessions: list[ort.InferenceSession], inputs: dict[str, np.ndarray]) -> Callable[[], None]:
        def many() -> None:
            for _ in range(_CALLS):
                for graph in sessions:
                    graph.run(("p",), inputs)

        return many

    one = {"x": made.x[:1].copy()}
    fused = session(export_fused(fitted, made.x, made.ctx).onnx_bytes)
    singles = [session(export_single(fitted, name, made.x).onnx_bytes) for name in _NETS]
    with_ctx = one | {"ctx": made.ctx[:1].copy()}
    return alternate([calls([fused], with_ctx), calls(singles, one), *(calls([s], one) for s in singles)], rounds=7)
