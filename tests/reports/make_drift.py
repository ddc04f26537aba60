"""A made-up market for the drift report: levels that wander for hours, signed channels that go together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from feature_repo.constants import SECOND_NS
from feature_repo.fields import CHANNELS, SIGNED
from reports.drift import Decided, DriftInput, Quality, Rows, WalkForward
from reports.records import REASONS
from runtime.decision import Reason

START = 1_767_571_200 * SECOND_NS  # 2026-01-05 00:00 UTC
DAY_NS = 86_400 * SECOND_NS
DAY = "2026-01-06"
LIQUIDATIONS, FUNDING, SESSION = (CHANNELS.index(n) for n in ("liq_imbalance", "funding_bps", "session_flag"))
OFI, CVD = CHANNELS.index("ofi_z"), CHANNELS.index("cvd_z")


def wander(rng, n, hours, scale):
    """A level that forgets itself over so many hours, [n] over a day."""
    steps = 24 * 60
    keep = np.exp(-1 / (60 * hours))
    noise = rng.normal(size=steps) * np.sqrt(1 - keep**2)
    level = np.empty(steps)
    at = rng.normal()
    for i, e in enumerate(noise):
        at = keep * at + e
        level[i] = at
    return scale * np.repeat(level, -(-n // steps))[:n]


def rows(rng, day, n):
    """One day of rows, [n] evenly over it."""
    t = START + day * DAY_NS + (np.arange(n) + rng.random(n)) * (DAY_NS / n)
    flow = rng.normal(size=n)
    X = np.empty((n, len(CHANNELS)))
    heat = np.exp(wander(rng, n, 0.5, 0.1))
    for c, signed in enumerate(SIGNED):
        own = rng.normal(size=n)
        if signed:
            X[:, c] = heat**0.2 * (0.7 * flow + 0.7 * own) + wander(rng, n, 0.5, 0.05)
        else:
            X[:, c] = (c + 1.0) * heat * np.exp(0.3 * own)
    X[:, LIQUIDATIONS] = np.where(rng.random(n) < 0.1, np.sign(X[:, LIQUIDATIONS]), 0.0)
    X[:, FUNDING] = 1.0 + wander(rng, n, 0.2, 0.1)
    X[:, SESSION] = (np.arange(n) * 24 // n) % 4 < 1
    return Rows(t.astype(np.int64), X.astype(np.float32))


def decided(rng, of, m):
    """Candidates at some of a day's rows, whose P comes true."""
    at = np.sort(rng.choice(len(of.t_ns), m, replace=False))
    p = 1 / (1 + np.exp(0.4 - 1.2 * rng.normal(size=m)))
    reason = np.full(m, REASONS.index(Reason.ALLOW))
    reason[p <= 0.3] = REASONS.index(Reason.P_BELOW_TAU)
    reason[rng.random(m) < 0.2] = REASONS.index(Reason.EV)
    reason[rng.random(m) < 0.2] = REASONS.index(Reason.SPREAD)
    return Decided(
        ts_ns=of.t_ns[at],
        X=of.X[at],
        p=p,
        y=(rng.random(m) < p).astype(np.int8),
        weight=np.full(m, 0.8),
        sig_type=rng.integers(0, 5, m).astype(np.int8),
        in_tier=rng.random(m) < 0.7,
        reason=reason.astype(np.int16),
        allow=reason == REASONS.index(Reason.ALLOW),
        cost_bps=np.full(m, 7.0),
        exp_reward_bps=20.0 * np.exp(0.2 * rng.normal(size=m)),
    )


def drift_input(seed=1, *, n=3_000, m=800, **changes):
    """A day that is made as the one before it, which was trained on."""
    rng = np.random.default_rng(seed)
    before, now = rows(rng, 0, n), rows(rng, 1, n)
    known, asked = decided(rng, before, m), decided(rng, now, m)
    base = float(known.y.mean())
    made = DriftInput(
        symbol="ETHUSDT-SIM",
        venue="simulated",
        simulated=True,
        release="v7",
        day=DAY,
        profile="B",
        train_span_ns=(START, START + DAY_NS),
        in_training=0.0,
        reference=before,
        current=now,
        reference_decided=known,
        decided=asked,
        quality=Quality(864_000, 864_000, 700, 0, 2),
        walk_forward=WalkForward(base, 0.65, 0.19, 0.57, 0.02),
        made_from={"seed": seed},
    )
    return replace(made, **changes)


def with_channel(inputs, c, change):
    """The same with one channel of the day changed, at candidate times too."""

    def changed(X):
        X = X.copy()
        X[:, c] = change(X[:, c])
        return X

    current = replace(inputs.current, X=changed(inputs.current.X))
    return replace(inputs, current=current, decided=replace(inputs.decided, X=changed(inputs.decided.X)))
