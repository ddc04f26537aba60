"""All files of one report."""

from __future__ import annotations

import json
from pathlib import Path

from feature_repo.paths import atomic_path

from .buckets import buckets_csv
from .matrix import Report
from .page import write_page
from .pictures import draw_calibration, draw_equity

__all__ = ["write_reports"]


def write_reports(report: Report, out: Path) -> dict[str, Path]:
    """Write metrics.json, buckets.csv, calibration.png, equity.png and index.html into ``out``.

    Each file is replaced whole. The page is written last, from what the other files hold.
    """
    out = Path(out)
    simulated = bool(report.metrics["simulated"])
    text = json.dumps(report.metrics, indent=1, allow_nan=False)
    with atomic_path(out / "metrics.json") as beside:
        beside.write_text(text + "\n", encoding="utf-8")
    with atomic_path(out / "buckets.csv") as beside:
        beside.write_text(buckets_csv(report.buckets), encoding="utf-8")
    calibration = draw_calibration(report.calibration, out / "calibration.png", simulated=simulated)
    equity = draw_equity(report.curves, out / "equity.png", simulated=simulated)
    pictures = {"calibration": calibration.read_bytes(), "equity": equity.read_bytes()}
    page = write_page(report.metrics, pictures, out / "index.html")
    return {
        "metrics": out / "metrics.json",
        "buckets": out / "buckets.csv",
        "calibration": calibration,
        "equity": equity,
        "page": page,
    }
