"""What happened next, and how likely it was: labels, splits, nets, calibration, bundles."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .labels import tri_barrier_label
    from .nets.tcn import TCN
    from .splits import PurgedWalkForward

__all__ = ["PurgedWalkForward", "TCN", "tri_barrier_label"]

_HOME = {"PurgedWalkForward": "splits", "TCN": "nets.tcn", "tri_barrier_label": "labels"}


def __getattr__(name: str) -> Any:
    # Late, so that importing one name compiles and loads nothing of the others.
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
