"""Made-up runs of the honesty check, of which every figure is known."""

from __future__ import annotations

import numpy as np

from reports.honesty_record import HonestModel, HonestRun
from reports.statistics import Interval, PairedDifference

NAN = float("nan")
NO_INTERVAL = (NAN, NAN)


def arm(value=1.0, bounds=(-1.0, 3.0), *, mean=2.0, mean_bounds=(-1.0, 5.0), n=100, trades=40, none=80):
    """Model minus no model; by default no claim."""
    return PairedDifference(
        Interval(value, *bounds), Interval(mean, *mean_bounds), Interval(0.0, -2.0, 2.0), 50, n, trades, none
    )


CLAIM = arm(bounds=(0.2, 2.0), mean_bounds=(0.5, 3.5))


def run(edge, seed, made=None, *, p=(0.25, 0.75), y=(0, 1), models=("logistic",), notes=(), **baselines):
    """One run with one arm, the deciding one."""
    briers = {"brier_logistic": 0.2, "brier_base": 0.25} | baselines
    arms = {("regular", "label"): arm() if made is None else made}
    model = HonestModel(np.array(p, float), np.array(y), arms=arms, candidates=len(y), notes=notes, **briers)
    return HonestRun(float(edge), seed, dict.fromkeys(models, model))


def runs(claims_0, claims_1, n=20):
    """``n`` seeds of each edge, the first few of which claim."""
    return [run(e, 101 + i, CLAIM if i < k else arm()) for e, k in ((0, claims_0), (1, claims_1)) for i in range(n)]
