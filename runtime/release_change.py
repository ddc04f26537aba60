"""How what serves changes: one event at a time, as the ladder has it, with one commit point.

The order is: KILL where everything has to stop, the new folder, the link, the line of the history
(`runtime.release_state`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from feature_repo.errors import InputError

from .buckets import Bucket, BucketTable, Share, read_buckets, restaged_csv
from .bundle import BUCKETS_NAME, Release, read_release, write_bundle
from .kill_switch import KILL_NAME, throw
from .ladder import AUTOMATIC_ROLLBACKS, Action, Event, Move, State, check_multipliers, first_multipliers, move
from .manifest import Manifest, check_tag
from .release_history import HISTORY_NAME, History, read_history, rolled_back_bases
from .release_state import CURRENT_NAME, ReleaseState, Served, base_of, locked, mend, note, served_by, state_now
from .rollout import CAPS, Rollout

__all__ = ["change", "model_state"]

_PROMOTIONS = (Event.PASSED, Event.OPERATOR_PROMOTE, Event.OPERATOR_SMALL_LIVE)
_BY = {Event.PASSED: "ladder", Event.STEP: "ladder"} | dict.fromkeys(AUTOMATIC_ROLLBACKS, "account watch")
_STEP_TAG = re.compile(r"\.step-(\d+)$")


@dataclass(frozen=True, slots=True)
class _Plan:
    """The model that is meant, where it stands, where it goes, and what serves before."""

    base: str
    state: State
    move: Move
    served: Served | None


def change(
    releases: Path,
    event: str | Event,
    *,
    at_ns: int,
    why: str,
    multipliers: Mapping[Bucket, float] | None = None,
    tag: str | None = None,
    stop: bool = False,
) -> ReleaseState:
    """Let something happen to a release, as the ladder has it. Of two at once, one waits for the other.

    Parameters
    ----------
    event : a value of `ladder.Event`
    at_ns : when, ns UTC
    why : noted in the history
    multipliers : of the new step by row of buckets.csv (`ladder.next_step`); rows that are not named stay as they are.
        Out of the shadow and for small live by hand they follow from the evidence where none are given
    tag : of what is promoted; for other events what is supposed to serve, any step of it, so that nobody moves what
        has been moved meanwhile. None: what serves
    stop : also throw KILL

    Returns
    -------
    ReleaseState
        What serves afterwards.

    Raises
    ------
    InputError
        When the ladder does not know the event there, or a release that is needed is missing or damaged. Nothing has
        changed then.
    OSError
        When the disk fails. A KILL that cannot be made is told last: the link has been moved then.
    """
    releases, event = Path(releases), _event(event)
    if not isinstance(at_ns, int) or isinstance(at_ns, bool) or not 0 <= at_ns < 2**63:
        raise InputError(f"at_ns = {at_ns!r}", "ns UTC", "Give the time of the change")
    if not releases.is_dir():
        raise InputError(f"no folder {releases}", "the folder of the releases", "Make one with `ofi-meta shadow`")
    with locked(releases):
        history = mend(releases)
        plan = _plan(releases, event, tag, history)
        back = plan.move.action is Action.GO_BACK
        to = _target(releases, plan, event) if back else None
        failed = (
            throw(releases / KILL_NAME, {"at_ns": at_ns, "event": event.value, "why": why})
            if stop or (back and not to)
            else None
        )
        if to is None:
            to = (
                _stand_down(releases, plan, history, at_ns)
                if back
                else _restage(releases, plan, history, at_ns, multipliers)
            )
        _point(releases, to)
        told = {"at_ns": at_ns, "event": event.value, "why": why, "by": _BY.get(event, "operator")}
        note(releases, plan.served, **told, rolled_back=plan.base if back else None)
        if failed is not None:
            raise failed
        return state_now(releases, read_history(releases))


def model_state(releases: Path, tag: str) -> State:
    """Where the model of a release stands on the ladder.

    Raises
    ------
    InputError
        When there is no such release.
    """
    releases = Path(releases)
    history = read_history(releases)
    rollout = read_release(releases / check_tag(tag)).manifest.rollout
    return _state_of(tag if rollout is None else rollout.base, served_by(releases, history), history)


def _event(event: str | Event) -> Event:
    try:
        return Event(event)
    except ValueError:
        known = ", ".join(e.value for e in Event)
        raise InputError(f"the event {event!r}", known, "See the ladder in docs/roll-out.md") from None


def _plan(releases: Path, event: Event, tag: str | None, history: History) -> _Plan:
    """What the event means here."""
    served = served_by(releases, history)
    if event in _PROMOTIONS:
        if tag is None:
            raise InputError(f"{event.value} without a tag", "the tag of a release", "Name the release")
        manifest = read_release(releases / check_tag(tag)).manifest
        _named_as(manifest, tag, releases)
        base = tag if manifest.rollout is None else manifest.rollout.base
    elif served is None:
        raise InputError(f"{event.value} where nothing serves", "a release that serves", "Promote one")
    else:
        base = served.base
        if tag is not None and tag not in (base, served.tag) and base_of(releases, tag, history) != base:
            raise InputError(
                f"{event.value} for {tag}, while {served.tag} serves", "what serves", "Look at it with `release list`"
            )
    at = _state_of(base, served, history)
    if event in (Event.PASSED, Event.STEP):
        if history.unreadable:
            raise InputError(
                f"{releases / HISTORY_NAME} has {history.unreadable} lines that cannot be read",
                "a whole history: what was rolled back must not come up again by itself",
                "Restore it, or promote by hand",
            )
        trades = served is not None and served.base != base and CAPS.get(served.stage, 0.0) > 0
        if event is Event.PASSED and trades:
            raise InputError(
                f"{event.value} for {base}, while {served.tag} trades",
                "a place where nothing trades: a shadow would end it",
                f"Promote by hand to let {base} take its place",
            )
    return _Plan(base, at, move(at, event, name=base), served)


def _state_of(base: str, served: Served | None, history: History) -> State:
    if base in rolled_back_bases(history.lines):
        return State.ROLLED_BACK
    return State(served.stage) if served is not None and served.base == base else State.CANDIDATE


def _restage(
    releases: Path, plan: _Plan, history: History, at_ns: int, multipliers: Mapping[Bucket, float] | None
) -> str:
    """Write the copy of the new stage; its tag."""
    stage, served = plan.move.state.value, plan.served
    first = plan.state not in (State.SMALL_LIVE, State.SCALED)
    if first:
        source = read_release(releases / plan.base)
        before = _evidence(source, releases)
        wanted = {} if stage == "shadow" else dict(multipliers or first_multipliers(before))
    else:
        if served is None or served.release is None:
            raise InputError(f"{plan.base} cannot be read", "an undamaged release", "Roll it back")
        if not multipliers:
            raise InputError("a step without multipliers", "those of ladder.next_step", "Give the multipliers")
        source, before, wanted = served.release, served.release.buckets, dict(multipliers)
    if stage != "shadow":
        check_multipliers(stage, before, wanted, first=first)
        if first and not any(wanted.values()):
            raise InputError(
                f"{plan.base}, none of whose {len(before.shares)} buckets was found to pay",
                "a bucket with evidence (buckets.csv, multiplier)",
                "Leave it in the shadow",
            )
    shares = {}
    for bucket, share in before.shares.items():
        multiplier = float(wanted.get(bucket, 0.0 if first and stage != "shadow" else share.multiplier))
        shares[bucket] = Share(multiplier, at_ns if first or multiplier != share.multiplier else share.since_ns)
    return _write(releases, source, plan, history, stage, shares, at_ns)


def _target(releases: Path, plan: _Plan, event: Event) -> str | None:
    """The tag to go back to; None where there is none that can be used, which a person is told."""
    tag = plan.served.previous
    try:
        if tag is None:
            raise InputError(
                f"no bundle was served before {plan.served.tag}",
                "a release to go back to",
                "Promote one, or `touch releases/KILL` to stop everything",
            )
        _named_as(read_release(releases / tag).manifest, tag, releases)
    except InputError:
        if event is Event.OPERATOR_ROLLBACK:
            raise
        return None
    return tag


def _stand_down(releases: Path, plan: _Plan, history: History, at_ns: int) -> str:
    """Nothing to go back to: where the link leads, a gate denies even when somebody has taken KILL away."""
    served = plan.served
    try:
        source = read_release(releases / plan.base) if served.release is None else served.release
        return _write(releases, source, plan, history, "shadow", _evidence(source, releases).shares, at_ns)
    except InputError:
        return served.tag  # damaged: no gate can load it anyhow


def _write(
    releases: Path,
    source: Release,
    plan: _Plan,
    history: History,
    stage: str,
    shares: Mapping[Bucket, Share],
    at_ns: int,
) -> str:
    tag = _fresh_tag(releases, plan, history, stage)
    rollout = Rollout(stage=stage, previous=_previous_of(plan), base=plan.base, since_ns=at_ns)
    manifest = replace(source.manifest, tag=tag, rollout=rollout, files={})
    text = restaged_csv(
        source.buckets_csv, shares, fee_tier=manifest.fee_tier.name, name=str(source.path / BUCKETS_NAME)
    )
    folder = write_bundle(releases / tag, onnx_bytes=source.model, manifest=manifest, buckets_csv=text)
    for path in (*folder.iterdir(), folder, releases):  # on disk before the link leads there
        _sync(path)
    return tag


def _previous_of(plan: _Plan) -> str | None:
    """Where a rollback of the new step goes: what another model served before, or else its own shadow."""
    served = plan.served
    if served is None or plan.move.action is Action.GO_BACK:
        return None
    if served.base != plan.base:
        return served.tag
    own_shadow = served.previous is None and served.stage == "shadow" and plan.move.state is not State.SHADOW
    return served.tag if own_shadow else served.previous


def _fresh_tag(releases: Path, plan: _Plan, history: History, stage: str) -> str:
    """A name that never served; what a change left there that was cut off is written over."""
    used = history.served() | ({plan.served.tag} if plan.served else set())
    if stage == "scaled":
        step = _STEP_TAG.search(plan.served.tag) if plan.served else None
        names = (f"{plan.base}.step-{k}" for k in range(1 + int(step[1]) if step else 1, 10**6))
    else:
        name = f"{plan.base}.{stage.replace('_', '-')}"
        names = (name if k == 1 else f"{name}-{k}" for k in range(1, 10**6))
    return check_tag(next(n for n in names if n not in used))


def _evidence(source: Release, releases: Path) -> BucketTable:
    """The rows of a candidate's buckets.csv, which nobody has had to read until now."""
    if source.manifest.rollout is not None:
        return source.buckets
    name = str(releases / source.manifest.tag / BUCKETS_NAME)
    return read_buckets(source.buckets_csv, fee_tier=source.manifest.fee_tier.name, name=name)


def _named_as(manifest: Manifest, tag: str, releases: Path) -> None:
    if manifest.tag != tag:
        raise InputError(
            f"{releases / tag} holds the bundle {manifest.tag!r}",
            "a folder named as its tag",
            "Rename the folder, or write the bundle again",
        )


def _point(releases: Path, tag: str) -> None:
    """Move the link: the one moment in which the change happens."""
    beside = releases / f".{CURRENT_NAME}.next"
    beside.unlink(missing_ok=True)
    beside.symlink_to(tag)
    os.replace(beside, releases / CURRENT_NAME)
    _sync(releases)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
