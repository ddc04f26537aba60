"""One Prefect task for each of many items, such as symbols and days: all are waited for, and none stops the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from feature_repo.errors import InputError

if TYPE_CHECKING:
    from prefect import Task

__all__ = ["Outcome", "fan_out", "sentence_of"]

Item = TypeVar("Item")
Value = TypeVar("Value")


@dataclass(frozen=True)
class Outcome(Generic[Item, Value]):
    """What became of one item.

    Attributes
    ----------
    value : what the task returned; None where it failed
    error : why it failed, in a sentence; None where it did not
    """

    item: Item
    value: Value | None
    error: str | None

    @property
    def ok(self) -> bool:
        return self.error is None


def fan_out(
    task: Task[..., Value], items: Iterable[Item], *, name: Callable[[Item], str] = str, **shared: Any
) -> list[Outcome[Item, Value]]:
    """Submit ``task(item, **shared)`` for each item to the task runner of the flow it is called in, and wait for all.

    Retries, time limits and caching are the task's own. On Dask, what a killed worker had is done again by another:
    a task must be able to begin anew beside half of its own work.

    Parameters
    ----------
    task : a function of a module that the workers can import; takes an item first
    name : of an item, for the name of its run in the UI: "<task> <name>"

    Returns
    -------
    list
        An outcome an item, in the order of the items.
    """
    items = list(items)
    futures = [
        task.with_options(task_run_name=_literal(f"{task.name} {name(item)}")).submit(item, **shared) for item in items
    ]
    return [_outcome(item, future) for item, future in zip(items, futures, strict=True)]


def _outcome(item: Item, future: Any) -> Outcome[Item, Any]:
    try:
        return Outcome(item, future.result(), None)
    except Exception as error:
        return Outcome(item, None, sentence_of(error))


def sentence_of(error: Exception) -> str:
    """What a person should read of an error."""
    if isinstance(error, InputError):
        return str(error)
    first = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _literal(name: str) -> str:
    """Prefect fills in the task's parameters where a name has braces."""
    return name.replace("{", "{{").replace("}", "}}")
