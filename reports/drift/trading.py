"""What entries cost, how many are denied, how long a decision takes, and what the day's data lack."""

from __future__ import annotations

import numpy as np

from reports.drift_file import ALERT, NA, OK, WARN
from reports.funnel import rejection_stages
from reports.latency import latency_stats
from reports.records import REASONS
from runtime.candidate import SigType
from runtime.decision import Reason

from .check import DriftCheck, graded
from .limits import DriftLimits
from .pieces import pieces_of
from .record import Decided, DriftInput

__all__ = ["cost_checks", "data_checks", "latency_checks", "rejection_checks"]

_BROKEN = (Reason.INTERNAL_ERROR, Reason.MODEL_ERROR, Reason.NOT_FINITE, Reason.STORE_ERROR)


def cost_checks(inputs: DriftInput, limits: DriftLimits) -> list[DriftCheck]:
    """Cost over expected reward: of what the profile takes, and of what it allowed."""
    before, now = (_priced(d) for d in (inputs.reference_decided, inputs.decided))
    name = "cost share, all candidates"
    n, few = len(now.ts_ns), min(len(before.ts_ns), len(now.ts_ns))
    if few < limits.min_candidates:
        why = f"{len(before.ts_ns):,} priced candidates in the training span, {n:,} on the day; "
        checks = [DriftCheck.missing("costs", name, f"{why}{limits.min_candidates} are needed", n)]
    else:
        was, is_ = (np.log(d.cost_bps / d.exp_reward_bps) for d in (before, now))
        factor, farthest = float(np.exp(is_.mean() - was.mean())), _farthest(before.ts_ns, was, now.ts_ns)
        ratio = float(np.exp(farthest))
        warn, alert = (
            max(limits.cost_warn, ratio**limits.warn_factor_one),
            max(limits.cost_alert, ratio**limits.alert_factor_one),
        )
        checks = [DriftCheck(
            "costs", name, graded(factor, warn, alert), float(np.exp(is_.mean())),
            f"WARN > {warn:.2f} x the training span's, ALERT > {alert:.2f} x", n,
            f"{factor:.2f} x {np.exp(was.mean()):.3f}, geometric means; farthest piece {ratio:.2f} x",
        )]  # fmt: skip
    taken = now.rows(now.allow)
    m, name = len(taken.ts_ns), "cost share, allowed"
    if not m:
        return [*checks, DriftCheck.missing("costs", name, "nothing was allowed on the day")]
    share = float(taken.cost_bps.mean() / taken.exp_reward_bps.mean())
    text = f"WARN > {limits.allowed_cost_warn:.2f}, ALERT > {limits.allowed_cost_alert:.2f}"
    status = graded(share, limits.allowed_cost_warn, limits.allowed_cost_alert)
    return [*checks, DriftCheck("costs", name, status, share, text, m, "mean cost / mean expected reward")]


def _priced(decided: Decided) -> Decided:
    reward, cost = decided.exp_reward_bps, decided.cost_bps
    return decided.rows(decided.in_tier & np.isfinite(reward) & (reward > 0) & np.isfinite(cost) & (cost > 0))


def rejection_checks(inputs: DriftInput, limits: DriftLimits) -> list[DriftCheck]:
    """The rejection KPI's rate beside the training span's, and answers that no gate should give."""
    before, now = (_past_liquidity(d) for d in (inputs.reference_decided, inputs.decided))
    n, few = len(now[0]), min(len(before[0]), len(now[0]))
    name = f"rejection rate, profile {inputs.profile}"
    if few < limits.min_candidates:
        why = f"{len(before[0]):,} candidates past the liquidity checks in the training span, {n:,} on the day"
        checks = [DriftCheck.missing("rejections", name, f"{why}; {limits.min_candidates} are needed", n)]
    else:
        was, is_ = float(before[1].mean()), float(now[1].mean())
        farthest = _farthest(before[0], before[1], now[0])
        warn = max(limits.rejection_warn, limits.warn_factor_one * farthest)
        alert = max(limits.rejection_alert, limits.alert_factor_one * farthest)
        checks = [DriftCheck(
            "rejections", name, graded(abs(is_ - was), warn, alert), is_,
            f"WARN > {warn:.2f} from the training span's, ALERT > {alert:.2f}", n,
            f"{was:.3f} in the training span, where the model knew the labels; "
            f"{int(inputs.decided.allow.sum()):,} of {int(inputs.decided.in_tier.sum()):,} allowed on the day",
        )]  # fmt: skip
    broken = np.isin(inputs.decided.reason, [REASONS.index(r) for r in _BROKEN])
    m, count = len(broken), int(broken.sum())
    if not m:
        return [*checks, DriftCheck.missing("rejections", "answers by error", "the day has no candidates")]
    found = [f"{k} {r.value}" for r in _BROKEN if (k := int((inputs.decided.reason == REASONS.index(r)).sum()))]
    note = ", ".join(found) or "no internal, model or store error, nothing that is not finite"
    return [*checks, DriftCheck("rejections", "answers by error", ALERT if count else OK, count, "ALERT > 0", m, note)]


def _past_liquidity(decided: Decided) -> tuple[np.ndarray, np.ndarray]:
    """Times of the candidates past the liquidity checks, and whether each was denied then; float64."""
    passed, judged = rejection_stages(decided.reason)
    use = passed & decided.in_tier
    return decided.ts_ns[use], judged[use].astype(float)


def _farthest(ts_ns: np.ndarray, values: np.ndarray, day_ns: np.ndarray) -> float:
    """Largest distance of a piece's mean from that of the rest; 0 where there are no pieces."""
    pieces = pieces_of(ts_ns, int(day_ns[-1] - day_ns[0]) + 1)
    if pieces is None:
        return 0.0
    inside, outside = pieces.sums(np.bincount(pieces.block, weights=values, minlength=pieces.blocks))
    n, m = pieces.sums(np.bincount(pieces.block, minlength=pieces.blocks).astype(float))
    apart = np.abs(inside / np.maximum(n, 1.0) - outside / np.maximum(m, 1.0))
    return float(pieces.farthest(apart))


def latency_checks(inputs: DriftInput, limits: DriftLimits) -> list[DriftCheck]:
    """P95 of each signal type against its budget."""
    stats = latency_stats(inputs.latency)
    checks = []
    for sig in SigType:
        name = f"P95 {sig.name.lower()}, ms"
        row = stats.get(sig.name.lower())
        if row is None or row["n"] < limits.min_timed:
            n = 0 if row is None else int(row["n"])
            why = inputs.latency_note if inputs.latency is None else f"{n} decisions, {limits.min_timed} are needed"
            checks.append(DriftCheck("latency", name, NA, None, "", n, why))
            continue
        warn, alert = limits.latency_warn * row["budget_ms"], limits.latency_alert * row["budget_ms"]
        status = graded(row["p95_ms"], warn, alert)
        text = f"WARN > {warn:g}, ALERT > {alert:g} (the budget)"
        checks.append(DriftCheck("latency", name, status, row["p95_ms"], text, int(row["n"]), inputs.latency_note))
    return checks


def data_checks(inputs: DriftInput, limits: DriftLimits) -> list[DriftCheck]:
    """What of the day is there, and in what state."""
    q, checks = inputs.quality, []
    covered = q.found / q.expected
    checks.append(DriftCheck(
        "data", "share of the day's windows", WARN if covered < limits.covered_warn else OK, covered,
        f"WARN < {limits.covered_warn:g}", q.expected, f"{q.found:,} of {q.expected:,} windows of 100 ms",
    ))  # fmt: skip
    if q.found:
        invalid = q.invalid / q.found
        checks.append(DriftCheck(
            "data", "invalid windows", graded(invalid, limits.invalid_warn, limits.invalid_alert), invalid,
            f"WARN > {limits.invalid_warn:g}, ALERT > {limits.invalid_alert:g}", q.found, f"{q.invalid:,} windows",
        ))  # fmt: skip
        checks.append(DriftCheck(
            "data", "values that are not finite", ALERT if q.not_finite else OK, q.not_finite, "ALERT > 0", q.found,
            "valid windows with a channel that is no number",
        ))  # fmt: skip
    else:
        checks += [
            DriftCheck.missing("data", n, "no windows") for n in ("invalid windows", "values that are not finite")
        ]
    if q.gaps is None:
        checks.append(DriftCheck.missing("data", "gaps of the feed", "the tape does not have this day"))
    else:
        checks.append(DriftCheck(
            "data", "gaps of the feed", graded(q.gaps, limits.gaps_warn, limits.gaps_alert), q.gaps,
            f"WARN > {limits.gaps_warn}, ALERT > {limits.gaps_alert}", q.found, "lost messages, by the tape",
        ))  # fmt: skip
    inside = inputs.in_training
    checks.append(DriftCheck(
        "data", "share of the day that the release was fitted on", WARN if inside > 0 else OK, inside, "WARN > 0",
        q.found, "IN SAMPLE: the model knew these labels, so all that is said of them flatters" if inside > 0 else "",
    ))  # fmt: skip
    return checks
