"""The page's section "Releases": what serves, what was judged, and what changed when and why."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from html import escape
from pathlib import Path

from runtime.kill_switch import KILL_NAME
from runtime.manifest import MANIFEST_NAME
from runtime.release_history import HISTORY_NAME
from runtime.release_state import CURRENT_NAME

from .page_files import Unreadable, read_object, text_of, time_text
from .page_parts import folded_html, list_html, table_html
from .promotion import PROMOTION_NAME, PROMOTION_SCHEMA
from .tables import Table, cut
from .tables.cell import DASH
from .tables.promotion import rule_table

__all__ = ["CHANGES", "release_section"]

CHANGES = 30
"""So many of the newest changes are shown."""
_TAIL_BYTES = 256_000
_NOT_JUDGED = "No promotion was judged: no promotion.json is here. The nightly promotion writes it (`make prefect`)."
_NO_HISTORY = "No release was served yet: there is no history. `ofi-meta release promote TAG` begins one."


def release_section(out: Path, releases: Path, metrics: Mapping | None = None) -> tuple[str, ...]:
    """Title, text and parts, from ``out``/promotion.json, ``releases``/current and history.jsonl.

    Parameters
    ----------
    metrics : of the page; says whether the promotion was judged on the same run
    """
    releases = Path(releases)
    return (
        "Releases",
        "Which release serves, whether the newest candidate may, and every change of it.",
        _killed(releases),
        _serving(releases),
        *_promotion(Path(out) / PROMOTION_NAME, metrics),
        _history(releases / HISTORY_NAME),
    )


def _killed(releases: Path) -> str:
    if not os.path.lexists(releases / KILL_NAME):
        return ""
    told = f"The kill switch is on: while the file {KILL_NAME} lies beside the releases, nothing is allowed."
    return f'<div class="verdict">{escape(told)}</div>'


def _serving(releases: Path) -> str:
    link = releases / CURRENT_NAME
    if not os.path.lexists(link):
        return '<p class="sub">No release serves: a gate that is started now denies everything.</p>'
    tag = cut(os.readlink(link) if link.is_symlink() else "not a link", 120)
    rows = [("serving", tag)]
    try:
        manifest = read_object(link / MANIFEST_NAME)
    except Unreadable as why:
        rows.append(("manifest", f"unreadable: {why}"))
    else:
        rollout = manifest.get("rollout")
        # A release that was never rolled out has none.
        stage = text_of(rollout, "stage", 40) if isinstance(rollout, Mapping) else "candidate"
        data = "recorded" if manifest.get("simulated") is False else "SIMULATED"
        rows += [("stage", stage), ("symbol", text_of(manifest, "symbol", 40)), ("trained on", f"{data} data")]
    return "<dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in rows) + "</dl>"


def _promotion(path: Path, metrics: Mapping | None) -> list[str]:
    try:
        found = read_object(path, PROMOTION_SCHEMA)
    except Unreadable as why:
        told = _NOT_JUDGED if not os.path.lexists(path) else f"{PROMOTION_NAME} is unreadable: {why}."
        return [f'<p class="sub">{escape(told)}</p>']
    promoted = found.get("promoted") is True
    reasons = found.get("reasons")
    told = [cut(r, 1_000) for r in reasons if isinstance(r, str)][:40] if isinstance(reasons, list) else []
    simulated = "" if found.get("simulated") is False else "SIMULATED DATA: "
    head = f"{simulated}{'promoted' if promoted else 'stays a candidate'}"
    facts = [f"release {text_of(found, 'tag', 120)}, judged {time_text(found.get('at_ns'))} UTC"]
    made_from = found.get("made_from")
    judged_on = made_from.get("run_id") if isinstance(made_from, Mapping) else None
    if metrics is not None and judged_on != metrics["run"]["run_id"]:
        facts.append("it was judged on another run than this page shows")
    tone = "verdict go" if promoted else "verdict"
    return [
        f'<div class="{tone}"><b>{escape(head)}</b>',
        f'<p class="sub">{escape("; ".join(facts))}</p>{list_html(told)}</div>',
        folded_html("Every rule of the promotion", rule_table(found)),
    ]


def _history(path: Path) -> str:
    lines, unreadable, all_there = _tail(path)
    if not lines and not unreadable:
        return f'<p class="sub">{escape(_NO_HISTORY)}</p>'
    notes = ["times UTC, newest first"]
    if len(lines) > CHANGES or not all_there:
        notes.append(f"earlier changes are in {HISTORY_NAME}")
    if unreadable:
        notes.append(f"{unreadable:,} lines of {HISTORY_NAME} are unreadable")
    rows = tuple(
        (
            time_text(line.get("at_ns")),
            text_of(line, "event", 60),
            _release(line, "previous", "previous_stage"),
            _release(line, "tag", "stage"),
            text_of(line, "why"),
            text_of(line, "by", 60),
        )
        for line in reversed(lines[-CHANGES:])
    )
    return table_html(
        Table(
            "History of releases",
            ("time", "event", "from", "to", "why", "by"),
            (False,) * 6,
            rows,
            ("",) * len(rows),
            "; ".join(notes),
        )
    )


def _release(line: Mapping, tag: str, stage: str) -> str:
    named, at = text_of(line, tag, 120), text_of(line, stage, 40)
    return named if at == DASH else f"{named} ({at})"


def _tail(path: Path) -> tuple[list[Mapping], int, bool]:
    """The last lines that can be read, how many of the last cannot, and whether the whole file was read."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            data = file.read()
    except OSError:
        return [], int(os.path.lexists(path)), True
    lines = data.split(b"\n")[1 if size > _TAIL_BYTES else 0 :]  # the first one is cut
    found, unreadable = [], 0
    for line in lines:
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, Mapping):
            found.append(value)
        else:
            unreadable += 1
    return found, unreadable, size <= _TAIL_BYTES
