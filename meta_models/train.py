"""Train one net on a labelled set and export it: ``python -m meta_models.train --features F --labels L``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feature_repo.constants import MODEL
from feature_repo.errors import InputError
from feature_repo.fields import CHANNELS

if TYPE_CHECKING:
    from .walk_forward import WalkForwardResult

__all__ = ["TrainRequest", "TrainResult", "main", "train"]


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """What the command was asked for."""

    features: Path
    labels: Path
    export: Path | None = None
    bundle: Path | None = None
    model: str = "tcn"
    t: int = MODEL.T
    c: int = MODEL.C
    folds: int = MODEL.folds
    rolling: bool = False
    seed: int = MODEL.seed
    train_minutes: float = MODEL.train_minutes
    tau: str = "fitted"


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What came of it; ``written`` has the largest difference between ONNX and torch by file, on training windows."""

    walk_forward: WalkForwardResult
    written: dict[Path, float]
    simulated: bool
    symbol: str
    n: int
    n_labelled: int
    n_missing: int


def train(request: TrainRequest, *, progress: Callable[[float], None] | None = None) -> TrainResult:
    """Read labels, fetch their windows from the feature store, walk forward, fit on everything, export.

    Raises
    ------
    InputError
        When an input is unusable, features and labels do not belong together, the store cannot answer, or there is not
        enough data for a net (`NotEnoughData`).
    """
    if request.c != len(CHANNELS):
        raise InputError(f"--c {request.c}", f"{len(CHANNELS)}, the channels of the catalogue", "Leave --c out")
    target = request.export or Path(f"models/export/{request.model}.onnx")
    if target.suffix != ".onnx":
        raise InputError(f"--export {target}", "a name that ends in .onnx", "The .pt goes beside it by itself")
    # Late: the help and a typing error should not wait for torch.
    from feature_repo.offline import candidate_id, training_set
    from feature_repo.table import FeatureTable

    from .dataset import build_dataset
    from .export import export_facts, write_graphs
    from .fit import FitConfig
    from .label_io import labels_from_parquet
    from .walk_forward import Origin, walk_forward

    config = FitConfig.of(
        request.model,
        T=request.t,
        C=request.c,
        seed=request.seed,
        folds=request.folds,
        expanding=not request.rolling,
        train_minutes=request.train_minutes,
    )
    table, file = FeatureTable.load(request.features), labels_from_parquet(request.labels)
    _belong_together(table, file, request)
    ids = [candidate_id(c.symbol, c.ts_ns, c.side) for c in file.candidates]
    stored = training_set(file.symbol, ids, file.labels["ts_ns"])
    data = build_dataset(file.labels, [c.side for c in file.candidates], stored, T=request.t)
    origin = Origin(file.symbol, file.venue, file.simulated, file.fee)
    with tempfile.TemporaryDirectory() as scratch:
        result = walk_forward(
            data.x,
            data.ctx,
            file.labels,
            data.ts_ns,
            config=config,
            workdir=Path(scratch),
            origin=origin,
            found=data.found,
            gross_R=file.gross_R if request.tau == "fitted" else None,
            tag=request.bundle.name if request.bundle else "release",
            release_folder=request.bundle,
            progress=progress,
        )
    if result.refused is not None:
        raise result.refused
    labelled = (data.y >= 0) & data.found
    facts = export_facts(
        symbol=file.symbol,
        venue=file.venue,
        simulated=file.simulated,
        model=request.model,
        T=request.t,
        C=request.c,
    )
    written = write_graphs(result.fitted, data.x[labelled], data.ctx[labelled], target, facts)
    return TrainResult(
        walk_forward=result,
        written={path: exported.max_abs_diff for path, exported in written.items()},
        simulated=file.simulated,
        symbol=file.symbol,
        n=len(data.y),
        n_labelled=int(labelled.sum()),
        n_missing=int((~data.found).sum()),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns 0, 1 where the data is too short to train on, 2 for anything else that cannot be used."""
    request = _parse(argv)
    from rich.console import Console

    say = Console(stderr=True, soft_wrap=True)
    try:
        with _bar(say) as progress:
            result = train(request, progress=progress)
    except InputError as error:
        from .fit import NotEnoughData

        say.print(f"error: {error}", style="red", markup=False, highlight=False)
        return 1 if isinstance(error, NotEnoughData) else 2
    _show(result, request, Console(soft_wrap=True))
    return 0


def _parse(argv: Sequence[str] | None) -> TrainRequest:
    parser = argparse.ArgumentParser(
        prog="python -m meta_models.train",
        description="Train a net on the labels of one symbol, walk-forward, and export it as ONNX and TorchScript.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    d = TrainRequest(Path(), Path())
    parser.add_argument("--features", type=Path, required=True, help="features folder of the symbol")
    parser.add_argument("--labels", type=Path, required=True, help="labels file (Parquet)")
    parser.add_argument("--model", default=d.model, help="tcn, transformer, lstm, stack (all three) or logistic")
    parser.add_argument("--t", type=int, default=d.t, help="windows of 100 ms that the net sees, 20 to 100")
    parser.add_argument("--c", type=int, default=d.c, help="channels")
    parser.add_argument("--export", type=Path, default=None, help="ONNX file, default: models/export/<model>.onnx")
    parser.add_argument("--bundle", type=Path, default=None, help="also write a bundle to this folder")
    parser.add_argument("--folds", type=int, default=d.folds, help="test blocks of the walk-forward")
    parser.add_argument("--rolling", action="store_true", help="train on a span of one length, not on all before")
    parser.add_argument("--seed", type=int, default=d.seed)
    parser.add_argument("--train-minutes", type=float, default=d.train_minutes, help="limit of the whole training")
    parser.add_argument(
        "--tau",
        choices=("fitted", "profile"),
        default=d.tau,
        help="threshold on P: from what the training span's labels paid, or the profile's own",
    )
    return TrainRequest(**vars(parser.parse_args(argv)))


def _kind(data: Any) -> str:
    return "simulated" if data.simulated else "recorded"


def _belong_together(table: Any, file: Any, request: TrainRequest) -> None:
    mine, theirs = (table.venue, table.symbol), (file.venue, file.symbol)
    if mine != theirs or table.simulated != file.simulated:
        raise InputError(
            f"{_kind(file)} labels of {file.symbol} on {file.venue} ({request.labels}) beside {_kind(table)} features "
            f"of {table.symbol} on {table.venue} ({request.features})",
            "both of one symbol and one tape",
            "Give the labels that were made from these features",
        )
    if len(file.labels) == 0:
        raise InputError(f"{request.labels} holds no label", "at least one", "Use a longer recording")
    t_ns, ts = table.t_ns, file.labels["ts_ns"]
    if len(t_ns) == 0 or ts.min() < t_ns[0] or ts.max() > t_ns[-1]:
        raise InputError(
            f"labels in {request.labels} from outside the time of the features in {request.features}",
            "both of one tape",
            "Label the tape that the features were made from",
        )


def _bar(console: Any) -> Any:
    from contextlib import contextmanager

    from rich.progress import Progress

    @contextmanager
    def shown() -> Any:
        with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
            row = bar.add_task("training", total=1.0)
            yield lambda fraction: bar.update(row, completed=fraction)

    return shown()


def _show(result: TrainResult, request: TrainRequest, console: Any) -> None:
    from rich.box import SIMPLE
    from rich.table import Table

    metrics = result.walk_forward.metrics
    data = "SIMULATED data" if result.simulated else "recorded data"
    console.print(
        f"{request.model} on {result.symbol}, {data}: {result.n:,} candidates, {result.n_labelled:,} labelled, "
        f"{result.n_missing:,} without a window in the store",
        highlight=False,
        markup=False,
    )
    table = Table(title=f"Out of sample, by the exported graphs ({data})", box=SIMPLE, padding=(0, 1, 0, 0))
    for name in ("block", "train", "test", "base", "AUC-PR", "linear", "Brier", "linear", "base", "ECE"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in (*metrics["folds"], {"k": "pooled"} | metrics):
        model, logistic, base = (row.get(name) or {} for name in ("model", "logistic", "base"))
        numbers = (
            model.get("base_rate"),
            model.get("auc_pr"),
            logistic.get("auc_pr"),
            model.get("brier"),
            logistic.get("brier"),
            base.get("brier"),
            model.get("ece"),
        )
        counts = (str(row["k"]), str(row.get("n_train", "")), str(model.get("n", 0)))
        table.add_row(*counts, *("N/A" if v is None else f"{v:.3f}" for v in numbers))
    console.print(table)
    for note in metrics["notes"]:
        console.print(f"note: {note}", highlight=False, markup=False)
    for path, diff in result.written.items():
        told = f"{path} and {path.with_suffix('.pt').name}: ONNX and torch differ by {diff:.1e} at most"
        console.print(told, markup=False)
    if result.walk_forward.release and request.bundle:
        console.print(str(result.walk_forward.release), markup=False)


if __name__ == "__main__":
    sys.exit(main())
