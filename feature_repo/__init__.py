"""What was known at time t: tapes, the book, the 100 ms feature engine and its feature store."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .build import build_features
    from .market.simulator import simulate_tape
    from .market.tape import read_tape
    from .window import FeatureWindow

__all__ = ["FeatureWindow", "build_features", "read_tape", "simulate_tape"]

_HOME = {
    "FeatureWindow": "window",
    "build_features": "build",
    "read_tape": "market.tape",
    "simulate_tape": "market.simulator",
}


def __getattr__(name: str) -> Any:
    # Late, so that importing one name compiles and loads nothing of the others.
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
