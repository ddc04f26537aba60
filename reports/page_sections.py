"""The sections of the page that a reader looks at first, in their order."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from .page_parts import folded_html, picture_html, table_html
from .records import EXITS
from .shown import shown_arms, with_counterpart
from .tables import (
    ensemble_table,
    funnel_table,
    funnel_totals,
    kpi_table,
    latency_table,
    matrix_table,
    reason_rate_table,
    reason_table,
    threshold_table,
)

__all__ = ["first_sections"]


def first_sections(metrics: Mapping, pictures: Mapping[str, bytes]) -> list[tuple[str, ...]]:
    """Title, what a reader should know of it, and the parts, in the order of the page."""

    def show(name: str) -> str:
        return picture_html(name, pictures)

    shown = shown_arms(metrics)
    compared = [one for key in shown for one in with_counterpart(key)]
    measured = metrics["measured"]
    return [
        (
            "KPIs",
            "What the verdict is made of. N/A: not enough trades, or not defined.",
            *(table_html(kpi_table(metrics, key)) for key in shown),
        ),
        (
            "Matrix",
            "Every profile, with and without the model, one position at a time. The label exit takes +0.9 R or -1.1 R; "
            "the runner exit, on which the verdict rests, lets half of the position run.",
            *(table_html(matrix_table(metrics, e)) for e in EXITS),
        ),
        ("Equity", "Each arm's cumulated result with the judged exit.", show("equity")),
        (
            "Calibration and ensemble",
            "Out-of-sample forecasts: of the candidates given a chance of 60 %, do 60 % reach the target? How the nets "
            "are combined and calibrated, and which P the gate asks for, is found inside each training span.",
            show("calibration"),
            table_html(ensemble_table(metrics)),
            table_html(threshold_table(metrics)),
        ),
        (
            "Buckets",
            _bucket_text(metrics["buckets"]),
            show("bucket_ir"),
        ),
        (
            "Funnel and rejections",
            "How far candidates come, and the first check that each of the others failed.",
            table_html(funnel_totals(metrics)),
            show("rejections"),
            table_html(reason_rate_table(metrics)),
            table_html(reason_table(metrics)),
            *(folded_html(table.title, table) for table in (funnel_table(metrics, one) for one in compared)),
        ),
        (
            "Latency",
            f"Measured here, not reproducible: {measured['note']}.",
            show("latency"),
            table_html(latency_table(metrics)),
            '<p class="sub"><strong>How long each stage took</strong></p><dl>'
            + "".join(f"<dt>{escape(k)}</dt><dd>{v:.1f} s</dd>" for k, v in measured["stage_s"].items())
            + "</dl>",
        ),
    ]


def _bucket_text(summary: Mapping) -> str:
    return (
        "Market states by signal, session and terciles that were fitted before the first test fold. "
        f"{summary['buckets']:,} buckets traded, {summary['with_enough_trades']:,} of them often enough to be judged, "
        f"{summary['positive']:,} may be traded in a roll-out. All rows are in {summary['file']}."
    )
