"""Every default of the project in one place: typed, frozen, with units in the names.

A changed default is a CHANGELOG line with the figures before and after.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "BASE_LATENCY_NS",
    "CLOCK_SPAN_NS",
    "ENGINE",
    "GATE",
    "JUDGE",
    "LABEL",
    "MODEL",
    "MS_NS",
    "ORDER",
    "SECOND_NS",
    "SIGNAL",
    "WINDOW_NS",
    "EngineDefaults",
    "GateDefaults",
    "JudgeDefaults",
    "LabelDefaults",
    "ModelDefaults",
    "OrderDefaults",
    "SignalDefaults",
]

MS_NS = 1_000_000
SECOND_NS = 1_000_000_000
WINDOW_NS = 100 * MS_NS
"""Length of a microwindow; t_k is a multiple of it."""
CLOCK_SPAN_NS = 60 * SECOND_NS
"""The clock offset of a recording is estimated from this much of its beginning, causally."""
BASE_LATENCY_NS = 5 * MS_NS
"""The smallest local - exch delay a recording is shifted to."""


@dataclass(frozen=True, slots=True)
class EngineDefaults:
    """Windows and memories of the 100 ms feature engine."""

    warm_up_s: int = 60  # of valid book before a row is valid
    silence_s: int = 60  # without a book event: the book is not trusted until the next one
    z_half_life_s: float = 300.0
    z_clip: float = 8.0
    median_s: int = 300  # rolling medians of spread and depth
    volume_mean_s: int = 300
    ofi_roll_ms: int = 2_000
    cvd_change_ms: int = 5_000
    ofi_level_weights: tuple[float, float, float] = (1.0, 0.5, 0.25)
    vwap_s: int = 900
    atr_bars: int = 14
    atr_bar_s: int = 300
    rv_s: int = 60
    regime_s: int = 4 * 3600  # trailing span of the realised-volatility rank, sampled once a second
    liquidation_s: int = 30
    range_s: int = 60
    latency_ewma_s: float = 1.0
    latency_min_s: int = 60
    e2e_budget_ms: float = 50.0
    drift_half_life_s: float = 300.0
    drift_ofi_z: float = 1.9  # windows whose |ofi_z| reaches this feed the realised-drift EWMA
    handover_hours_utc: tuple[tuple[int, int], ...] = ((0, 2), (7, 9), (13, 15))


@dataclass(frozen=True, slots=True)
class OrderDefaults:
    """What an order looks like, in the labels, the slippage estimate and the shadow run alike."""

    base_size_usd: float = 10_000.0
    order_latency_ms: int = 20  # request to exchange, and exchange to response
    compute_ms: int = 2  # from t_k to the order leaving
    ioc_slices: int = 3
    slice_gap_ms: int = 200
    maker_expiry_ms: int = 5_000


@dataclass(frozen=True, slots=True)
class SignalDefaults:
    """The five candidate types."""

    divergence_extra_z: float = 0.5  # outside hand-over windows
    extreme_s: int = 60  # divergence: the mid at its high or low of this span
    level_bars: int = 15  # reclaim: the level is the high or low of this many closed bars
    level_bar_s: int = 60
    reversion_dev: float = 2.0  # |price - VWAP| / sigma_VWAP
    liquidation_cluster_usd: float = 50_000.0  # one-sided forced flow within EngineDefaults.liquidation_s
    expiry_ms: int = 1_000  # a candidate older than this is not acted on


@dataclass(frozen=True, slots=True)
class LabelDefaults:
    """Triple barrier on executable quotes."""

    R_target: float = 0.9
    R_stop: float = 1.1
    horizon_ms: int = 60_000
    min_tick_sl: int = 6  # for every label, whatever the profile


@dataclass(frozen=True, slots=True)
class ModelDefaults:
    """Training set, nets and walk-forward."""

    T: int = 64
    C: int = 24
    ctx: int = 8
    folds: int = 3
    gap_s: int = 60
    embargo_s: int = 300
    max_candidates: int = 4_000
    train_minutes: float = 15.0
    min_train: int = 200  # labelled candidates in a training span
    min_class: int = 20  # of each class in a training span
    calibration_knots: int = 64
    seed: int = 7


@dataclass(frozen=True, slots=True)
class GateDefaults:
    """Hard constraints that hold for every profile."""

    slip_frac: float = 0.25
    max_data_age_ms: float = 1_000.0
    ev_multiple: float = 2.0
    max_price_off_bps: float = 100.0  # a candidate's price against the window's mid: farther is damaged input


@dataclass(frozen=True, slots=True)
class JudgeDefaults:
    """How results are judged."""

    cost_stress: float = 1.5
    bootstrap_draws: int = 2_000
    block_s: int = 600  # joint time blocks of the paired difference
    min_trades: int = 500
    min_days: int = 20
    bucket_min_trades: int = 30
    bucket_level: float = 0.80
    bucket_fdr: float = 0.10
    ece_bins: int = 15
    ece_max: float = 0.05
    runner_cap_s: int = 300
    equity_multiple: float = 10.0  # stated equity in base sizes


ENGINE = EngineDefaults()
ORDER = OrderDefaults()
SIGNAL = SignalDefaults()
LABEL = LabelDefaults()
MODEL = ModelDefaults()
GATE = GateDefaults()
JUDGE = JudgeDefaults()
