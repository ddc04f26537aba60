"""Lightning wiring, the same for every net: loss, optimiser, schedule, time limit, checkpoint, progress."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, Timer
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn
from torch.nn import functional

from .losses import loss_of
from .splits import EMBARGO_NS, GAP_NS
from .watch import Watch

__all__ = [
    "TORCH_STATE",
    "BinaryLit",
    "FitResult",
    "OptimConfig",
    "class_weights",
    "epochs_for",
    "fit_net",
    "hide_channels",
]

TORCH_STATE = threading.RLock()
"""Held by whoever draws from torch's generator: it is the process's, and a fit must not depend on what else runs there.
Threads meet where a worker of a cluster has several of them, or where symbols are trained side by side."""


@dataclass(frozen=True, slots=True)
class OptimConfig:
    """How one net is trained: a planned number of steps under one rise and fall of the learning rate.

    ``early_stop`` does not end a single fit by a tail of its own: that takes the most recent labels away from the net,
    and the tail's noise picks the untrained net as readily as the overfitted one. All nets of a span are watched on the
    purged blocks they were not trained on, and stop at one common epoch (``meta_models.fit``).
    The time limit is a stop for a slow machine and no part of the result elsewhere.
    """

    epochs: int = 8
    min_steps: int = 80  # on few rows there are more epochs: a net of 20 steps has not left its starting point
    batch: int = 128
    lr: float = 2e-3  # the peak
    rise: float = 0.2  # share of the steps up to it
    weight_decay: float = 1e-2
    channel_dropout: float = 0.3  # share of channels hidden from the net, another for each window and step
    loss: str = "bce"  # or "focal"
    gamma: float = 1.0  # of the focal loss
    early_stop: bool = True
    threads: int = 1  # two wait for each other: on a busy machine an epoch then takes 20 x as long
    gap_ns: int = GAP_NS
    embargo_ns: int = EMBARGO_NS
    accelerator: str = "auto"


@dataclass(frozen=True, slots=True)
class FitResult:
    """One trained net, on the CPU and in eval mode.

    Attributes
    ----------
    epochs : epochs done
    watched : float32 [epochs, M], logits of the watched rows after each epoch; [epochs, 0] without any
    states : the weights after each epoch, where they were asked for
    """

    net: nn.Module
    epochs: int
    stopped_by_time: bool
    watched: np.ndarray
    states: tuple[dict[str, Tensor], ...] = ()


class BinaryLit(L.LightningModule):
    """Weighted loss on a net that maps x [B, T, C] to a logit [B]."""

    def __init__(self, net: nn.Module, optim: OptimConfig) -> None:
        super().__init__()
        self.net, self.optim, self.loss = net, optim, loss_of(optim.loss, optim.gamma)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)  # [B, T, C] -> [B]

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], _: int) -> Tensor:
        x, y, weight = batch
        return self.loss(self.net(hide_channels(x, self.optim.channel_dropout)), y, weight)

    def configure_optimizers(self) -> tuple[list[torch.optim.Optimizer], list[dict[str, object]]]:
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.optim.lr, weight_decay=self.optim.weight_decay)
        steps = int(self.trainer.estimated_stepping_batches)
        # A rise of one step exactly would have no length to divide by.
        rise = min(max(self.optim.rise, 1.5 / steps), 0.9)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=self.optim.lr, total_steps=steps, pct_start=rise
        )
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def hide_channels(x: Tensor, share: float) -> Tensor:
    """Whole channels of a window set to their mean, 0, the others scaled up: [B, T, C] -> [B, T, C].

    A net that may lean on any one channel leans on those that drift from one hour to the next, too.

    References
    ----------
    Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov (2014), Dropout: dropout of the inputs; by whole channels,
    Tompson, Goroshin, Jain, LeCun, Bregler (2015), Efficient Object Localization Using Convolutional Networks.
    """
    return x * functional.dropout(x.new_ones(len(x), 1, x.shape[-1]), share)  # [B, 1, C], the same at every step


class Batches:
    """Whole batches cut from tensors: a DataLoader would fetch and stack row by row.

    The order of an epoch follows from the seed and the epoch's number, so that a fit can go on from any epoch.
    Lightning tells the number to what it finds as ``sampler``.
    """

    def __init__(self, tensors: tuple[Tensor, ...], size: int, seed: int) -> None:
        self.tensors, self.size, self.seed, self.epoch = tensors, size, seed, 0

    @property
    def sampler(self) -> Batches:
        return self

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.tensors[0]) // self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        generator = torch.Generator().manual_seed(self.seed + 1_000_003 * self.epoch)
        order = torch.randperm(len(self.tensors[0]), generator=generator)
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


def epochs_for(n: int, optim: OptimConfig) -> int:
    """Epochs over n rows: ``optim.epochs``, or as many as ``optim.min_steps`` batches take."""
    return max(optim.epochs, -(-optim.min_steps // -(-n // optim.batch)))


def fit_net(
    make_net: Callable[[], nn.Module],
    x: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    optim: OptimConfig,
    *,
    seed: int,
    max_seconds: float,
    epochs: int | None = None,
    watch: np.ndarray | None = None,
    keep: bool = False,
    checkpoint: Path | None = None,
    progress: Callable[[float], None] | None = None,
) -> FitResult:
    """Train one net on rows of one span.

    Parameters
    ----------
    make_net : called under the seed
    x : float32 [N, T, C], normalised
    y : 0/1 [N], both classes present
    weight : float [N], average uniqueness
    seed : of initial weights, dropout and order
    max_seconds : hard stop after the epoch that reaches it; the net as it is then is returned and marked
    epochs : planned; default `epochs_for`
    watch : float32 [M, T, C], normalised rows that are not trained on
    keep : the weights of each epoch, too
    checkpoint : written now and then, and gone on from where it is there
    """
    timer = Timer(duration=timedelta(seconds=max_seconds), interval="epoch")
    with TORCH_STATE, isolate_rng(), _threads(optim.threads), _silence():
        L.seed_everything(seed, verbose=False)
        lit = BinaryLit(make_net(), optim)
        batches = Batches(_tensors(x, y, weight), optim.batch, seed)
        kept = Watch(watch, keep, checkpoint)
        callbacks: list[Callback] = [timer, kept]
        if progress is not None:
            callbacks.append(_Progress(progress))
        planned = epochs or epochs_for(len(y), optim)
        trainer = L.Trainer(
            accelerator=optim.accelerator,
            devices=1,
            max_epochs=planned,
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        there = checkpoint if checkpoint is not None and checkpoint.is_file() else None
        trainer.fit(lit, batches, ckpt_path=there, weights_only=True)
        done = trainer.current_epoch
    watched = np.stack(kept.logits) if kept.logits else np.empty((done, 0), np.float32)
    net = lit.net.cpu().eval().requires_grad_(False)
    # Not by the timer's word: where the last epoch planned is the one that reaches the limit, nothing was cut off.
    return FitResult(net, done, done < planned, watched, tuple(kept.weights))


def _tensors(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    return torch.from_numpy(x), torch.from_numpy(y.astype(np.float32)), torch.from_numpy(class_weights(y, weight))


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
