"""List releases, promote one by hand, or go back; every change is a line in releases/history.jsonl."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from feature_repo.errors import InputError
from reports.console import wide_console
from runtime.bundle import Bundle, load_bundle
from runtime.kill_switch import KILL_NAME
from runtime.ladder import TABLE, Event, State
from runtime.release_change import change, model_state
from runtime.release_history import read_history
from runtime.release_state import ReleaseState, served_tag, state
from runtime.rollout import CAPS, stage_of

__all__ = ["promote", "rollback", "show"]

STAGES_BY_HAND = ("shadow", "small_live")
"""What a person may promote to; from there on a release's own trades decide."""
_TAG_WIDTH, _WIDTH = 42, 140
_BY_HAND = (Event.OPERATOR_PROMOTE, Event.OPERATOR_SMALL_LIVE)


def show(releases: Path) -> None:
    """Print a table of the releases, what serves, and the last change; a damaged one is listed with what is wrong."""
    tags = sorted(
        p.name for p in releases.iterdir() if p.is_dir() and not p.is_symlink() and not p.name.startswith(".")
    )
    if not tags:
        raise InputError(f"no bundle under {releases}", "at least one", "Make one with `ofi-meta shadow`")
    serving = served_tag(releases)
    rolled_back = _rolled_back_tag(releases, serving)
    table = Table(title=Text(str(releases), style="table.title"))
    for name in ("", "tag", "fee tier", "data", "stage", "multipliers", "back to", "state"):
        # Tags are there to be copied: folded where there is no room, never cut.
        table.add_column(name, overflow="fold", min_width=_TAG_WIDTH if name == "tag" else None)
    for tag in tags:
        try:
            bundle = load_bundle(releases / tag)
        except InputError as error:
            table.add_row("→" if tag == serving else "", tag, *[""] * 5, Text(f"refused: {error.got}"))
            continue
        m = bundle.manifest
        stage = stage_of(m.rollout) + (", rolled back" if tag == rolled_back else "")
        table.add_row(
            "→" if tag == serving else "",
            tag,
            m.fee_tier.name,
            "SIMULATED" if m.simulated else "recorded",
            stage,
            _range(bundle),
            "" if m.rollout is None else _short(m.rollout.previous, m.rollout.base),
            "verified",
        )
    console = wide_console()
    console.width = max(console.width, _WIDTH)
    console.print(table)
    for line in _told(releases, serving):
        plain = "".join(c if c.isprintable() else " " for c in line)  # a history may hold anything
        console.out(plain, highlight=False)


def _short(previous: str | None, base: str) -> str:
    """The tag of another step of the same model by its end alone."""
    return "" if previous is None else previous.removeprefix(base) or previous


def _rolled_back_tag(releases: Path, serving: str | None) -> str | None:
    """What serves, where its model was rolled back."""
    try:
        now = None if serving is None else state(releases)
    except InputError:  # the table says what is wrong with it
        return None
    return now.tag if now is not None and now.rolled_back else None


def _range(bundle: Bundle) -> str:
    """Least and largest multiplier that a gate goes by, over the rows of buckets.csv."""
    rollout = bundle.manifest.rollout
    if rollout is None:
        return ""
    values = [min(share.multiplier, CAPS[rollout.stage]) for share in bundle.buckets.shares.values()] or [0.0]
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _told(releases: Path, serving: str | None) -> list[str]:
    """What a person should know beside the table."""
    lines = []
    if serving is None:
        lines.append("Nothing is served: `ofi-meta release promote <tag>` begins a roll-out.")
    if (releases / KILL_NAME).exists():
        lines.append(f"STOPPED: {releases / KILL_NAME} is there, and everything is denied.")
    history = read_history(releases)
    if history.last is not None:
        last = history.last
        at = _utc(last.get("at_ns"))
        moved = f"{last.get('previous') or 'nothing'} -> {last.get('tag')}"
        lines.append(f"Last change: {at}, {last.get('event', 'change')} by {last.get('by', 'unknown')}: {moved}")
        lines.append(f"Why: {last.get('why') or 'not said'}")
    if history.unreadable:
        lines.append(f"{history.unreadable} lines of history.jsonl cannot be read.")
    return lines


def _utc(at_ns: object) -> str:
    if not isinstance(at_ns, int):
        return "time unknown"
    try:
        return datetime.fromtimestamp(at_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"{at_ns} ns"


def promote(releases: Path, tag: str, *, stage: str | None = None, why: str) -> None:
    """Roll a release out one stage further, or to the stage that is named."""
    if stage is not None and stage not in STAGES_BY_HAND:
        raise InputError(
            f"--stage {stage}", " or ".join(STAGES_BY_HAND), "Beyond small_live a release's own trades decide"
        )
    event = Event.OPERATOR_PROMOTE if stage is None else _event_to(stage, model_state(releases, tag), tag)
    _tell(releases, change(releases, event, tag=tag, at_ns=time.time_ns(), why=why))


def _event_to(stage: str, now: State, tag: str) -> Event:
    """What a person has to let happen so that the release comes to the stage."""
    wanted = [e for e in _BY_HAND if (to := TABLE.get((now, e))) is not None and to.state.value == stage]
    if not wanted:
        raise InputError(
            f"--stage {stage} for {tag}, whose model is in state {now.value}",
            "a stage that comes next",
            "See the ladder in docs/roll-out.md; `ofi-meta release rollback` goes back",
        )
    return wanted[0]


def rollback(releases: Path, *, why: str) -> None:
    """Serve what was served before the model that serves now."""
    _tell(releases, change(releases, Event.OPERATOR_ROLLBACK, at_ns=time.time_ns(), why=why))


def _tell(releases: Path, now: ReleaseState) -> None:
    said = Console()
    note = " (made from SIMULATED data)" if now.simulated else ""
    said.out(f"{releases / 'current'} -> {now.tag}{note}", highlight=False)
    most = max(now.multipliers.values(), default=0.0)
    means = f"up to {most:g} of the full size, by bucket" if most > 0 else "no order is allowed"
    stopped = f"; {releases / KILL_NAME} is there, and everything is denied" if now.stopped else ""
    said.out(f"stage {now.stage}: {means}{stopped}", highlight=False)
