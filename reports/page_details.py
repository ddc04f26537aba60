"""The sections of the page behind the first ones: what the result rests on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape

from feature_repo.constants import JUDGE

from .page_parts import folded_html, picture_html, table_html
from .records import EXITS
from .sensitivity import sensitivity_table
from .shown import shown_arms, with_counterpart
from .tables import (
    cost_table,
    decomposition_table,
    fold_results_table,
    fold_table,
    importance_table,
    leak_table,
    member_table,
    model_table,
    number,
    selection_table,
    stress_table,
    tier_table,
    type_table,
)
from .transfer import transfer_table

__all__ = ["detail_sections"]


def detail_sections(metrics: Mapping, pictures: Mapping[str, bytes]) -> list[tuple[str, ...]]:
    """Title, what a reader should know of it, and the parts, in the order of the page."""

    def show(name: str) -> str:
        return picture_html(name, pictures)

    def both(make) -> list[str]:
        return [table_html(make(metrics, e)) for e in EXITS]

    compared = [one for key in shown_arms(metrics) for one in with_counterpart(key)]
    transfer = transfer_table(metrics)
    return [
        (
            "Model against no model",
            "The same candidates with and without the model. It is said to help only if the lower bounds of the "
            "difference and of its own result are both above 0.",
            table_html(model_table(metrics)),
            table_html(transfer) if transfer.rows else "",
        ),
        (
            "Fee tiers",
            "The same rules at other prices: what profile B earns, and the verdict, at each tier of the venue.",
            table_html(tier_table(metrics)),
            _tier_reasons(metrics.get("tiers") or ()),
        ),
        (
            "Is it luck?",
            "The best of many strategies looks good by chance: these tests know how many were tried.",
            table_html(selection_table(metrics)),
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
            "By signal",
            "The headline arms by type of signal. Means a filled trade in bps.",
            *(table_html(type_table(metrics, one, e)) for one in compared for e in EXITS),
        ),
        ("Run", "What went in.", _facts(metrics)),
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
