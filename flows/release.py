"""List, promote and roll back bundles by hand. Every change is a line in releases/history.jsonl."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from feature_repo.errors import InputError
from reports.console import wide_console
from runtime.bundle import load_bundle, set_current

__all__ = ["promote", "rollback", "show"]


def _serving(releases: Path) -> str | None:
    link = releases / "current"
    return os.readlink(link) if link.is_symlink() else None


def show(releases: Path) -> None:
    """Print a table of the bundles; a damaged one is listed with what is wrong with it."""
    tags = sorted(
        p.name for p in releases.iterdir() if p.is_dir() and not p.is_symlink() and not p.name.startswith(".")
    )
    if not tags:
        raise InputError(f"no bundle under {releases}", "at least one", "Make one with `ofi-meta shadow`")
    serving = _serving(releases)
    table = Table(title=str(releases))
    for name in ("", "tag", "symbol", "model", "fee tier", "data", "state"):
        table.add_column(name)
    for tag in tags:
        try:
            m = load_bundle(releases / tag).manifest
        except InputError as error:
            table.add_row("", tag, "", "", "", "", f"refused: {error.got}")
            continue
        data = "SIMULATED" if m.simulated else "recorded"
        table.add_row("→" if tag == serving else "", tag, m.symbol, m.model, m.fee_tier.name, data, "verified")
    wide_console().print(table)


def promote(releases: Path, tag: str, *, why: str) -> None:
    """Point releases/current at a verified bundle."""
    set_current(releases, tag, at_ns=time.time_ns(), why=why)
    note = " (made from SIMULATED data)" if load_bundle(releases / tag).manifest.simulated else ""
    Console().print(f"{releases / 'current'} -> {tag}{note}", highlight=False, soft_wrap=True)


def rollback(releases: Path, *, why: str) -> None:
    """Point releases/current at the bundle that was served before the present one."""
    history = releases / "history.jsonl"
    lines = history.read_text().splitlines() if history.is_file() else []
    before = json.loads(lines[-1])["previous"] if lines else None
    if before is None:
        raise InputError(
            f"no bundle was served before {_serving(releases)}", "a history with an earlier release", "Promote one"
        )
    promote(releases, before, why=f"rollback: {why}")
