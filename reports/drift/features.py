"""Drift of the 24 channels: where their values lie, and how they go together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from feature_repo.fields import CHANNELS, SIGNED
from reports.drift_file import ALERT, NA, OK, STATUSES, WARN

from .check import DriftCheck
from .distance import Distance, column_distance
from .limits import DriftLimits
from .pieces import Pieces, Scores, correlation, dependence_pieces, pieces_of
from .record import Decided, DriftInput, Rows

__all__ = ["FeatureDrift", "feature_drift"]

_GROUP = "features"
_LEAST_ROWS = 1_000


@dataclass(frozen=True)
class FeatureDrift:
    """Checks of the channels, and the distance of each for the pictures; None where there is nothing to compare."""

    checks: tuple[DriftCheck, ...]
    distances: tuple[Distance, ...] | None


def feature_drift(inputs: DriftInput, limits: DriftLimits) -> FeatureDrift:
    """Compare the day's rows with those of the training span.

    Sign flips leave a symmetric channel's values where they were; they show in how signed channels go together.
    """
    reference, current = inputs.reference, inputs.current
    why = _too_little(reference, current)
    pieces = None if why else pieces_of(reference.t_ns, _length_ns(current.t_ns))
    if not why and pieces is None:
        why = "the training span is too short to be cut into pieces (80 minutes of valid rows at least)"
    if why or pieces is None:
        names = [*CHANNELS, "signed channels together", "channels at candidate times"]
        return FeatureDrift(tuple(DriftCheck.missing(_GROUP, n, why, len(current.t_ns)) for n in names), None)
    floors = (limits.distance_warn, limits.distance_alert)
    distances = tuple(
        column_distance(reference.X[:, c], current.X[:, c], pieces, limits, floors) for c in range(len(CHANNELS))
    )
    n = len(current.t_ns)
    checks = [_check(name, d, n) for name, d in zip(CHANNELS, distances, strict=True)]
    checks += _dependence(reference, current, pieces, limits)
    checks.append(_at_candidates(inputs.reference_decided, inputs.decided, distances, limits))
    return FeatureDrift(tuple(checks), distances)


def _too_little(reference: Rows, current: Rows) -> str:
    for rows, where in ((reference, "the training span"), (current, "the day")):
        if len(rows.t_ns) < _LEAST_ROWS:
            return f"{len(rows.t_ns):,} valid rows of {where}, at least {_LEAST_ROWS:,} are needed"
    return ""


def _length_ns(t_ns: np.ndarray) -> int:
    return int(t_ns[-1] - t_ns[0]) + 1


def _check(name: str, d: Distance, n: int) -> DriftCheck:
    return DriftCheck(_GROUP, name, d.status, d.value, d.text, n, d.note)


def _dependence(reference: Rows, current: Rows, pieces: Pieces, limits: DriftLimits) -> list[DriftCheck]:
    """A check of all signed channels together, and one for each that does not go with the others as it did."""
    names = [name for name, signed in zip(CHANNELS, SIGNED, strict=True) if signed]
    scores = Scores(reference.X[:, SIGNED])
    before, now = scores(reference.X[:, SIGNED]), scores(current.X[:, SIGNED])
    was, became = correlation(before), correlation(now)
    farthest = pieces.farthest(np.abs(dependence_pieces(before, pieces)))
    change = np.abs(became - was)
    warn, alert = limits.factors(pieces.days)
    limit = {
        WARN: np.maximum(limits.dependence_warn, warn * farthest),
        ALERT: np.maximum(limits.dependence_alert, alert * farthest),
    }
    left, checks = np.ones(len(names), bool), []
    for status in (ALERT, WARN):
        while True:
            # One channel that turned round changes its correlation with all others: it is named, and not they.
            over = np.where((change > limit[status]) & left[:, None] & left[None, :], change / limit[status], 0.0)
            if not over.any():
                break
            worst = int(over.sum(axis=1).argmax())
            other = int(over[worst].argmax())
            left[worst] = False
            checks.append(
                DriftCheck(
                    _GROUP,
                    f"{names[worst]} with the others",
                    status,
                    float(change[worst, other]),
                    f"WARN > {limit[WARN][worst, other]:.3g}, ALERT > {limit[ALERT][worst, other]:.3g}",
                    len(now),
                    f"rank correlation with {names[other]} {was[worst, other]:+.2f} in the training span, "
                    f"{became[worst, other]:+.2f} on the day; {int((over[worst] > 0).sum())} such pairs",
                )
            )
    ratio = np.where(left[:, None] & left[None, :], change / limit[ALERT], 0.0)
    at = np.unravel_index(int(ratio.argmax()), ratio.shape)
    status = max((c.status for c in checks), key=STATUSES.index, default=OK)
    note = (
        f"{len(checks)} of {len(names)} changed" if checks else f"nearest to its limit: {names[at[0]]}, {names[at[1]]}"
    )
    text = f"WARN > {limit[WARN][at]:.3g}, ALERT > {limit[ALERT][at]:.3g}"
    value = max((c.value for c in checks), default=float(change[at]))
    return [DriftCheck(_GROUP, "signed channels together", status, value, text, len(now), note), *checks]


def _at_candidates(before: Decided, now: Decided, rows: Sequence[Distance], limits: DriftLimits) -> DriftCheck:
    """The channel that is farthest from where it was when candidates fired; ``rows``: distances over all rows.

    Candidates come in bunches, so that their pieces know less of how far a channel goes than those of all rows.
    """
    name = "channels at candidate times"
    a, b = before.rows(np.isfinite(before.p)), now.rows(np.isfinite(now.p))
    few = min(len(a.ts_ns), len(b.ts_ns))
    pieces = pieces_of(a.ts_ns, _length_ns(b.ts_ns)) if few >= limits.min_candidates else None
    if pieces is None:
        why = f"{len(a.ts_ns):,} candidates in the training span and {len(b.ts_ns):,} on the day"
        return DriftCheck(_GROUP, name, NA, None, "", len(b.ts_ns), f"{why}; {limits.min_candidates} are needed")
    floors = (limits.distance_warn, limits.distance_alert)
    all_ = [
        column_distance(a.X[:, c], b.X[:, c], pieces, limits, floors, at_least=rows[c].farthest)
        for c in range(len(CHANNELS))
    ]
    c = max(range(len(CHANNELS)), key=lambda c: (STATUSES.index(all_[c].status), all_[c].value / all_[c].alert))
    note = f"{CHANNELS[c]} is the worst of {len(CHANNELS)}; {all_[c].note}"
    return DriftCheck(_GROUP, name, all_[c].status, all_[c].value, all_[c].text, len(b.ts_ns), note)
