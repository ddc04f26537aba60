"""The rules of a promotion: what each reads from metrics.json, and when it is met."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from runtime.budget import E2E_BUDGET_MS

from .drift_file import ALERT, NA, STATUSES
from .kpi_limits import MIN_JUDGED, KpiLimit, kpi_limits
from .kpis import Status
from .matrix import BANNER, HEADLINE_PROFILE, SCHEMA
from .promotion_file import Absent, MetricsFile
from .records import EXITS, JUDGED_EXIT
from .verdict import SIMULATED_REASON

__all__ = ["RuleSpec", "rule_specs"]

_Found = tuple[Status, float | None, str]


class RuleSpec(NamedTuple):
    """A rule before it is judged; ``judge`` gives status, value and note, or raises ``Absent``."""

    key: str
    title: str
    threshold: str
    judge: Callable[[MetricsFile], _Found]
    blocks: bool = True


def rule_specs(drift_status: str | None, *, allow_simulated: bool, wants_drift: bool) -> tuple[RuleSpec, ...]:
    """All rules, always the same keys in the same order."""
    judges_drift = wants_drift or drift_status not in (None, NA)
    return (
        RuleSpec("schema", "version of metrics.json", SCHEMA, _schema),
        RuleSpec("data", "real data", "recorded, not simulated", partial(_data, allow_simulated)),
        RuleSpec("fee_tier", "fee tier", "named", _fee_tier),
        RuleSpec("arm", f"arm with the model, profile {HEADLINE_PROFILE}", "was run", _arm),
        *(
            RuleSpec(key, limit.title, limit.text, partial(_latency if key == "e2e_p95" else _kpi, key, limit))
            for key, limit in kpi_limits(HEADLINE_PROFILE).items()
        ),
        *(
            RuleSpec(f"{key}_{exit_}", f"{title}, {exit_} exit", f"> 0 {unit}", partial(_lower_bound, exit_, name))
            for exit_ in EXITS
            for key, name, title, unit in _BOUNDS
        ),
        RuleSpec("verdict", "verdict of the report", "nothing else against it", _verdict),
        RuleSpec("drift", "drift report", "OK or WARN", partial(_drift, drift_status, wants_drift), judges_drift),
        RuleSpec("logistic", "beats the logistic baseline", "shown only", _logistic, False),
    )


def _schema(file: MetricsFile) -> _Found:
    return ("FAIL", None, file.other_schema) if file.other_schema else ("PASS", None, "")


def _data(allow_simulated: bool, file: MetricsFile) -> _Found:
    simulated = file.section("simulated")
    venue = file.text(file.section("run"), "venue", "run")
    if not isinstance(simulated, bool):
        raise Absent("simulated is neither true nor false")
    if simulated or venue == "simulated":
        return ("PASS" if allow_simulated else "FAIL"), None, BANNER + ("; allowed here" if allow_simulated else "")
    return "PASS", None, ""


def _fee_tier(file: MetricsFile) -> _Found:
    return "PASS", None, file.fee_tier


def _arm(file: MetricsFile) -> _Found:
    arm = file.only(file.section("matrix"), "matrix", **file.arm)
    why = file.field(arm, "na", "the arm's row")
    if why is not None:
        return "FAIL", None, f"not run: {why}"
    allowed = file.count(arm, "allowed", "the arm's row")
    return "PASS", None, f"{allowed:,} of {file.count(arm, 'candidates', 'the arm'):,} candidates allowed"


def _kpi(key: str, limit: KpiLimit, file: MetricsFile) -> _Found:
    """The status is judged again from the value: a file that says PASS beside a value that fails is damaged."""
    row = _kpi_row(key, file)
    n, said = file.count(row, "n", key), file.text(row, "status", key)
    if said not in ("PASS", "FAIL"):
        return "N/A", None, f"n = {n:,}: {file.text(row, 'note', key)}"
    value = file.number(row, "value", key)
    if n < limit.least:
        raise Absent(f"{said} with n = {n:,}, {limit.least:,} are needed")
    if (said == "PASS") != limit.holds(value):
        return "FAIL", value, f"metrics.json says {said}, its value says otherwise; n = {n:,}"
    return ("PASS" if said == "PASS" else "FAIL"), value, f"n = {n:,}"


def _kpi_row(key: str, file: MetricsFile) -> Mapping:
    of_arm = file.only(file.section("kpis"), "kpis", **file.arm, exit=JUDGED_EXIT)
    return file.only(file.field(of_arm, "rows", "kpis"), "the arm's KPIs", key=key)


def _latency(key: str, limit: KpiLimit, file: MetricsFile) -> _Found:
    """Measured: the value is not in the KPI's row. Each type against its own budget, as this version has it."""
    said = file.text(_kpi_row(key, file), "status", key)
    timed = file.field(file.section("measured"), "latency", "measured")
    if said not in ("PASS", "FAIL"):
        return "N/A", None, file.text(_kpi_row(key, file), "note", key)
    arm = file.only(timed, "measured latency", profile=HEADLINE_PROFILE, model=True)
    types = file.field(arm, "by_type", "measured latency")
    if not isinstance(types, Mapping) or not types:
        raise Absent("no signal type was timed")
    budgets = {sig.name.lower(): budget for sig, budget in E2E_BUDGET_MS.items()}
    if unknown := set(types) - set(budgets):
        raise Absent(f"latency of an unknown signal type {sorted(map(str, unknown))[0][:40]!r}")
    n = sum(file.count(row, "n", name) for name, row in types.items())
    if n < MIN_JUDGED:
        raise Absent(f"{said} with n = {n:,}, {MIN_JUDGED} are needed")
    p95 = {name: file.number(row, "p95_ms", name) for name, row in types.items()}
    worst = max(p95, key=lambda name: p95[name] / budgets[name])
    note = f"{worst}, budget {budgets[worst]:g} ms, n = {n:,}; measured on one machine"
    holds = min(p95.values()) >= 0.0 and p95[worst] <= budgets[worst]
    if (said == "PASS") != holds:
        return "FAIL", p95[worst], f"metrics.json says {said}, its measurement says otherwise; {note}"
    return ("PASS" if holds else "FAIL"), p95[worst], note


_BOUNDS = (
    ("difference", "difference", "model minus no model, lower bound", "bps a candidate"),
    ("own_mean", "model_mean", "model's own mean, lower bound", "bps a trade"),
)
"""Key of the rule, field of model_vs_none, title, unit."""


def _lower_bound(exit_: str, name: str, file: MetricsFile) -> _Found:
    key = {k: v for k, v in file.arm.items() if k != "model"}
    row = file.only(file.section("model_vs_none"), "model_vs_none", **key, exit=exit_)
    trades, without, blocks = (file.count(row, k, "model_vs_none") for k in ("model_trades", "none_trades", "blocks"))
    sample = f"{trades:,} model trades, {without:,} without it, {blocks:,} blocks"
    interval = file.field(row, name, "model_vs_none")
    if isinstance(interval, Mapping) and interval.get("low", 0) is None:
        return "N/A", None, f"too little data for an interval: {sample}"
    low, value = (file.number(interval, k, name) for k in ("low", "value"))
    if low > value:
        raise Absent(f"{name}: the lower bound {low:g} is above the value {value:g}")
    return ("PASS" if low > 0.0 else "FAIL"), low, sample


def _verdict(file: MetricsFile) -> _Found:
    """Reasons for a NO-GO that no rule waives: whatever the verdict learns to ask is asked here, too.

    Simulated data has a rule of its own, and the logistic baseline does not block.
    """
    verdict = file.section("verdict")
    reasons, go = file.field(verdict, "reasons", "verdict"), file.field(verdict, "go", "verdict")
    if not isinstance(reasons, list | tuple) or not all(isinstance(r, str) for r in reasons):
        raise Absent("verdict: reasons is no list of sentences")
    if go is not (not reasons) or file.text(verdict, "word", "verdict") != ("GO" if go else "NO-GO"):
        return "FAIL", None, f"the verdict contradicts itself: go is {go}, {len(reasons)} reasons"
    if (exit_ := file.text(verdict, "judged_exit", "verdict")) != JUDGED_EXIT:
        raise Absent(f"the verdict rests on the exit {exit_[:40]!r}, not on {JUDGED_EXIT!r}")
    waived = [SIMULATED_REASON] if file.section("simulated") is True else []
    if _beats_logistic(file) is False:
        waived.append(file.text(file.section("training"), "first_line", "training"))
    left = [r for r in reasons if r not in waived]
    return ("FAIL", float(len(left)), f"the first: {left[0]}") if left else ("PASS", 0.0, "")


def _drift(status: str | None, wanted: bool, file: MetricsFile) -> _Found:
    if status is None:
        return "N/A", None, "there is no drift report" + ("" if wanted else "; none was asked for")
    if status not in STATUSES:
        return "FAIL", None, f"unknown status {str(status)[:40]!r}"
    if status == NA:
        return "N/A", None, "the newest drift report could not judge"
    return ("FAIL" if status == ALERT else "PASS"), None, status


def _beats_logistic(file: MetricsFile) -> bool | None:
    training = file.section("training")
    if training is None:
        return None
    found = file.field(training, "beats_logistic", "training")
    if found is not None and not isinstance(found, bool):
        raise Absent("training: beats_logistic is neither true nor false nor null")
    return found


def _logistic(file: MetricsFile) -> _Found:
    beats = _beats_logistic(file)
    if beats is None:
        return "N/A", None, "no net was compared"
    return ("PASS" if beats else "FAIL"), None, "says which model is worth its trouble, not whether this one earns"
