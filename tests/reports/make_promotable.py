"""A metrics.json that may be promoted, and for each rule one change that makes it fail."""

from __future__ import annotations

from collections.abc import Callable

from reports.kpi_limits import kpi_limits
from tests.reports import make_metrics
from tests.reports.make_training import bounds

HEADLINE = {"fee_tier": "regular", "profile": "B", "model": True}
# key: a value that passes, its sample size, a value that fails
KPI_VALUES = {
    "trades": (812.0, 812, 499.0),
    "ir_trade": (0.081, 812, -0.001),
    "ir_stressed": (0.02, 812, -0.001),
    "ir_day": (1.3, 40, -0.1),
    "win_rate_momentum": (0.52, 240, 0.449),
    "payoff_momentum": (1.31, 240, 1.2),
    "win_rate_divergence": (0.41, 90, 0.299),
    "cost_share": (0.31, 812, 0.401),
    "rejection": (0.61, 2_400, 0.701),
    "handover": (0.71, 90, 0.599),
    "e2e_p95": (None, 600, None),
    "ece": (0.021, 2_700, 0.0501),
    "dsr": (0.97, 812, 0.949),
    "pbo": (0.11, 108, 0.201),
}


def passing() -> dict:
    """Made from the hand-made report: real data, a named tier, every figure of the headline arm good."""
    metrics = make_metrics.metrics(simulated=False)
    metrics["run"]["fee_tier_given"] = "regular"
    metrics["verdict"].update(word="GO", go=True, reasons=[], headline=["regular B model"])
    for arm in metrics["kpis"]:
        arm["rows"] = [_kpi_row(key) for key in KPI_VALUES]  # a list of its own for each arm
    for row in metrics["model_vs_none"]:
        row.update(difference=bounds(0.4, 0.3), model_mean=bounds(1.2, 0.5), model_beats_none=True)
    return metrics


def _kpi_row(key: str) -> dict:
    value, n, _ = KPI_VALUES[key]
    limit = kpi_limits("B")[key]
    measured = key == "e2e_p95"
    return {
        "key": key, "title": limit.title, "status": "PASS", "value": value, "threshold": limit.text, "n": n,
        "note": "value in the measured section" if measured else "", "measured": measured,
    }  # fmt: skip


def of(rows: list, **key) -> dict:
    """The one row with these values."""
    (found,) = [r for r in rows if all(r[k] == v for k, v in key.items())]
    return found


def kpi(metrics: dict, key: str) -> dict:
    return of(of(metrics["kpis"], **HEADLINE, exit="runner")["rows"], key=key)


def pair(metrics: dict, exit_: str) -> dict:
    return of(metrics["model_vs_none"], fee_tier="regular", profile="B", exit=exit_)


def timed(metrics: dict) -> dict:
    return of(metrics["measured"]["latency"], profile="B", model=True)["by_type"]


def fail_kpi(key: str) -> Callable[[dict], None]:
    """The value fails, and the status says so."""

    def change(metrics: dict) -> None:
        kpi(metrics, key).update(value=KPI_VALUES[key][2], status="FAIL")

    return change


def _simulate(metrics: dict) -> None:
    metrics["simulated"] = True


def _slow(metrics: dict) -> None:
    kpi(metrics, "e2e_p95")["status"] = "FAIL"
    timed(metrics)["reclaim"]["p95_ms"] = 30.5


def _low(exit_: str, name: str) -> Callable[[dict], None]:
    def change(metrics: dict) -> None:
        pair(metrics, exit_)[name]["low"] = 0.0

    return change


def _doubt(metrics: dict) -> None:
    metrics["verdict"].update(word="NO-GO", go=False, reasons=["The tick is 8 bps: 95.0 % of labels are time-outs."])


def _not_run(metrics: dict) -> None:
    of(metrics["matrix"], **HEADLINE)["na"] = "no model: 137 labels in the training span, 200 needed"


FAILING: dict[str, Callable[[dict], None]] = {
    "schema": lambda m: m.update(schema="ofi-meta/metrics/2"),
    "data": _simulate,
    "fee_tier": lambda m: m["run"].update(fee_tier_given=None),
    "arm": _not_run,
    **{key: fail_kpi(key) for key in KPI_VALUES},
    "e2e_p95": _slow,
    **{
        f"{key}_{exit_}": _low(exit_, name)
        for exit_ in ("label", "runner")
        for key, name in (("difference", "difference"), ("own_mean", "model_mean"))
    },
    "verdict": _doubt,
}
"""Each rule that blocks, and the change of a passing file that makes it fail."""
