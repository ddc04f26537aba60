"""How a flow over many items ends: with what was done, or failed and saying which."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from .fan_out import Outcome

__all__ = ["end_with"]

_NAMED = 5


def end_with(outcomes: Sequence[Outcome[Any, Any]], done: str, short: Callable[[Any], str] | None = None) -> State[Any]:
    """The final state of a flow: failed if an item has, with the names of those and their reasons.

    Parameters
    ----------
    done : what was done to an item, as in "days ingested"
    short : what an item came to, in a few words
    """
    failed = [o for o in outcomes if not o.ok]
    told = f"{len(outcomes) - len(failed)} of {len(outcomes)} {done}"
    came = [f"{o.item}: {short(o.value)}" for o in outcomes if o.ok and short is not None]
    if came:
        told += f" ({'; '.join(came[:_NAMED])}{', ...' if len(came) > _NAMED else ''})"
    if not failed:
        return Completed(message=told)
    named = "; ".join(f"{o.item}: {o.error}" for o in failed[:_NAMED])
    more = f"; and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
    return Failed(message=f"{told}. Failed: {named}{more}")
