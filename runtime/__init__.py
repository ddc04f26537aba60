"""What may be done now: candidates, the gate, the shadow replay. Never places an order."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .candidate import Candidate
    from .decision import Decision, Reason
    from .gate import MetaFilter

__all__ = ["Candidate", "Decision", "MetaFilter", "Reason"]

_HOME = {"Candidate": "candidate", "Decision": "decision", "MetaFilter": "gate", "Reason": "decision"}


def __getattr__(name: str) -> Any:
    # Late, so that importing one name compiles and loads nothing of the others.
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
