"""Faults that are planted in a day; what each should set off is said by the tests and by the measurement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from reports.drift import DriftInput

from .make_drift import with_channel

__all__ = ["CHANNEL_PLANTS", "MODEL_PLANTS", "planted"]

CHANNEL_PLANTS: dict[str, Callable[[np.ndarray], Callable[[np.ndarray], np.ndarray]]] = {
    "scaled x 2": lambda reference: lambda x: 2 * x,
    "shifted by 1 deviation": lambda reference: lambda x: x + reference.std(),
    "stuck at its median": lambda reference: lambda x: np.full_like(x, np.median(reference)),
    "sign flipped": lambda reference: lambda x: -x,
}
"""From the training span's values to a change of the day's."""


def planted(inputs: DriftInput, c: int, plant: str) -> DriftInput:
    """One channel of the day spoiled."""
    return with_channel(inputs, c, CHANNEL_PLANTS[plant](inputs.reference.X[:, c]))


def _p_up(inputs: DriftInput) -> DriftInput:
    return replace(inputs, decided=replace(inputs.decided, p=np.clip(inputs.decided.p + 0.1, 0, 1)))


def _p_down(inputs: DriftInput) -> DriftInput:
    return replace(inputs, decided=replace(inputs.decided, p=np.clip(inputs.decided.p - 0.1, 0, 1)))


def _flipped(inputs: DriftInput) -> DriftInput:
    y = inputs.decided.y
    return replace(inputs, decided=replace(inputs.decided, y=np.where(y >= 0, 1 - y, y).astype(np.int8)))


def _shuffled(inputs: DriftInput) -> DriftInput:
    p = np.random.default_rng(0).permutation(inputs.decided.p)
    return replace(inputs, decided=replace(inputs.decided, p=p))


def _invalid(inputs: DriftInput) -> DriftInput:
    return replace(inputs, quality=replace(inputs.quality, invalid=inputs.quality.found // 5))


def _dear(inputs: DriftInput) -> DriftInput:
    return replace(inputs, decided=replace(inputs.decided, cost_bps=inputs.decided.cost_bps * 3))


MODEL_PLANTS: dict[str, Callable[[DriftInput], DriftInput]] = {
    "P + 0.1": _p_up,
    "P - 0.1": _p_down,
    "labels flipped": _flipped,
    "P of another candidate": _shuffled,
    "20 % invalid rows": _invalid,
    "costs x 3": _dear,
}
