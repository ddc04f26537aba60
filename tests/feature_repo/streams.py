"""Random but consistent event streams, and short settings under which every memory fills within minutes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from feature_repo.constants import ENGINE
from feature_repo.events import (
    BUY,
    DEPTH,
    DEPTH_BBO,
    DEPTH_CLEAR,
    DEPTH_SNAPSHOT,
    EVENT_DTYPE,
    FUNDING,
    GAP,
    LIQUIDATION,
    SELL,
    TRADE,
)
from feature_repo.instruments import Instrument, instrument

__all__ = ["ETH", "IMPATIENT", "SHORT", "START_NS", "StreamTape", "random_events"]

ETH = instrument("binance_usdm", "ETHUSDT")
START_NS = 1_767_578_100_030_000_000  # 2026-01-05 01:55:00.030 UTC: five minutes before a hand-over window ends
SHORT = replace(
    ENGINE,
    warm_up_s=2,
    z_half_life_s=5.0,
    median_s=10,
    volume_mean_s=7,
    ofi_roll_ms=1_500,
    cvd_change_ms=3_000,
    vwap_s=20,
    atr_bars=3,
    atr_bar_s=15,
    rv_s=5,
    regime_s=20,
    liquidation_s=4,
    range_s=6,
    latency_min_s=5,
    drift_half_life_s=10.0,
    drift_ofi_z=1.0,
)
IMPATIENT = replace(SHORT, silence_s=3)
"""Under which the pauses of `random_events` are silences."""


@dataclass(frozen=True)
class StreamTape:
    """As much of a tape as ``build_features`` reads."""

    events: np.ndarray
    instrument: Instrument = ETH
    venue: str = "binance_usdm"
    symbol: str = "ETHUSDT"
    simulated: bool = False
    manifest: dict = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return len(self.events)

    @property
    def span_ns(self) -> tuple[int, int]:
        """First and latest: the events need not be in order."""
        return int(self.events["local_ts"][0]), int(self.events["local_ts"].max())

    def chunks(self, rows: int, columns: Sequence[str] = ()) -> Iterator[np.ndarray]:
        for at in range(0, len(self.events), rows):
            yield self.events[at : at + rows]


def random_events(seed: int, seconds: float, *, rate: float = 12.0, breaks: bool = True) -> np.ndarray:
    """Messages of a wandering book with trades, own kinds and, if asked for, gaps, crossings and silences.

    Parameters
    ----------
    rate : messages a second on average

    Returns
    -------
    EVENT_DTYPE [n], about 2.5 rows a message, in local_ts order
    """
    rng = np.random.default_rng(seed)
    rows: list[tuple] = []
    local, middle = START_NS, 300_000
    end = START_NS + int(seconds * 1e9)

    def put(kind: int, ticks: float, qty: float, fval: float = 0.0) -> None:
        rows.append((kind, exch, local, round(ticks * 0.01, 2), qty, 0, 0, fval))

    def size() -> float:
        return round(float(rng.exponential(4.0)) + 0.001, 3)

    def snapshot() -> None:
        for side in (BUY, SELL):
            put(DEPTH_CLEAR | side, 0.0, 0.0)
        for side, sign in ((BUY, -1), (SELL, 1)):
            for level in range(1, 9):
                put(DEPTH_SNAPSHOT | side, middle + sign * level, size())

    exch = local - 8_000_000
    put(TRADE | BUY, middle, 0.5)
    put(DEPTH | BUY, middle, 1.0)  # no book yet
    snapshot()
    while local < end:
        step = int(rng.exponential(1e9 / rate))
        if rng.random() < 0.05:
            step = -local % 100_000_000  # on the very edge of a window
        elif rng.random() < 0.05:
            step = 0
        local += step
        exch = local - int(rng.exponential(15e6)) - 3_000_000
        draw = rng.random()
        if breaks and draw < 0.004:
            put(GAP, 0.0, 0.0)
            if rng.random() < 0.5:
                local += int(rng.exponential(3e9))
                exch = local - 5_000_000
                for side, sign in ((BUY, -1), (SELL, 1)):
                    put(DEPTH | side, middle + sign, 1.0)  # of a book that nobody knows
                local, exch = local + 150_000_000, exch + 150_000_000
            snapshot()
        elif breaks and draw < 0.006:
            put(DEPTH | BUY, middle + 30, 1.0)  # crosses
            local += int(rng.exponential(0.3e9))
            put(DEPTH | BUY, middle + 30, 0.0)
        elif breaks and draw < 0.008:
            local += int(rng.exponential(4e9))
        elif draw < 0.30:
            put(TRADE | (BUY if rng.random() < 0.5 else SELL), middle + rng.integers(-2, 3), size())
        elif draw < 0.33:
            put(LIQUIDATION | (BUY if rng.random() < 0.5 else SELL), middle, size())
        elif draw < 0.34:
            put(FUNDING, middle, 0.0, float(rng.normal(0, 1e-4)))
        elif draw < 0.45:
            put(DEPTH_BBO | BUY, middle - 1, size())
        else:
            if rng.random() < 0.2:
                # The mid moves: the levels it passes go with the same message.
                move = int(rng.integers(-3, 4))
                side = SELL if move > 0 else BUY
                for ticks in range(1, abs(move) + 2):
                    put(DEPTH | side, middle + (ticks if move > 0 else -ticks), 0.0)
                middle += move
            for _ in range(rng.integers(1, 5)):
                sign = 1 if rng.random() < 0.5 else -1
                empty = rng.random() < 0.3
                level = int(rng.integers(2 if empty else 1, 9))
                put(DEPTH | (SELL if sign > 0 else BUY), middle + sign * level, 0.0 if empty else size())
    return np.array(rows, EVENT_DTYPE)
