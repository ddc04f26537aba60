"""Which release serves: ``releases/current`` says so, and nothing else.

::

    releases/<base>              a candidate, as training left it
             <base>.shadow       its copies, one a step of the roll-out; nothing in a folder that served ever changes
             <base>.small-live
             <base>.step-1 ...
             current             a link to one of them, replaced in one step: the change itself
             history.jsonl       a line for each change, written after it (`runtime.release_history`)
             KILL                there: nothing is allowed
             .lock               held by whoever changes any of this (`runtime.release_change`)

A change writes the new folder, moves the link, adds the line. Whatever ends the process in between, the link leads to
the old release or to the new one, whole; who comes next adds the line that is missing.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from feature_repo.errors import InputError

from .buckets import Bucket, BucketTable
from .bundle import Release, read_release
from .kill_switch import KILL_NAME
from .ladder import State
from .manifest import MANIFEST_NAME, check_tag
from .release_history import History, append_line, cut_torn_tail, read_history, rolled_back_bases
from .rollout import CAPS, STAGES, stage_of

__all__ = [
    "CURRENT_NAME",
    "ReleaseState",
    "Served",
    "base_of",
    "locked",
    "mend",
    "note",
    "served_by",
    "served_tag",
    "state",
    "state_now",
]

CURRENT_NAME, LOCK_NAME = "current", ".lock"
_LOOKS = 3
_LEFT_OVER = re.compile(r"\..+\.(shadow|small-live|step-\d+)(-\d+)?\.\w{8}")  # of write_bundle, for a step's copy


@dataclass(frozen=True, slots=True)
class ReleaseState:
    """What serves.

    Attributes
    ----------
    base : tag of the candidate that it is a copy of; its own where it was never rolled out
    stage : "candidate", "shadow", "small_live" or "scaled"
    previous : tag that a rollback goes to, or None
    since_ns : when this step was made, ns UTC; None for a candidate
    rolled_back : its model was rolled back, and no operator has promoted it since
    stopped : KILL is there
    table : rows of its buckets.csv; in the shadow they are what the evidence admits, not what may be traded
    """

    tag: str
    base: str
    stage: str
    previous: str | None
    since_ns: int | None
    rolled_back: bool
    stopped: bool
    symbol: str
    venue: str
    simulated: bool
    table: BucketTable

    @property
    def state(self) -> State:
        """Where its model stands on the ladder."""
        return State.ROLLED_BACK if self.rolled_back else State(self.stage)

    @property
    def multipliers(self) -> dict[Bucket, float]:
        """Share of the full size by row of buckets.csv, as a gate goes by it."""
        cap = CAPS.get(self.stage, 0.0)
        return {bucket: min(share.multiplier, cap) for bucket, share in self.table.shares.items()}


@dataclass(frozen=True, slots=True)
class Served:
    """What serves, as far as can be told; a damaged release is known by its line of the history."""

    tag: str
    base: str
    stage: str
    previous: str | None
    release: Release | None


def served_tag(releases: Path) -> str | None:
    """Tag that the link names; None without one.

    Raises
    ------
    InputError
        When it is no link, or leads elsewhere.
    """
    link = Path(releases) / CURRENT_NAME
    if not link.is_symlink():
        if link.exists():
            raise InputError(f"{link} is no link", "a link that `ofi-meta release promote` made", "Move it away")
        return None
    return check_tag(os.readlink(link))


def state(releases: Path) -> ReleaseState | None:
    """What serves now; None where nothing does. The history is mended where a change was cut off before its line.

    Parameters
    ----------
    releases : folder of all releases

    Raises
    ------
    InputError
        When the release that the link names is not there, or damaged.
    """
    releases = Path(releases)
    for _ in range(_LOOKS):
        tag, history = served_tag(releases), read_history(releases)
        if tag is None:
            return None
        if not history.torn and history.last is not None and history.last.get("tag") == tag:
            found = state_now(releases, history)
            if found.tag == tag:  # and nobody has moved it meanwhile
                return found
        with suppress(OSError), locked(releases):  # a folder that may only be read is as good as it is
            mend(releases)
    return state_now(releases, read_history(releases))


def served_by(releases: Path, history: History) -> Served | None:
    """What the link leads to, damaged or not."""
    tag = served_tag(releases)
    if tag is None:
        return None
    try:
        release = read_release(releases / tag)
    except InputError:
        line = history.last_of(tag) or {}
        stage = line.get("stage") if line.get("stage") in STAGES else "candidate"
        return Served(tag, str(line.get("base", tag)), str(stage), line.get("goes_back_to"), None)
    rollout = release.manifest.rollout
    if rollout is None:
        return Served(tag, tag, "candidate", None, release)
    return Served(tag, rollout.base, rollout.stage, rollout.previous, release)


def base_of(releases: Path, tag: str, history: History) -> str:
    """Tag of the candidate that a release is a copy of; of one that cannot be read, as the history has it."""
    try:
        rollout = read_release(releases / check_tag(tag)).manifest.rollout
    except InputError:
        return str((history.last_of(tag) or {}).get("base", tag))
    return tag if rollout is None else rollout.base


def state_now(releases: Path, history: History) -> ReleaseState:
    """What the link leads to, with the history in hand."""
    tag = served_tag(releases)
    release = read_release(releases / str(tag))
    manifest, rollout = release.manifest, release.manifest.rollout
    base = manifest.tag if rollout is None else rollout.base
    return ReleaseState(
        tag=str(tag),
        base=base,
        stage=stage_of(rollout),
        previous=None if rollout is None else rollout.previous,
        since_ns=None if rollout is None else rollout.since_ns,
        rolled_back=base in rolled_back_bases(history.lines),
        stopped=os.path.lexists(releases / KILL_NAME),
        symbol=manifest.symbol,
        venue=manifest.venue,
        simulated=manifest.simulated,
        table=release.buckets,
    )


def mend(releases: Path) -> History:
    """The history, after what a process that died has left undone; only with the lock in hand."""
    for left in releases.iterdir():
        if _LEFT_OVER.fullmatch(left.name) and left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
    cut_torn_tail(releases)
    history = read_history(releases)
    served = served_by(releases, history)
    if served is None or (history.last is not None and history.last.get("tag") == served.tag):
        return history
    before = _before(releases, history)
    fresh = served.release is not None and served.release.manifest.rollout and history.last_of(served.tag) is None
    note(
        releases,
        before,
        at_ns=served.release.manifest.rollout.since_ns if fresh else None,
        event="recovered",
        why="it serves, and no line says since when: the process that changed it did not come to write it",
        by="recovery",
        rolled_back=before.base if before is not None and _was_rollback(before, served) else None,
    )
    return read_history(releases)


def _before(releases: Path, history: History) -> Served | None:
    """What the last line says that served."""
    line = history.last
    if line is None or not line.get("tag"):
        return None
    tag = str(line["tag"])
    stage = line.get("stage") if line.get("stage") in STAGES else "candidate"
    return Served(tag, base_of(releases, tag, history), str(stage), line.get("goes_back_to"), None)


def _was_rollback(before: Served, served: Served) -> bool:
    """Whether the change without a line took a release back, as far as the two can tell."""
    if before.previous == served.tag:
        return True
    if before.base != served.base or before.stage not in STAGES or served.stage not in STAGES:
        return False
    return STAGES.index(served.stage) < STAGES.index(before.stage)


def note(
    releases: Path,
    before: Served | None,
    *,
    at_ns: int | None,
    event: str,
    why: str,
    by: str,
    rolled_back: str | None,
) -> None:
    """Add the line for what the link leads to now."""
    now = served_by(releases, read_history(releases))
    digest = ""
    with suppress(OSError):
        digest = hashlib.sha256((releases / now.tag / MANIFEST_NAME).read_bytes()).hexdigest()
    append_line(
        releases,
        {
            "at_ns": at_ns,
            "event": event,
            "tag": now.tag,
            "stage": now.stage,
            "base": now.base,
            "goes_back_to": now.previous,
            "previous": None if before is None else before.tag,
            "previous_stage": None if before is None else before.stage,
            "rolled_back": rolled_back,
            "why": why,
            "by": by,
            "manifest_sha256": digest,
        },
    )


@contextmanager
def locked(releases: Path) -> Iterator[None]:
    """One writer at a time; the lock of a process that was killed is gone with it."""
    with (releases / LOCK_NAME).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
