"""From when on a day is a WARN or an ALERT. docs/drift.md says how the numbers were found, and a test compares both."""

from __future__ import annotations

from dataclasses import dataclass

from feature_repo.constants import JUDGE

__all__ = ["LIMITS", "DriftLimits"]


@dataclass(frozen=True, slots=True)
class DriftLimits:
    """All thresholds of the drift report.

    Those of a distance are floors: below them nothing is said, however quiet the training span was. Above them the
    farthest piece of the training span counts, times a factor.
    """

    sample_rows: int = 20_000  # a side: 24 channels and Evidently's page in some ten seconds
    candidates: int = 4_000  # a side, drawn evenly
    seed: int = 7
    warn_factor: float = 1.0  # x the farthest piece of the training span
    warn_short: float = 0.5  # + so much x the day's length over the span's: one day knows little of the next
    alert_factor: float = 1.25
    alert_short: float = 1.0
    warn_factor_one: float = 0.8  # of single figures: P, the cost share, the rejection rate; channels are many
    alert_factor_one: float = 1.0
    distance_warn: float = 0.15  # Wasserstein, in deviations of the training span
    distance_alert: float = 0.30
    dependence_warn: float = 0.15  # change of a rank correlation
    dependence_alert: float = 0.20
    p_warn: float = 0.04  # Wasserstein, in units of P
    p_alert: float = 0.07
    least_moves: int = 20  # of a channel in a day, as of the quietest piece: with none at all it is stuck
    min_candidates: int = 100  # on either side, for P and rates
    min_labels: int = 10 * JUDGE.ece_bins  # as calibration_report.MIN_CALIBRATION
    lift_warn: float = 0.50  # of the walk-forward's lift of AUC-PR over the base rate: the interval ends below it
    lift_alert: float = 0.25
    log_loss_alert: float = 0.02  # nats above the training span's base rate, and surely above 0
    ece_warn: float = JUDGE.ece_max
    ece_alert: float = 2 * JUDGE.ece_max
    brier_warn: float = 0.05  # above the walk-forward's
    rolling_labels: int = 300
    rolling_step: int = 50
    rolling_brier_warn: float = 0.10  # above the window's own share of targets
    rolling_ece_warn: float = 0.20
    rolling_ece_factor: float = 1.25  # x what one window of true labels shows by chance: many are looked at
    cost_warn: float = 1.25  # x the cost share of the training span
    cost_alert: float = 2.0
    allowed_cost_warn: float = 0.45  # the KPI's limit is 0.40, of trades; a night near it is no drift
    allowed_cost_alert: float = 0.50  # what the EV gate promises
    rejection_warn: float = 0.15  # change of a share
    rejection_alert: float = 0.30
    latency_warn: float = 0.80  # of the budget
    latency_alert: float = 1.00
    min_timed: int = 20
    covered_warn: float = 0.95  # of the day's windows; a recording may begin at any hour, so no ALERT
    invalid_warn: float = 0.01  # of the day's rows; each break of the book costs 60 s
    invalid_alert: float = 0.05
    gaps_warn: int = 14  # a day: 1 % of it
    gaps_alert: int = 72  # 5 %

    def factors(self, days: float) -> tuple[float, float]:
        """WARN and ALERT factors of the channels, the worst of which is looked at.

        Parameters
        ----------
        days : length of the training span over that of the day, at least 1
        """
        return self.warn_factor + self.warn_short / days, self.alert_factor + self.alert_short / days


LIMITS = DriftLimits()
