"""Going back by itself: the release to go back to, ready before it is needed, and the change of the link afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from feature_repo.errors import InputError

from .gate import MetaFilter
from .kill_switch import throw
from .manifest import Manifest
from .rehearsal import rehearsal
from .release_change import change
from .release_history import read_history, rolled_back_bases
from .release_state import served_by
from .rollout import CAPS, stage_of

__all__ = ["fits", "ready_previous", "take_back", "trades"]

_REHEARSALS = 3
_FIRST_WAIT_S, _MOST_WAIT_S = 0.05, 30.0


def trades(manifest: Manifest) -> bool:
    """Whether orders may come of it."""
    return CAPS.get(stage_of(manifest.rollout), 0.0) > 0


def fits(new: Manifest, old: Manifest) -> None:
    """The process that asks has windows of one length of one symbol.

    Raises
    ------
    InputError
        When the new release is for others.
    """
    facts = [(m.venue, m.symbol, m.T, m.C) for m in (new, old)]
    if facts[0] != facts[1]:
        told = [f"{symbol} on {venue}, windows [{T}, {C}]" for venue, symbol, T, C in facts]
        raise InputError(
            f"the release {new.tag!r} for {told[0]}", f"one for {told[1]}", "Restart the process to serve another"
        )


def ready_previous(
    releases: Path, manifest: Manifest, options: Mapping[str, Any], at_hand: Iterable[MetaFilter | None]
) -> MetaFilter:
    """The gate that a rollback puts in the place of a release's, loaded and asked a few times.

    Parameters
    ----------
    options : as for ``MetaFilter.load``
    at_hand : gates that are loaded already, taken where one is of that very release

    Raises
    ------
    InputError
        When there is none, or it cannot be used.
    """
    previous = None if manifest.rollout is None else manifest.rollout.previous
    if previous is None:
        raise InputError(f"no release to go back to from {manifest.tag}", "one that served before", "Promote another")
    for gate in at_hand:
        if gate is not None and gate.manifest.tag == previous:
            return gate
    gate = MetaFilter.load(releases / previous, **options)
    fits(gate.manifest, manifest)
    rehearse = rehearsal(gate)
    for _ in range(_REHEARSALS):
        rehearse()
    return gate


def take_back(
    releases: Path,
    *,
    event: str,
    base: str,
    at_ns: int,
    why: str,
    kill: Path | None,
    give_up: threading.Event,
    on_error: Callable[[str | None], None],
) -> None:
    """Bring link and history to where the process already is; tried again until it succeeds, or another has moved it.

    Parameters
    ----------
    base : model that is taken back
    kill : thrown besides, until it is there; None: the release before serves
    on_error : told why the latest try failed, and None in the end
    """
    wait_s, moved = _FIRST_WAIT_S, False
    while True:
        failed = None if kill is None else throw(kill, {"at_ns": at_ns, "event": event, "why": why})
        said = None if failed is None else f"{kill} is not there yet: {failed}"
        if not moved:
            try:
                change(releases, event, at_ns=at_ns, why=why, tag=base, stop=kill is not None)
                moved = True
            except Exception as e:  # a disk may fail in any way it likes; in memory the release is gone already
                moved = isinstance(e, InputError) and _is_gone(releases, base)
                said = said if moved else f"the link is not moved yet: {e}"
        on_error(said)
        if said is None or give_up.wait(wait_s):
            return
        wait_s = min(2 * wait_s, _MOST_WAIT_S)


def _is_gone(releases: Path, base: str) -> bool:
    """Whether another process has taken it back, or put another model in its place."""
    try:
        history = read_history(releases)
        served = served_by(releases, history)
    except (InputError, OSError):
        return False
    return served is None or served.base != base or base in rolled_back_bases(history.lines)
