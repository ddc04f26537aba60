"""Logits of one net over many rows."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

__all__ = ["predict_logit"]

_BATCH = 512


def predict_logit(net: nn.Module, x: np.ndarray) -> np.ndarray:
    """Logits float64 [N] of normalised windows float32 [N, T, C], on the device where the net is."""
    at = next(net.parameters()).device
    with torch.inference_mode():
        parts = [net(torch.from_numpy(x[i : i + _BATCH]).to(at)).cpu().numpy() for i in range(0, len(x), _BATCH)]
    return np.concatenate(parts).astype(np.float64) if parts else np.empty(0)
