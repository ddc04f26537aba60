"""Whose details a report shows: the arms the verdict rests on, each beside its counterpart without a model."""

from __future__ import annotations

from collections.abc import Mapping

from .tables import arm_key, arm_name

__all__ = ["shown_arms", "with_counterpart"]


def shown_arms(metrics: Mapping) -> list[dict[str, object]]:
    """Arms whose details are shown: the headline arms, and where one was not run, its counterpart without a model."""
    keys: list[dict[str, object]] = []
    for arm in metrics["matrix"]:
        key = arm_key(arm)
        if arm_name(arm) in metrics["verdict"]["headline"]:
            keys.append({**key, "model": False} if arm["na"] else key)
    return keys


def with_counterpart(key: dict[str, object]) -> list[dict[str, object]]:
    """The arm, after the one without a model where it has one."""
    return [{**key, "model": False}, key] if key["model"] else [key]
