"""The leak checks that run in every training: before it, beside it and after it."""

from __future__ import annotations

from .own_skill import LeakError, check_channels, check_skill
from .shuffled import shuffled_control

__all__ = ["LeakError", "check_channels", "check_skill", "shuffled_control"]
