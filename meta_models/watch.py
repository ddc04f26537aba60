"""What is kept of a running fit: logits of watched rows and weights after each epoch, and a checkpoint now and then."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from feature_repo.paths import atomic_path

from .predict import predict_logit

__all__ = ["CHECKPOINT_S", "Watch"]

CHECKPOINT_S = 10.0
"""A running fit is written down at most this often: a short one never pays for it."""


class Watch(Callback):
    """Keeps what the choice of the epoch needs, and writes the checkpoint that a stopped fit goes on from.

    The state of the random numbers is part of it: a fit that goes on ends with the same bits (on a CPU) as one that was
    never interrupted.

    Parameters
    ----------
    x : float32 [M, T, C], normalised rows that the net is not trained on; None: watch nothing
    keep : the weights of each epoch, too
    checkpoint : file to write; None: none
    """

    def __init__(self, x: np.ndarray | None, keep: bool, checkpoint: Path | None) -> None:
        self.x, self.keep, self.checkpoint = x, keep, checkpoint
        self.logits: list[np.ndarray] = []  # float32 [M], one an epoch
        self.weights: list[dict[str, Tensor]] = []
        self._dropout: Tensor | None = None
        self._written = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """All of it, as tensors: the file is read without unpickling objects."""
        logits = [torch.from_numpy(row) for row in self.logits]
        return {"logits": logits, "weights": self.weights, "dropout": torch.get_rng_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.logits = [row.numpy() for row in state_dict["logits"]]
        self.weights = list(state_dict["weights"])
        self._dropout = state_dict["dropout"].cpu()

    def on_train_start(self, *_: object) -> None:
        if self._dropout is not None:
            torch.set_rng_state(self._dropout)
            self._dropout = None

    def on_train_epoch_end(self, trainer: L.Trainer, lit: L.LightningModule) -> None:
        if self.x is not None:
            lit.net.eval()
            self.logits.append(predict_logit(lit.net, self.x).astype(np.float32))
            lit.net.train()
        if self.keep:
            self.weights.append({k: v.detach().cpu().clone() for k, v in lit.net.state_dict().items()})
        if self.checkpoint is not None and time.monotonic() - self._written >= CHECKPOINT_S:
            with atomic_path(self.checkpoint) as beside:
                trainer.save_checkpoint(beside)
            self._written = time.monotonic()
