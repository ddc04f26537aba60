"""The experiment matrix: what each arm earned, and what is left of it at higher costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from feature_repo.constants import JUDGE

from .cell import DASH, Table, arm_name, interval_text, number

__all__ = ["arms_not_run", "few_note", "matrix_table", "run_arms", "stress_table", "tone", "trade_count"]


def run_arms(metrics: Mapping, exit_: str) -> list[tuple[Mapping, Mapping]]:
    """Each arm that was run, with its statistics of one exit."""
    return [(arm, arm["exits"][exit_]) for arm in metrics["matrix"] if not arm["na"] and arm.get("exits")]


def tone(metrics: Mapping, arm: Mapping) -> str:
    """The mark of an arm's row."""
    return "head" if arm_name(arm) in metrics["verdict"]["headline"] else ""


def trade_count(stats: Mapping) -> str:
    """Trades, with a star where they are too few to judge."""
    return f"{stats['trades']:,}{'*' if stats.get('few') else ''}"


def few_note(stats: Sequence[Mapping]) -> str:
    """A line on what the star means, where one was set."""
    return f"\n* too few trades to judge: {JUDGE.min_trades} are needed" if any(s.get("few") for s in stats) else ""


def matrix_table(metrics: Mapping, exit_: str) -> Table:
    """Arms as rows, the portfolio book with one exit."""
    rows, marks, shown = [], [], []
    for arm in metrics["matrix"]:
        head = (arm_name(arm), f"{arm['candidates']:,}")
        if arm["na"]:
            rows.append((head[0], *(DASH,) * 5, "N/A", *(DASH,) * 6))
            marks.append("na")
            continue
        s = arm["exits"][exit_]
        shown.append(s)
        rows.append(
            (
                *head,
                f"{arm['allowed']:,}",
                number(arm["rejection"], ".0%"),
                f"{s['busy']:,}",
                number(s["fill_rate"], ".0%"),
                trade_count(s),
                interval_text(s["net_bps"]),
                number(s["ir_trade"]["value"], "+.3f"),
                number(s["win_rate"], ".0%"),
                number(s["payoff"], ".2f"),
                number(s["ir_stressed"]["value"], "+.3f"),
                number(s["sized_bps"]),
            )
        )
        marks.append(tone(metrics, arm))
    return Table(
        f"Matrix, portfolio book, {exit_} exit",
        (
            *("arm", "cand", "allow", "rej", "busy", "fill", "trades", "net bps [95 %]", "IR", "win", "payoff"),
            *("IR x1.5", "sized"),
        ),
        (False, *(True,) * 12),
        tuple(rows),
        tuple(marks),
        "net bps a trade at equal notional, sized: at the gate's sizes, IR = mean / std of a trade;\n"
        "rej: by slippage, EV or P of what passed liquidity; busy: allowed while a position was open;\n"
        "fill: filled of the orders that were sent" + few_note(shown) + arms_not_run(metrics["matrix"]),
    )


def arms_not_run(arms: Sequence[Mapping]) -> str:
    """One line for each reason that kept arms from being run."""
    named: dict[str, list[str]] = {}
    for arm in arms:
        if arm["na"]:
            named.setdefault(arm["na"], []).append(arm_name(arm))
    return "".join(f"\nN/A: {reason} ({', '.join(names)})" for reason, names in named.items())


def stress_table(metrics: Mapping, exit_: str) -> Table:
    """Net and IR at costs x 1 and x 1.5, both with intervals, and how deep the arm fell."""
    found = run_arms(metrics, exit_)
    rows = tuple(
        (
            arm_name(arm),
            trade_count(s),
            interval_text(s["net_bps"]),
            interval_text(s["stressed_bps"]),
            interval_text(s["ir_trade"], "+.3f"),
            interval_text(s["ir_stressed"], "+.3f"),
            interval_text(s["ir_day"]),
            interval_text(s["ir_day_stressed"]),
            number(s["max_drawdown_bps"], ".1f"),
        )
        for arm, s in found
    )
    few = sorted({s["few_days"] for _, s in found if s.get("few_days")})
    return Table(
        f"Costs x 1 and x {JUDGE.cost_stress:g}, {exit_} exit",
        ("arm", "trades", "net bps", "net x1.5", "IR", "IR x1.5", "IR of days", "IR of days x1.5", "max drawdown"),
        (False, *(True,) * 8),
        rows,
        tuple(tone(metrics, arm) for arm, _ in found),
        (
            "95 % intervals in brackets; decisions stay the same when costs grow; IR of days annualised, at the gate's "
            "sizes; drawdown in bps of the cumulated net result"
            + "".join(f"\nIR of days needs {JUDGE.min_days} days: {text}" for text in few)
            + few_note([s for _, s in found])
        )
        if rows
        else "N/A: no arm was run",
    )
