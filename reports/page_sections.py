"""The sections of the page, in their order."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape

from feature_repo.constants import JUDGE

from .page_parts import folded_html, picture_html, table_html
from .records import EXITS
from .sensitivity import sensitivity_table
from .tables import (
    cost_table,
    decomposition_table,
    ensemble_table,
    fold_results_table,
    fold_table,
    funnel_table,
    funnel_totals,
    importance_table,
    kpi_table,
    latency_table,
    leak_table,
    matrix_table,
    member_table,
    model_table,
    number,
    reason_rate_table,
    reason_table,
    selection_table,
    stress_table,
    threshold_table,
    tier_table,
    type_table,
)
from .terminal import shown_arms, with_counterpart
from .transfer import transfer_table

__all__ = ["page_sections"]


def page_sections(metrics: Mapping, pictures: Mapping[str, bytes]) -> list[tuple[str, ...]]:
    """Title, what a reader should know of it, and the parts, in the order of the page."""

    def show(name: str) -> str:
        return picture_html(name, pictures)

    def both(make) -> list[str]:
        return [table_html(make(metrics, e)) for e in EXITS]

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
            table_html(model_table(metrics)),
            table_html(transfer) if transfer.rows else "",
        ),
        (
            "Folds",
            "Each fold is judged by a model that was fitted before it. A result that comes from one fold is luck.",
            table_html(fold_table(metrics)),
            table_html(decomposition_table(metrics)),
            show("folds"),
            *both(fold_results_table),
        ),
        (
            "Members and baselines",
            _member_text(metrics),
            table_html(member_table(metrics)),
        ),
        (
            "Calibration and ensemble",
            "Out-of-sample forecasts: of the candidates given a chance of 60 %, do 60 % reach the target? How the nets "
            "are combined and calibrated, and which P the gate asks for, is found inside each training span.",
            show("calibration"),
            table_html(ensemble_table(metrics)),
            table_html(threshold_table(metrics)),
        ),
        (
            "What the model looks at",
            "How much worse the forecasts of a test fold get when one channel is taken away from the model.",
            show("importance"),
            folded_html("Every channel", importance_table(metrics)),
        ),
        (
            "Leak checks",
            "Skill that no honest feature shows, or skill on shuffled labels, would have ended the training.",
            table_html(leak_table(metrics)),
        ),
        (
            "Is it luck?",
            "The best of many strategies looks good by chance: these tests know how many were tried.",
            table_html(selection_table(metrics)),
        ),
        (
            "Fee tiers",
            "The same rules at other prices: what profile B earns, and the verdict, at each tier of the venue.",
            table_html(tier_table(metrics)),
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
            folded_html("Every point", sensitivity_table(metrics)),
        ),
        (
            "Funnel and rejections",
            "How far candidates come, and the first check that each of the others failed.",
            table_html(funnel_totals(metrics)),
            show("rejections"),
            table_html(reason_rate_table(metrics)),
            table_html(reason_table(metrics)),
            *(table_html(funnel_table(metrics, one)) for one in compared),
        ),
        (
            "By signal",
            "The headline arms by type of signal. Means a filled trade in bps.",
            *(table_html(type_table(metrics, one, e)) for one in compared for e in EXITS),
        ),
        (
            "KPIs",
            "What the verdict is made of. N/A: not enough trades, or not defined.",
            *(table_html(kpi_table(metrics, key)) for key in shown),
        ),
        (
            "Buckets",
            _bucket_text(metrics["buckets"]),
            show("bucket_ir"),
        ),
        ("Run", "What went in.", _facts(metrics)),
        (
            "Measured here, not reproducible",
            measured["note"],
            show("latency"),
            table_html(latency_table(metrics)),
            "<dl>"
            + "".join(f"<dt>{escape(k)}</dt><dd>{v:.1f} s</dd>" for k, v in measured["stage_s"].items())
            + "</dl>",
        ),
    ]


def _member_text(metrics: Mapping) -> str:
    """What the comparison came to."""
    said = "Every net alone and all of them together, beside what needs no net."
    return f"{said} {metrics['training']['first_line']}" if metrics.get("training") else said


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
