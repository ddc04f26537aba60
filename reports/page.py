"""index.html: the whole report in one file that loads nothing."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from feature_repo.constants import JUDGE, SECOND_NS
from feature_repo.paths import atomic_path

from .page_style import CSS
from .records import EXITS
from .sensitivity import sensitivity_table
from .tables import (
    Table,
    cost_table,
    funnel_table,
    funnel_totals,
    kpi_table,
    latency_table,
    matrix_table,
    model_table,
    number,
    reason_rate_table,
    reason_table,
    stress_table,
    tier_table,
    type_table,
)
from .terminal import shown_arms, with_counterpart
from .transfer import transfer_table

__all__ = ["page_html", "write_page"]

_ALT = {
    "equity": "cumulated net bps of every arm over time",
    "rejections": "shares of candidates by the reason they were denied, a bar an arm",
    "bucket_ir": "heat map of the IR of each bucket",
    "calibration": "reliability of the forecasts",
    "sensitivity": "net bps against tau, order latency, fee and base size",
    "latency": "histogram of the end-to-end latency against the budgets",
}


def page_html(metrics: Mapping, pictures: Mapping[str, bytes]) -> str:
    """The page.

    Parameters
    ----------
    metrics : ``Report.metrics``, or metrics.json as read back
    pictures : PNG bytes by name, the keys of ``_ALT``; one that is missing is left out
    """
    title = f"ofi-meta: {metrics['run']['symbol']} on {metrics['run']['venue']}"
    sections = _sections(metrics, pictures)
    links = "".join(f'<a href="#{_anchor(name)}">{escape(name)}</a>' for name, *_ in sections)
    parts = [f"<h1>{escape(title)}</h1>", f'<p class="sub">{escape(_span(metrics["run"]["span_ns"]))}</p>']
    if metrics["banner"]:
        parts.insert(0, f'<div class="banner">{escape(metrics["banner"])}</div>')
    parts += [_verdict(metrics["verdict"]), f"<nav>{links}</nav>"]
    for name, why, *body in sections:
        parts.append(f'<h2 id="{_anchor(name)}">{escape(name)}</h2><p class="why">{escape(why)}</p>')
        parts += [part for part in body if part]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{CSS}</style></head><body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def write_page(metrics: Mapping, pictures: Mapping[str, bytes], target: Path) -> Path:
    """Write the page, whole or not at all."""
    text = page_html(metrics, pictures)
    with atomic_path(target) as beside:
        beside.write_text(text, encoding="utf-8")
    return Path(target)


def _sections(metrics: Mapping, pictures: Mapping[str, bytes]) -> list[tuple[str, ...]]:
    """Title, what a reader should know of it, and the parts, in the order of the page."""

    def show(name: str) -> str:
        return _picture(name, pictures)

    def both(make) -> list[str]:
        return [_table(make(metrics, e)) for e in EXITS]

    shown = shown_arms(metrics)
    compared = [one for key in shown for one in with_counterpart(key)]
    transfer = transfer_table(metrics)
    measured = metrics["measured"]
    return [
        (
            "Matrix",
            "Every profile, with and without the model, one position at a time. The label exit takes +0.9 R or -1.1 R; "
            "the runner exit, on which the verdict rests, lets half of the position run.",
            *both(matrix_table),
        ),
        ("Equity", "Each arm's cumulated result with the judged exit.", show("equity")),
        (
            "Model against no model",
            "The same candidates with and without the model. It is said to help only if the lower bounds of the "
            "difference and of its own result are both above 0.",
            _table(model_table(metrics)),
            _table(transfer) if transfer.rows else "",
        ),
        (
            "Fee tiers",
            "The same rules at other prices: what profile B earns, and the verdict, at each tier of the venue.",
            _table(tier_table(metrics)),
            _tier_reasons(metrics.get("tiers") or ()),
        ),
        (
            "Costs",
            "Where the gross result goes. Slippage as the gate estimated it stands beside what the replay paid.",
            *both(cost_table),
        ),
        (
            "Stress",
            f"The same decisions repriced: every cost {JUDGE.cost_stress:g} times as large.",
            *both(stress_table),
        ),
        (
            "Sensitivity",
            "What one knob does to the result. A result that holds at one setting only is luck.",
            show("sensitivity"),
            _folded("Every point", sensitivity_table(metrics)),
        ),
        (
            "Funnel and rejections",
            "How far candidates come, and the first check that each of the others failed.",
            _table(funnel_totals(metrics)),
            show("rejections"),
            _table(reason_rate_table(metrics)),
            _table(reason_table(metrics)),
            *(_table(funnel_table(metrics, one)) for one in compared),
        ),
        (
            "By signal",
            "The headline arms by type of signal. Means a filled trade in bps.",
            *(_table(type_table(metrics, one, e)) for one in compared for e in EXITS),
        ),
        (
            "KPIs",
            "What the verdict is made of. N/A: not enough trades, or not defined.",
            *(_table(kpi_table(metrics, key)) for key in shown),
        ),
        (
            "Buckets",
            _bucket_text(metrics["buckets"]),
            show("bucket_ir"),
        ),
        (
            "Calibration",
            "Out-of-sample forecasts: of the candidates given a chance of 60 %, do 60 % reach the target?",
            show("calibration"),
        ),
        ("Run", "What went in.", _facts(metrics)),
        (
            "Measured here, not reproducible",
            measured["note"],
            show("latency"),
            _table(latency_table(metrics)),
            "<dl>"
            + "".join(f"<dt>{escape(k)}</dt><dd>{v:.1f} s</dd>" for k, v in measured["stage_s"].items())
            + "</dl>",
        ),
    ]


def _anchor(name: str) -> str:
    return name.lower().replace(",", "").replace(" ", "-")


def _verdict(verdict: Mapping) -> str:
    reasons = "".join(f"<li>{escape(r)}</li>" for r in verdict["reasons"])
    tone = "verdict go" if verdict["go"] else "verdict"
    return f'<div class="{tone}"><b>{escape(verdict["word"])}</b>{f"<ul>{reasons}</ul>" if reasons else ""}</div>'


def _picture(name: str, pictures: Mapping[str, bytes]) -> str:
    if name not in pictures:
        return ""
    data = base64.b64encode(pictures[name]).decode("ascii")
    return f'<figure><img alt="{_ALT[name]}" src="data:image/png;base64,{data}"></figure>'


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


def _folded(title: str, table: Table) -> str:
    """A long table behind one line; a table without rows says why at once."""
    return f"<details><summary>{escape(title)}</summary>{_table(table)}</details>" if table.rows else _table(table)


def _tier_reasons(tiers: list[Mapping]) -> str:
    """What stands against each tier, behind one line each; of the arm with the model, where there is one."""
    chosen = {row["fee_tier"]: row for row in sorted(tiers, key=lambda row: row["model"])}
    return "".join(
        f"<details><summary>{escape(tier)}: {escape(row['verdict'])}, {len(row['reasons'])} against it</summary>"
        f"<ul>{''.join(f'<li>{escape(r)}</li>' for r in row['reasons'])}</ul></details>"
        for tier, row in chosen.items()
    )


def _bucket_text(summary: Mapping) -> str:
    return (
        "Market states by signal, session and terciles that were fitted before the first test fold. "
        f"{summary['buckets']:,} buckets traded, {summary['with_enough_trades']:,} of them often enough to be judged, "
        f"{summary['positive']:,} may be traded in a roll-out. All rows are in {summary['file']}."
    )


def _span(span_ns: list[int]) -> str:
    first, last = (datetime.fromtimestamp(ns / SECOND_NS, UTC) for ns in span_ns)
    hours = (span_ns[1] - span_ns[0]) / (3600 * SECOND_NS)
    return f"{first:%Y-%m-%d %H:%M:%S} to {last:%Y-%m-%d %H:%M:%S} UTC, {hours:.2f} hours"


def _facts(metrics: Mapping) -> str:
    run, labels = metrics["run"], metrics["labels"]
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
    return (
        "<dl>"
        + "".join(f"<dt>{escape(k)}</dt><dd>{escape(str(v))}</dd>" for k, v in rows if v not in ("", "None"))
        + "</dl>"
    )
