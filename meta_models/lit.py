"""Lightning wiring, the same for every net: loss, optimiser, early stopping, time limit, progress."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, Timer
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn
from torch.nn import functional as F

from .splits import EMBARGO_NS, GAP_NS, sample_spans

__all__ = ["BinaryLit", "FitResult", "OptimConfig", "class_weights", "fit_net", "predict_logit", "validation_tail"]


@dataclass(frozen=True, slots=True)
class OptimConfig:
    """How one net is trained.

    The number of epochs is fixed and small, so that the time limit is a stop for a slow machine and no part of the
    result elsewhere.
    """

    epochs: int = 12
    patience: int = 3  # epochs without a better validation loss
    blind_epochs: int = 5  # where a validation tail cannot be had
    batch: int = 128
    lr: float = 2e-3
    weight_decay: float = 1e-2
    valid_share: float = 0.15
    min_valid: int = 40
    threads: int = 1  # two wait for each other: on a busy machine an epoch then takes 20 x as long
    gap_ns: int = GAP_NS
    embargo_ns: int = EMBARGO_NS
    accelerator: str = "auto"


@dataclass(frozen=True, slots=True)
class FitResult:
    """One trained net, on the CPU and in eval mode."""

    net: nn.Module
    epochs: int
    valid_loss: float  # NaN where it was trained blind
    stopped_by_time: bool


class BinaryLit(L.LightningModule):
    """Weighted binary cross-entropy on a net that maps x [B, T, C] to a logit [B]."""

    def __init__(self, net: nn.Module, optim: OptimConfig) -> None:
        super().__init__()
        self.net, self.optim = net, optim

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)  # [B, T, C] -> [B]

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], _: int) -> Tensor:
        x, y, weight = batch
        # Weights average 1 over the training rows; dividing by the batch's own sum would undo them in small batches.
        return (F.binary_cross_entropy_with_logits(self.net(x), y, reduction="none") * weight).mean()

    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor], _: int) -> None:
        x, y, weight = batch
        loss = (F.binary_cross_entropy_with_logits(self.net(x), y, reduction="none") * weight).sum() / weight.sum()
        self.log("valid_loss", loss, on_epoch=True, batch_size=len(y))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=self.optim.lr, weight_decay=self.optim.weight_decay)


class Batches:
    """Whole batches cut from tensors: a DataLoader would fetch and stack row by row."""

    def __init__(self, tensors: tuple[Tensor, ...], size: int, seed: int | None) -> None:
        self.tensors, self.size = tensors, size
        self.generator = None if seed is None else torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return -(-len(self.tensors[0]) // self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        n = len(self.tensors[0])
        order = torch.arange(n) if self.generator is None else torch.randperm(n, generator=self.generator)
        for rows in order.split(self.size):
            yield tuple(t[rows] for t in self.tensors)


class _Progress(Callback):
    def __init__(self, report: Callable[[float], None]) -> None:
        self.report = report

    def on_train_epoch_end(self, trainer: L.Trainer, _: L.LightningModule) -> None:
        self.report((trainer.current_epoch + 1) / max(1, trainer.max_epochs or 1))


def class_weights(y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Uniqueness x balanced class weight, averaging 1.

    Parameters
    ----------
    y : 0/1 [N], both classes with some weight
    weight : float [N], average uniqueness

    Returns
    -------
    float32 [N]; each class has half of the total
    """
    weight = np.asarray(weight, float)
    mass = np.bincount(np.asarray(y, int), weight, minlength=2)
    return (weight * (len(weight) / (2 * mass))[np.asarray(y, int)]).astype(np.float32)


def validation_tail(y: np.ndarray, t_start: np.ndarray, t_end: np.ndarray, optim: OptimConfig) -> np.ndarray | None:
    """The last share of the rows by time, for early stopping.

    Parameters
    ----------
    y : 0/1 [N]
    t_start, t_end : int64 [N], ns

    Returns
    -------
    int8 [N] with 0 train, 1 validation, -1 purged; or None where the tail would be too thin to stop by, lack a class,
    or cost more than twice itself in purged rows.
    """
    start, end, order = sample_spans(t_start, t_end)
    n_valid = round(optim.valid_share * len(y))
    if n_valid < optim.min_valid:
        return None
    role = np.zeros(len(y), np.int8)
    tail = order[-n_valid:]
    role[end > start[tail].min() - (optim.gap_ns + optim.embargo_ns)] = -1
    role[tail] = 1
    kept = role == 0
    if kept.sum() < len(y) - 3 * n_valid or any(len(np.unique(y[role == r])) < 2 for r in (0, 1)):
        return None
    return role


def fit_net(
    make_net: Callable[[], nn.Module],
    x: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    t_start: np.ndarray,
    t_end: np.ndarray,
    optim: OptimConfig,
    *,
    seed: int,
    max_seconds: float,
    progress: Callable[[float], None] | None = None,
) -> FitResult:
    """Train one net on rows of one span.

    Parameters
    ----------
    make_net : called under the seed
    x : float32 [N, T, C], normalised
    y : 0/1 [N], both classes present
    weight : float [N], average uniqueness
    t_start, t_end : int64 [N], ns
    seed : of initial weights, dropout and order
    max_seconds : hard stop; the best epoch so far is returned and marked
    """
    role = validation_tail(y, t_start, t_end, optim)
    train = np.ones(len(y), bool) if role is None else role == 0
    epochs = optim.blind_epochs if role is None else optim.epochs
    timer = Timer(duration=timedelta(seconds=max_seconds), interval="epoch")
    callbacks: list[Callback] = [timer]
    if progress is not None:
        callbacks.append(_Progress(progress))
    with isolate_rng(), _threads(optim.threads), _silence(), tempfile.TemporaryDirectory() as scratch:
        L.seed_everything(seed, verbose=False)
        lit = BinaryLit(make_net(), optim)
        loaders = [Batches(_tensors(x, y, weight, train), optim.batch, seed)]
        best = None
        if role is not None:
            best = ModelCheckpoint(Path(scratch), monitor="valid_loss", save_top_k=1, save_weights_only=True)
            callbacks += [EarlyStopping("valid_loss", patience=optim.patience), best]
            loaders.append(Batches(_tensors(x, y, weight, role == 1), 1 << 30, None))
        trainer = L.Trainer(
            accelerator=optim.accelerator,
            devices=1,
            max_epochs=epochs,
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=best is not None,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            default_root_dir=scratch,
        )
        trainer.fit(lit, *loaders)
        done, valid_loss = trainer.current_epoch, float("nan")
        if best is not None and best.best_model_path:
            lit.load_state_dict(torch.load(best.best_model_path, map_location="cpu", weights_only=True)["state_dict"])
            valid_loss = float(best.best_model_score)
    left = timer.time_remaining()
    return FitResult(lit.net.cpu().eval().requires_grad_(False), done, valid_loss, left is not None and left <= 0)


def predict_logit(net: nn.Module, x: np.ndarray, batch: int = 512) -> np.ndarray:
    """Logits float64 [N] of normalised windows float32 [N, T, C]."""
    with torch.inference_mode():
        parts = [net(torch.from_numpy(x[i : i + batch])).numpy() for i in range(0, len(x), batch)]
    return np.concatenate(parts).astype(np.float64) if parts else np.empty(0)


def _tensors(x: np.ndarray, y: np.ndarray, weight: np.ndarray, rows: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    w = class_weights(y[rows], weight[rows])
    return torch.from_numpy(x[rows]), torch.from_numpy(y[rows].astype(np.float32)), torch.from_numpy(w)


@contextmanager
def _threads(number: int) -> Iterator[None]:
    # The same number everywhere: sums are split by thread, and with them the last bit of every weight.
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _silence() -> Iterator[None]:
    """Lightning talks about devices, workers and products; the caller asked for a net."""
    loggers = [
        logging.getLogger(n) for n in ("lightning.pytorch", "lightning.fabric", "lightning", "pytorch_lightning")
    ]
    levels = [log.level for log in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for log in loggers:
            log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for log, level in zip(loggers, levels, strict=True):
                log.setLevel(level)
