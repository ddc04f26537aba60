"""What lies beside metrics.json: drift reports, a promotion, releases with their history."""

from __future__ import annotations

import json
from pathlib import Path

from reports.drift_file import GROUPS

AT = 1_767_571_200 * 1_000_000_000  # 2026-01-05 00:00 UTC
FIRST, SECOND = "ethusdt-stack-0011223344", "ethusdt-stack-5566778899"


def check(group, status="OK", value=0.1, name="a check", **more):
    return {
        "group": group, "name": name, "status": status, "value": value, "threshold": "<= 0.2", "n": 20_000, "note": "",
        **more,
    }  # fmt: skip


def drift(symbol="ETHUSDT", day="2026-01-05", status="OK", *, checks=None, simulated=True, **more):
    return {
        "schema": "ofi-meta/drift/1", "symbol": symbol, "venue": "binance_usdm", "day": day, "simulated": simulated,
        "release": FIRST, "status": status, "checks": [check(g) for g in GROUPS] if checks is None else checks,
        "pages": {"evidently": "evidently.html"}, "sampled_rows": 20_000, "made_from": {}, **more,
    }  # fmt: skip


PAGES = ("index.html", "evidently.html")


def write_drift(out: Path, symbol="ETHUSDT", day="2026-01-05", *, files=PAGES, text=None, **kw):
    """A day's folder with these pages; ``kw`` replaces parts of its drift.json, ``text`` all of it."""
    folder = out / "drift" / symbol / day
    folder.mkdir(parents=True)
    (folder / "drift.json").write_text(json.dumps(drift(symbol, day, **kw)) if text is None else text)
    for name in files:
        (folder / name).write_text("<p>page</p>")
    return folder


def change(k=0, **more):
    return {
        "at_ns": AT + k * 3_600_000_000_000, "event": "passed", "tag": FIRST, "stage": "small_live", "previous": SECOND,
        "previous_stage": "shadow", "why": "120 trades, IR 0.09", "by": "flow", **more,
    }  # fmt: skip


def write_releases(releases: Path, *lines, serving=FIRST, manifest=None):
    """A history of these lines, and a served release."""
    (releases / FIRST).mkdir(parents=True)
    found = {"tag": FIRST, "symbol": "ETHUSDT", "simulated": True, "rollout": {"stage": "small_live"}}
    (releases / FIRST / "manifest.json").write_text(json.dumps(found) if manifest is None else manifest)
    if serving:
        (releases / "current").symlink_to(serving)
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    (releases / "history.jsonl").write_text(text)
