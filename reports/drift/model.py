"""What the release says and whether it comes true: drift of P, ranking, log loss, calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from feature_repo.constants import JUDGE, SECOND_NS
from reports.drift_file import ALERT, OK, WARN
from runtime.quality import auc_pr, brier, ece_debiased, log_loss

from .check import DriftCheck, graded
from .distance import column_distance
from .limits import DriftLimits
from .pieces import pieces_of
from .record import Decided, DriftInput

__all__ = ["Rolling", "model_checks", "probability_check", "rolling"]

_DRAWS = 400
_P_FLOOR = 1e-7


@dataclass(frozen=True)
class Rolling:
    """Brier score and calibration error over the latest labels, at each step; arrays [k].

    Attributes
    ----------
    t_ns : time of the last candidate of the window
    brier, base : of the model, and of answering the window's own share of targets
    ece : debiased
    """

    t_ns: np.ndarray
    brier: np.ndarray
    base: np.ndarray
    ece: np.ndarray


def rolling(decided: Decided, limits: DriftLimits) -> Rolling:
    """Windows of ``rolling_labels`` labelled candidates; one window of them all where there are fewer."""
    known = decided.rows(decided.labelled)
    n = len(known.p)
    if n < limits.min_labels:
        e = np.zeros(0)
        return Rolling(e.astype(np.int64), e, e, e)
    size = min(limits.rolling_labels, n)
    ends = np.arange(n, size - 1, -limits.rolling_step)[::-1]
    figures = []
    for end in ends:
        p, y = known.p[end - size : end], known.y[end - size : end].astype(float)
        figures.append((brier(p, y), y.mean() * (1.0 - y.mean()), ece_debiased(p, y, JUDGE.ece_bins)))
    table = np.array(figures)
    return Rolling(known.ts_ns[ends - 1], table[:, 0], table[:, 1], table[:, 2])


def probability_check(inputs: DriftInput, limits: DriftLimits) -> tuple[DriftCheck, float | None]:
    """Drift of P at candidate time in units of P, and its ALERT limit; None where there is nothing to compare."""
    before = inputs.reference_decided.rows(np.isfinite(inputs.reference_decided.p))
    now = inputs.decided.rows(np.isfinite(inputs.decided.p))
    few = min(len(before.p), len(now.p))
    pieces = None
    if few >= limits.min_candidates:
        pieces = pieces_of(before.ts_ns, int(now.ts_ns[-1] - now.ts_ns[0]) + 1)
    if pieces is None:
        why = (
            f"{len(before.p):,} forecasts in the training span, {len(now.p):,} on the day; "
            f"{limits.min_candidates} of each are needed, over 80 minutes of the training span"
        )
        return DriftCheck.missing("probability", "P at candidate time", why, len(now.p)), None
    floors, factors = (limits.p_warn, limits.p_alert), (limits.warn_factor_one, limits.alert_factor_one)
    d = column_distance(before.p, now.p, pieces, limits, floors, normed=False, factors=factors)
    note = f"mean P {before.p.mean():.3f} in the training span (in sample), {now.p.mean():.3f} on the day; {d.note}"
    return DriftCheck("probability", "P at candidate time", d.status, d.value, d.text, len(now.p), note), d.alert


def model_checks(inputs: DriftInput, limits: DriftLimits) -> list[DriftCheck]:
    """Classification quality and calibration of the day's labelled candidates."""
    names = [("classification", "AUC-PR"), ("classification", "log loss"), ("calibration", "Brier score")]
    names += [("calibration", n) for n in ("ECE", "rolling Brier score, worst", "rolling ECE, worst")]
    known = inputs.decided.rows(inputs.decided.labelled)
    n = len(known.p)
    if n < limits.min_labels:
        why = f"{n:,} candidates of the day have a forecast and a label; {limits.min_labels} are needed"
        return [DriftCheck.missing(group, name, why, n) for group, name in names]
    y = known.y.astype(float)
    windows = rolling(inputs.decided, limits)
    expected = inputs.walk_forward
    trained = inputs.reference_decided
    base = float(trained.y[trained.y >= 0].mean()) if (trained.y >= 0).any() else expected.base_rate
    return [
        _ranking(known.ts_ns, known.p, y, inputs, limits),
        _log_loss(known.ts_ns, known.p, y, base, inputs, limits),
        _brier(known.p, y, inputs, limits),
        _ece(known, y, limits),
        *_rolling_checks(windows, known, inputs, limits),
    ]


def _ranking(ts_ns: np.ndarray, p: np.ndarray, y: np.ndarray, inputs: DriftInput, limits: DriftLimits) -> DriftCheck:
    name, n, base = "AUC-PR", len(p), float(y.mean())
    if base in (0.0, 1.0):
        return DriftCheck.missing("classification", name, f"all labels of the day are {base:.0f}", n)
    value, lifts = auc_pr(p, y), _drawn(ts_ns, lambda rows: _lift(p[rows], y[rows]))
    low, high = np.nanpercentile(lifts, [2.5, 97.5])
    w = inputs.walk_forward
    before = _of(w.auc_pr, w.base_rate)
    warn, alert = limits.lift_warn * max(before, 0.0), limits.lift_alert * max(before, 0.0)
    text = f"lift's 95 % bound below {warn:.3f}: WARN, below {alert:.3f}: ALERT"
    note = f"base rate {base:.3f}, lift {_lift(p, y):+.3f} [{low:+.3f}, {high:+.3f}]; walk-forward lift {before:+.3f}"
    return DriftCheck("classification", name, graded(high, warn, alert, below=True), value, text, n, note)


def _lift(p: np.ndarray, y: np.ndarray) -> float:
    base = float(y.mean())
    return (auc_pr(p, y) - base) / (1.0 - base) if 0.0 < base < 1.0 else np.nan


def _of(value: float | None, base: float | None) -> float:
    """Lift of an AUC-PR over its base rate; 0 where it is not known."""
    return 0.0 if value is None or base is None or not base < 1.0 else (value - base) / (1.0 - base)


def _log_loss(
    ts_ns: np.ndarray, p: np.ndarray, y: np.ndarray, base: float | None, inputs: DriftInput, limits: DriftLimits
) -> DriftCheck:
    value, n = log_loss(p, y), len(p)
    if base is None:
        note = "the share of targets in the training span is not known"
        return DriftCheck("classification", "log loss", OK, value, "none", n, note)
    excess = _losses(p, y) - _losses(np.full(n, base), y)
    drawn = _drawn(ts_ns, lambda rows: excess[rows].mean())
    low, high = np.percentile(drawn, [1.0, 99.0])
    status = ALERT if low > 0 and excess.mean() > limits.log_loss_alert else WARN if low > 0 else OK
    text = f"surely above the training base rate's: WARN, by more than {limits.log_loss_alert:g} nats: ALERT"
    note = f"model less P = {base:.3f} always: {excess.mean():+.4f} [{low:+.4f}, {high:+.4f}] nats (98 %)"
    before = inputs.walk_forward.log_loss
    note += "" if before is None else f"; walk-forward {before:.3f}"
    return DriftCheck("classification", "log loss", status, value, text, n, note)


def _losses(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    p = np.clip(p, _P_FLOOR, 1.0 - _P_FLOOR)
    return -(y * np.log(p) + (1.0 - y) * np.log1p(-p))


def _brier(p: np.ndarray, y: np.ndarray, inputs: DriftInput, limits: DriftLimits) -> DriftCheck:
    value, base, before = brier(p, y), float(y.mean() * (1 - y.mean())), inputs.walk_forward.brier
    note = f"the day's own share of targets would have {base:.4f}"
    if before is None:
        return DriftCheck("calibration", "Brier score", OK, value, "none: the release has no figure", len(p), note)
    limit = before + limits.brier_warn
    return DriftCheck(
        "calibration", "Brier score", WARN if value > limit else OK, value, f"WARN > {limit:.4f}", len(p),
        f"{note}; walk-forward {before:.4f}",
    )  # fmt: skip


def _ece(known: Decided, y: np.ndarray, limits: DriftLimits) -> DriftCheck:
    value, noise = ece_debiased(known.p, y, JUDGE.ece_bins), _noise(known.p, known.weight)
    warn, alert = max(limits.ece_warn, noise), max(limits.ece_alert, noise)
    note = f"mean P {known.p.mean():.3f}, share of targets {y.mean():.3f}; a true P would stay below {noise:.3f} (99 %)"
    text = f"WARN > {warn:.3f}, ALERT > {alert:.3f}"
    return DriftCheck("calibration", "ECE", graded(value, warn, alert), value, text, len(y), note)


def _noise(p: np.ndarray, weight: np.ndarray) -> float:
    """99 % quantile of the debiased ECE of labels that do come true as p says.

    Labels that overlap in time share their luck. With average uniqueness w they are worth sum(w) independent ones: so
    many are drawn.
    """
    worth = int(np.clip(round(float(weight.sum())), 2 * JUDGE.ece_bins, len(p)))
    rng = np.random.default_rng(len(p))
    drawn = []
    for _ in range(200):
        q = rng.choice(p, worth, replace=False)
        drawn.append(ece_debiased(q, (rng.random(worth) < q).astype(float), JUDGE.ece_bins))
    return float(np.quantile(drawn, 0.99))


def _rolling_checks(windows: Rolling, known: Decided, inputs: DriftInput, limits: DriftLimits) -> list[DriftCheck]:
    """The worst window: many are looked at, so that none is more than a WARN."""
    size, k = min(limits.rolling_labels, len(known.p)), len(windows.t_ns)
    note = f"{k} windows of {size} labels"
    excess = windows.brier - windows.base
    b, e = int(excess.argmax()), int(windows.ece.argmax())
    rest = [DriftCheck(
        "calibration", "rolling Brier score, worst", WARN if excess[b] > limits.rolling_brier_warn else OK,
        float(windows.brier[b]), f"WARN > {limits.rolling_brier_warn:g} above the window's own share of targets", k,
        f"{note}; {excess[b]:+.4f} above, at {_clock(windows.t_ns[b])}; the latest {windows.brier[-1]:.4f}",
    )]  # fmt: skip
    limit = max(limits.rolling_ece_warn, limits.rolling_ece_factor * _noise(known.p[:size], known.weight[:size]))
    rest.append(DriftCheck(
        "calibration", "rolling ECE, worst", WARN if windows.ece[e] > limit else OK, float(windows.ece[e]),
        f"WARN > {limit:.3f}", k, f"{note}; at {_clock(windows.t_ns[e])}; the latest {windows.ece[-1]:.3f}",
    ))  # fmt: skip
    return rest


def _clock(t_ns: int) -> str:
    return f"{np.datetime64(int(t_ns), 'ns').astype('datetime64[m]').astype(str)[11:]} UTC"


def _drawn(ts_ns: np.ndarray, figure) -> np.ndarray:
    """The figure of rows [n] of resampled blocks of time, as the judging of the arms has them; float64 [draws]."""
    keys, at = np.unique(ts_ns // (JUDGE.block_s * SECOND_NS), return_inverse=True)
    members = np.split(np.argsort(at, kind="stable"), np.cumsum(np.bincount(at))[:-1])
    rng = np.random.default_rng(len(ts_ns))
    return np.array([
        figure(np.concatenate([members[b] for b in rng.integers(0, len(keys), len(keys))])) for _ in range(_DRAWS)
    ])  # fmt: skip
