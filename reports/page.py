"""index.html: the whole report in one file that loads nothing."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from feature_repo.constants import SECOND_NS
from feature_repo.paths import atomic_path

from .tables import (
    Table,
    arm_name,
    funnel_table,
    funnel_totals,
    kpi_table,
    matrix_table,
    model_table,
    number,
    reason_table,
    type_table,
)
from .terminal import shown_arms
from .transfer import transfer_table

__all__ = ["page_html", "write_page"]

_CSS = """
:root{color-scheme:light}
body{font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;color:#1f2933;background:#fff;
 margin:0 auto;max-width:1180px;padding:24px}
h1{font-size:24px;margin:0 0 4px}
h2{font-size:18px;margin:36px 0 8px;border-bottom:1px solid #d9dee3;padding-bottom:4px}
p.sub,p.note{color:#52606d;margin:4px 0} p.note{font-size:13px}
.banner{background:#ffe08a;border:1px solid #d9a400;padding:10px 14px;font-weight:700;text-align:center;margin:0 0 20px}
.verdict{border-left:6px solid #b3261e;background:#fdf3f2;padding:10px 16px;margin:16px 0} .verdict b{font-size:20px}
.verdict.go{border-color:#2e7d32;background:#f1f8f2}
.verdict ul{margin:6px 0 0;padding-left:20px}
.scroll{overflow-x:auto;margin:12px 0}
table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums}
caption{text-align:left;font-weight:600;padding:4px 0}
th,td{padding:4px 9px;border-bottom:1px solid #e4e7eb;text-align:left;vertical-align:top}
th{background:#f5f7fa;border-bottom:1px solid #9aa5b1;white-space:nowrap}
.n{text-align:right;white-space:nowrap} tr.na td{color:#7b8794} tr.head td{background:#eef4fb;font-weight:600}
td.PASS{color:#1b5e20;font-weight:600} td.FAIL{color:#b3261e;font-weight:600} td.NA{color:#8a5a00;font-weight:600}
img{max-width:100%;border:1px solid #e4e7eb}
dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 16px;margin:0}
dt{color:#52606d} dd{margin:0;overflow-wrap:anywhere}
"""


def page_html(metrics: Mapping, pictures: Mapping[str, bytes]) -> str:
    """The page.

    Parameters
    ----------
    metrics : ``Report.metrics``, or metrics.json as read back
    pictures : PNG bytes by name, "calibration" and "equity"
    """
    run, verdict = metrics["run"], metrics["verdict"]
    title = f"ofi-meta: {run['symbol']} on {run['venue']}"
    parts = [f"<h1>{escape(title)}</h1>", f'<p class="sub">{escape(_span(run["span_ns"]))}</p>']
    if metrics["banner"]:
        parts.insert(0, f'<div class="banner">{escape(metrics["banner"])}</div>')
    reasons = "".join(f"<li>{escape(r)}</li>" for r in verdict["reasons"])
    word = "verdict go" if verdict["go"] else "verdict"
    parts.append(
        f'<div class="{word}"><b>{escape(verdict["word"])}</b>{f"<ul>{reasons}</ul>" if reasons else ""}</div>'
    )
    parts.append("<h2>Matrix</h2>")
    parts += [_table(matrix_table(metrics, exit_)) for exit_ in ("label", "runner")]
    parts.append("<h2>Does the model help?</h2>")
    parts.append(_table(model_table(metrics)))
    if (transfer := transfer_table(metrics)).rows:
        parts.append(_table(transfer))
    parts.append("<h2>Funnel</h2>")
    parts.append(_table(funnel_totals(metrics)))
    shown = shown_arms(metrics)
    for key in shown:
        for one in [{**key, "model": False}, key] if key["model"] else [key]:
            parts.append(_table(funnel_table(metrics, one)))
    parts.append(_table(reason_table(metrics)))
    parts.append("<h2>KPIs</h2>")
    for key in shown:
        parts += [_table(kpi_table(metrics, key)), _table(type_table(metrics, key))]
    for name in ("calibration", "equity"):
        if name in pictures:
            data = base64.b64encode(pictures[name]).decode("ascii")
            parts.append(f'<h2>{name.capitalize()}</h2><img alt="{name}" src="data:image/png;base64,{data}">')
    parts.append(_facts(metrics))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_CSS}</style></head><body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def write_page(metrics: Mapping, pictures: Mapping[str, bytes], target: Path) -> Path:
    """Write the page, whole or not at all."""
    text = page_html(metrics, pictures)
    with atomic_path(target) as beside:
        beside.write_text(text, encoding="utf-8")
    return Path(target)


def _table(table: Table) -> str:
    note = f'<p class="note">{escape(table.note).replace(chr(10), "<br>")}</p>' if table.note else ""
    if not table.rows:
        return f'<p class="sub"><strong>{escape(table.title)}</strong></p>{note}'
    kinds = ['class="n"' if numeric else "" for numeric in table.numeric]
    head = "".join(f"<th {k}>{escape(c)}</th>" for c, k in zip(table.columns, kinds, strict=True))
    body = []
    for row, mark in zip(table.rows, table.marks, strict=True):
        cells = "".join(
            f'<td class="{cell.replace("/", "")}">{cell}</td>'
            if cell in ("PASS", "FAIL", "N/A")
            else f"<td {kind}>{escape(cell)}</td>"
            for cell, kind in zip(row, kinds, strict=True)
        )
        body.append(f'<tr class="{mark}">{cells}</tr>')
    return (
        f'<div class="scroll"><table><caption>{escape(table.title)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>{note}"
    )


def _span(span_ns: list[int]) -> str:
    first, last = (datetime.fromtimestamp(ns / SECOND_NS, UTC) for ns in span_ns)
    hours = (span_ns[1] - span_ns[0]) / (3600 * SECOND_NS)
    return f"{first:%Y-%m-%d %H:%M:%S} to {last:%Y-%m-%d %H:%M:%S} UTC, {hours:.2f} hours"


def _facts(metrics: Mapping) -> str:
    run, labels, measured = metrics["run"], metrics["labels"], metrics["measured"]
    rows = [
        ("tape", run["tape"]),
        ("tape sha256", run["tape_sha256"]),
        ("data", "simulated" if metrics["simulated"] else "recorded"),
        ("fee tier named", run["fee_tier_given"] or "none"),
        ("tick", f"{number(run['tick_bps'], '.3g')} bps"),
        ("seed", str(run["seed"])),
        ("run", run["run_id"]),
        ("code", run["code_version"]),
        ("candidates", ", ".join(f"{k} {v:,}" for k, v in run["candidates_found"].items()) or "none"),
        ("labels", ", ".join(f"{k} {v:,}" for k, v in labels["outcomes"].items()) or "none"),
        ("trials counted", str(run["trials"])),
        *((f"fold {i}", json.dumps(fold)) for i, fold in enumerate(run["folds"])),
        *(("note", note) for note in run["notes"]),
    ]
    facts = "".join(f"<dt>{escape(k)}</dt><dd>{escape(str(v))}</dd>" for k, v in rows if v not in ("", "None"))
    stages = "".join(f"<dt>{escape(k)}</dt><dd>{v:.1f} s</dd>" for k, v in measured["stage_s"].items())
    latency = _table(_latency(measured["latency"]))
    return (
        f"<h2>Run</h2><dl>{facts}</dl><h2>Measured here, not reproducible</h2>"
        f'<p class="note">{escape(measured["note"])}</p><dl>{stages}</dl>{latency}'
    )


def _latency(arms: list[Mapping]) -> Table:
    rows = [
        (
            arm_name(a),
            sig,
            f"{s['n']:,}",
            *(f"{s[f'{q}_ms']:.3f}" for q in ("p50", "p95", "p99")),
            f"{s['budget_ms']:g}",
            f"{s['share_in_budget']:.1%}",
        )
        for a in arms
        if a["model"]
        for sig, s in a["by_type"].items()
    ]
    return Table(
        "Decision latency, model arms (ms)",
        ("arm", "signal", "n", "P50", "P95", "P99", "budget", "in budget"),
        (False, False, *(True,) * 6),
        tuple(rows),
        ("",) * len(rows),
        "from the gate's call to its answer" if rows else "no model arm was timed",
    )
