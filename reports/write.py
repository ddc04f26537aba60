"""All files of one report."""

from __future__ import annotations

import json
from pathlib import Path

from feature_repo.paths import atomic_path

from .buckets import buckets_csv
from .matrix import Report
from .page_index import INDEX_NAME, index_html, write_text
from .pictures import (
    draw_buckets,
    draw_calibration,
    draw_equity,
    draw_folds,
    draw_importance,
    draw_latency,
    draw_rejections,
    draw_sensitivity,
)

__all__ = ["write_reports"]


def write_reports(report: Report, out: Path, *, releases: Path) -> dict[str, Path]:
    """Write metrics.json, buckets.csv, the pictures and index.html into ``out``.

    Each file is replaced whole or not at all. The page is written last, from what the other files hold, drift reports
    and the history of releases among them; ``page_index.write_index`` makes it again when those change. All but
    metrics.json's measured section, latency.png and the page that shows them are the same for the same inputs.

    Parameters
    ----------
    releases : folder of all releases, of which the page shows the history

    Returns
    -------
    dict
        Path of each file by its name without the suffix; "page" is index.html.
    """
    out = Path(out)
    metrics = report.metrics
    simulated = bool(metrics["simulated"])
    files = {"metrics": out / "metrics.json", "buckets": out / "buckets.csv"}
    text = json.dumps(metrics, indent=1, allow_nan=False)
    with atomic_path(files["metrics"]) as beside:
        beside.write_text(text + "\n", encoding="utf-8")
    with atomic_path(files["buckets"]) as beside:
        beside.write_text(buckets_csv(report.buckets), encoding="utf-8")
    named = metrics["run"]["fee_tier_given"]
    pictures = {
        "equity": draw_equity(report.curves, out / "equity.png", simulated=simulated),
        "rejections": draw_rejections(metrics, out / "rejections.png"),
        "bucket_ir": draw_buckets(report.buckets, out / "bucket_ir.png", simulated=simulated, fee_tier=named),
        "calibration": draw_calibration(report.calibration, out / "calibration.png", simulated=simulated),
        "folds": draw_folds(metrics, out / "folds.png"),
        "importance": draw_importance(metrics, out / "importance.png"),
        "sensitivity": draw_sensitivity(metrics, out / "sensitivity.png"),
        "latency": draw_latency(metrics, out / "latency.png"),
    }
    page = write_text(out / INDEX_NAME, index_html(metrics, out, releases))
    return {**files, **pictures, "page": page}
