"""The report's tables as text cells, once, for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .funnel import STAGES
from .kpis import kpi_text
from .records import REASONS

__all__ = [
    "Table",
    "arm_name",
    "funnel_table",
    "funnel_totals",
    "interval_text",
    "kpi_table",
    "matrix_table",
    "model_table",
    "number",
    "reason_table",
    "type_table",
]

DASH = "-"


@dataclass(frozen=True)
class Table:
    """Cells are text; ``numeric`` columns are aligned right; ``marks`` names a row's tone ("", "na", "head")."""

    title: str
    columns: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[str, ...], ...]
    marks: tuple[str, ...]
    note: str = ""


def number(value: float | int | None, form: str = "+.2f") -> str:
    """A number as text, a dash where there is none."""
    return DASH if value is None else format(value, form)


def interval_text(cell: Mapping[str, float | None], form: str = "+.2f") -> str:
    """A value with its bounds, where it has some."""
    value = number(cell["value"], form)
    return value if cell["low"] is None else f"{value} [{cell['low']:{form}}, {cell['high']:{form}}]"


def arm_name(key: Mapping) -> str:
    """As ``ArmInput.name``, from a row of metrics.json."""
    return f"{key['fee_tier']} {key['profile']} {'model' if key['model'] else 'no model'}"


def matrix_table(metrics: Mapping, exit_: str) -> Table:
    """Arms as rows, the portfolio book with one exit."""
    rows, marks = [], []
    for arm in metrics["matrix"]:
        head = (arm_name(arm), f"{arm['candidates']:,}")
        if arm["na"]:
            rows.append((head[0], *(DASH,) * 4, "N/A", *(DASH,) * 6))
            marks.append("na")
            continue
        s = arm["exits"][exit_]
        rows.append(
            (
                *head,
                f"{arm['allowed']:,}",
                number(arm["rejection"], ".0%"),
                f"{s['busy']:,}",
                f"{s['trades']:,}",
                interval_text(s["net_bps"]),
                number(s["ir_trade"]["value"], "+.3f"),
                number(s["win_rate"], ".0%"),
                number(s["payoff"], ".2f"),
                number(s["ir_stressed"], "+.3f"),
                number(s["sized_bps"]),
            )
        )
        marks.append("head" if head[0] in metrics["verdict"]["headline"] else "")
    columns = ("arm", "cand", "allow", "rej", "busy", "trades", "net bps [95 %]", "IR", "win", "payoff")
    return Table(
        f"Matrix, portfolio book, {exit_} exit",
        (*columns, "IR x1.5", "sized bps"),
        (False, *(True,) * 11),
        tuple(rows),
        tuple(marks),
        "net bps a trade at equal notional, sized bps at the gate's sizes, IR = mean / std of a trade;\n"
        "rej: by slippage, EV or P of what passed liquidity; busy: allowed while a position was open"
        + _why_not(metrics["matrix"]),
    )


def _why_not(arms: Sequence[Mapping]) -> str:
    """One line for each reason that kept arms from being run."""
    named: dict[str, list[str]] = {}
    for arm in arms:
        if arm["na"]:
            named.setdefault(arm["na"], []).append(arm_name(arm))
    return "".join(f"\nN/A: {reason} ({', '.join(names)})" for reason, names in named.items())


def _find(rows: Sequence[Mapping], key: Mapping, **more: object) -> Mapping | None:
    wanted = {**{k: key[k] for k in ("fee_tier", "profile", "model")}, **more}
    return next((r for r in rows if all(r[k] == v for k, v in wanted.items())), None)


_STAGE_TITLES = ("found", "in tier", "data", "liquidity", "signal", "slippage", "EV", "P", "filled")
_FUNNEL_NUMERIC = (True,) * len(STAGES)


def funnel_totals(metrics: Mapping) -> Table:
    """All signal types together, one row an arm."""
    rows, marks = [], []
    for f in metrics["funnel"]:
        total = next((r for r in f["rows"] if r["sig_type"] == "all"), None)
        rows.append((arm_name(f), *((DASH,) * len(STAGES) if total is None else _stages(total))))
        marks.append("na" if total is None else "")
    return Table(
        "Funnel: candidates left after each check",
        ("arm", *_STAGE_TITLES),
        (False, *_FUNNEL_NUMERIC),
        tuple(rows),
        tuple(marks),
        "found: in the test folds; signal: reclaim complete, reward known; P: allowed; filled: one a time, label exit",
    )


def _stages(row: Mapping) -> tuple[str, ...]:
    return tuple(f"{row[s]:,}" for s in STAGES)


def funnel_table(metrics: Mapping, key: Mapping) -> Table:
    """One arm by signal type."""
    found = _find(metrics["funnel"], key)
    rows = [(r["sig_type"], *_stages(r)) for r in (found["rows"] if found else [])]
    return Table(
        f"Funnel by signal: {arm_name(key)}",
        ("signal", *_STAGE_TITLES),
        (False, *_FUNNEL_NUMERIC),
        tuple(rows),
        tuple("head" if r[0] == "all" else "" for r in rows),
        "" if rows else f"N/A: {found['na'] if found else 'no such arm'}",
    )


def reason_table(metrics: Mapping) -> Table:
    """Decisions by reason, one row an arm that was run; reasons in the order of the gate."""
    arms = [a for a in metrics["matrix"] if a.get("reasons")]
    seen = {reason for a in arms for reason in a["reasons"]}
    order = [r.value for r in REASONS if r.value in seen]
    return Table(
        "Decisions by reason",
        ("arm", *order),
        (False, *(True,) * len(order)),
        tuple((arm_name(a), *(f"{a['reasons'].get(r, 0):,}" for r in order)) for a in arms),
        ("",) * len(arms),
        "" if arms else "N/A: nothing was decided",
    )


def kpi_table(metrics: Mapping, key: Mapping) -> Table:
    """The KPIs of one arm, both exits side by side."""
    both = [_find(metrics["kpis"], key, exit=e) for e in ("label", "runner")]
    title = f"KPIs: {arm_name(key)}"
    columns = ("KPI", "wanted", "label", "", "runner", "", "n", "note")
    numeric = (False, False, True, False, True, False, True, False)
    if None in both:
        arm = _find(metrics["matrix"], key)
        return Table(title, columns, numeric, (), (), f"N/A: {arm['na'] if arm else 'no such arm'}")
    measured = {m["key"]: m for m in metrics["measured"]["kpis"] if _find([m], key)}
    rows = []
    for a, b in zip(both[0]["rows"], both[1]["rows"], strict=True):
        if a["measured"]:
            a = b = measured.get(a["key"], a)
        n = f"{a['n']:,}" if a["n"] == b["n"] else f"{a['n']:,} / {b['n']:,}"
        note = b["note"] if b["note"] == a["note"] or not a["note"] else f"{a['note']}; {b['note']}".strip("; ")
        rows.append(
            (
                a["title"] + (" (measured)" if a["measured"] else ""),
                a["threshold"],
                kpi_text(a["key"], a["threshold"], a["value"]),
                a["status"],
                kpi_text(b["key"], b["threshold"], b["value"]),
                b["status"],
                n,
                note,
            )
        )
    return Table(title, columns, numeric, tuple(rows), ("",) * len(rows))


def model_table(metrics: Mapping) -> Table:
    """Model minus no model on the candidate book."""
    rows = []
    for d in metrics["model_vs_none"]:
        rows.append(
            (
                f"{d['fee_tier']} {d['profile']}",
                d["exit"],
                f"{d['candidates']:,}",
                interval_text(d["difference"]),
                f"{d['model_trades']:,}",
                interval_text(d["model_mean"]),
                f"{d['none_trades']:,}",
                interval_text(d["none_mean"]),
                "yes" if d["model_beats_none"] else "not shown",
            )
        )
    return Table(
        "Model minus no model, candidate book",
        ("arms", "exit", "cand", "difference", "trades", "model", "trades", "no model", "model beats it"),
        (False, False, *(True,) * 6, False),
        tuple(rows),
        ("",) * len(rows),
        "bps with 95 % intervals (10 min blocks, both arms drawn together); the difference is a candidate, denied = 0"
        if rows
        else "N/A: no profile was run both with and without a model",
    )


def type_table(metrics: Mapping, key: Mapping) -> Table:
    """Win rate and payoff by signal type, both exits side by side."""
    arm = _find(metrics["matrix"], key)
    exits = (arm or {}).get("exits") or {}
    columns = ["signal"]
    rows: list[list[str]] = []
    for exit_, s in exits.items():
        columns += [f"{exit_}: trades", "win", "payoff", "net bps"]
        for i, t in enumerate(s["by_type"]):
            if len(rows) == i:
                rows.append([t["sig_type"]])
            rows[i] += [
                f"{t['trades']:,}",
                number(t["win_rate"], ".0%"),
                number(t["payoff"], ".2f"),
                number(t["net_bps"]),
            ]
    return Table(
        f"By signal: {arm_name(key)}",
        tuple(columns),
        (False, *(True,) * (len(columns) - 1)),
        tuple(map(tuple, rows)),
        ("",) * len(rows),
        "" if rows else f"N/A: {arm['na'] if arm else 'no such arm'}",
    )
