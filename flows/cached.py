"""Options that the heavy tasks share: cached on the hash of what they read, and retried where that can help."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext

from feature_repo.errors import InputError

__all__ = ["HEAVY", "cached_by", "not_hopeless"]

HEAVY = "ofi-meta-heavy"
"""Tag of tasks that keep a core busy; ``flows.serve`` limits how many run at a time, over all deployments."""


def cached_by(reads: Callable[..., Any]) -> dict[str, Any]:
    """Options for ``@task``: its result, plain JSON, is kept by the hash of what it reads and is not made again.

    Parameters
    ----------
    reads : called with the task's arguments; what it returns, as JSON, is what the result depends on. None where the
        files that a result would name are not there: nothing is then taken from the cache, nor kept in it.
    """

    def key(context: TaskRunContext, arguments: dict[str, Any]) -> str | None:
        try:
            read = reads(*arguments.values())
        except (InputError, OSError):
            return None  # the task itself says what is wrong
        if read is None:
            return None
        text = json.dumps(read, sort_keys=True, default=str)
        return f"{context.task.name}-{hashlib.sha256(text.encode()).hexdigest()}"

    return {"cache_key_fn": key, "persist_result": True, "result_serializer": "json"}


def not_hopeless(_: Task[..., Any], __: TaskRun, state: State[Any]) -> bool:
    """Whether a second try may help: not where the input is refused."""
    try:
        state.result()
    except InputError:
        return False
    except Exception:
        return True
    return True
