"""The five built-in signals: when flow crosses a profile's thresholds, and what kind of entry that is. No look-ahead.

A candidate fires at t_k when flow crosses into a profile's pair (flow_states.py). What the crossing is follows from
the level machine (levels.py) and the window's market row, by an ordered table (sig_types.py).

:class:`SignalDetector` takes one window at a time; :func:`find_candidates` does the same for a whole table. Both use
the same tables and the same :func:`make_candidate`. docs/signals.md has the state diagrams.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from feature_repo.constants import LABEL, MS_NS, SIGNAL
from feature_repo.errors import InputError
from feature_repo.fields import CHANNELS

from .candidate import Candidate, Entry, SigType, Tier
from .flow_states import FlowMachine, crossings
from .levels import BarBuilder, ReclaimMachine, bar_index, closed_bars
from .sig_types import Crossing, type_of
from .signal_state import pack, unpack

__all__ = [
    "SignalDetector",
    "SignalTable",
    "est_slip_bps",
    "exp_reward_bps",
    "find_candidates",
    "r_bps",
]

_OFI_Z, _CVD_Z, _SESSION, _VWAP_DEV = (CHANNELS.index(n) for n in ("ofi_z", "cvd_z", "session_flag", "vwap_dev_signed"))
_PROGRESS_EVERY = 1_000


class SignalTable(Protocol):
    """What :func:`find_candidates` reads of a feature table."""

    @property
    def X(self) -> np.ndarray: ...  # float32 [K, 24]

    @property
    def market(self) -> np.ndarray: ...  # MARKET_DTYPE [K]

    @property
    def symbol(self) -> str: ...

    @property
    def tick(self) -> float: ...


def exp_reward_bps(sig_type: SigType, market_row: np.void) -> float:
    """The reward that the EV gate judges, bps of the mid; NaN while VWAP or ATR is not ready."""
    mid = float(market_row["mid"])
    if sig_type in (SigType.DIVERGENCE, SigType.REVERSION):
        return abs(float(market_row["vwap"]) - mid) / mid * 1e4
    return 0.5 * float(market_row["atr"]) / mid * 1e4


def r_bps(reward_bps: float, mid: float, tick: float) -> float:
    """Barrier unit: +0.9 R is the reward, and -1.1 R at least ``LABEL.min_tick_sl`` ticks. NaN without a reward."""
    if math.isnan(reward_bps):
        return math.nan
    return max(reward_bps / LABEL.R_target, LABEL.min_tick_sl * tick / mid * 1e4 / LABEL.R_stop)


def est_slip_bps(side: int, entry: Entry, market_row: np.void) -> float:
    """Entry by walking the book (a maker pays nothing), half the spread at the exit, and realised drift.

    Returns
    -------
    float
        bps of the mid; inf where the book cannot fill the base size.
    """
    walk = 0.0
    if entry is Entry.IOC:
        walk = float(market_row["slip_buy_bps" if side > 0 else "slip_sell_bps"])
    return walk + 0.5 * float(market_row["spread_bps"]) + float(market_row["drift_bps"])


def make_candidate(
    symbol: str, tick: float, row_x: np.ndarray, market_row: np.void, side: int, tier: Tier, armed_side: int
) -> Candidate:
    """Type, prices and costs of a crossing.

    Parameters
    ----------
    row_x : float32 [24], of the window that crossed
    market_row : MARKET_DTYPE scalar of the same window
    armed_side : side of the reverse entry that a reclaimed level allows in this window, 0 for none
    """
    mid, ts_ns = float(market_row["mid"]), int(market_row["t_ns"])
    rule = type_of(
        Crossing(
            side=side,
            tier=tier,
            ofi_z=float(row_x[_OFI_Z]),
            vwap_dev=float(row_x[_VWAP_DEV]),
            handover=bool(row_x[_SESSION] > 0),
            mid=mid,
            low=float(market_row["low"]),
            high=float(market_row["high"]),
            forced_buy=float(market_row["liq_buy"]),
            forced_sell=float(market_row["liq_sell"]),
            armed_side=armed_side,
        )
    )
    sig_type, entry = rule.sig_type, rule.entry
    own_quote = float(market_row["bid" if side > 0 else "ask"])
    reward = exp_reward_bps(sig_type, market_row)
    return Candidate(
        ts_ns=ts_ns,
        symbol=symbol,
        side=side,
        sig_type=sig_type,
        tier=tier,
        price=own_quote if entry is Entry.MAKER else mid,
        R_bps=r_bps(reward, mid, tick),
        exp_reward_bps=reward,
        est_slip_bps=est_slip_bps(side, entry, market_row),
        entry=entry,
        expiry_ns=ts_ns + SIGNAL.expiry_ms * MS_NS,
        reclaimed=sig_type is SigType.RECLAIM,
    )


class SignalDetector:
    """One window at a time, live and in replay.

    Parameters
    ----------
    symbol : written into every candidate
    tick : price step, quote currency
    """

    def __init__(self, symbol: str, tick: float) -> None:
        self._symbol, self._tick = symbol, tick
        self._flow, self._bars, self._levels = FlowMachine(), BarBuilder(), ReclaimMachine()

    def update(self, row_x: np.ndarray, market_row: np.void) -> Candidate | None:
        """Take the window that just closed. A window that is not newer than the last one is ignored.

        Parameters
        ----------
        row_x : float32 [24]
        market_row : MARKET_DTYPE scalar; rows may be invalid, and windows may be missing
        """
        t_ns, mid = int(market_row["t_ns"]), float(market_row["mid"])
        if t_ns <= self._flow.t_ns:
            return None
        ok = bool(market_row["valid"]) and bool(np.isfinite(row_x).all()) and math.isfinite(mid)
        fired = self._flow.update(t_ns, float(row_x[_OFI_Z]), float(row_x[_CVD_Z]), ok)
        lost = self._bars.lost_before(t_ns)
        if lost is not None:
            self._levels.on_bar(lost)
        found = None
        if fired is not None:
            armed = self._levels.armed_side(bar_index(t_ns))
            found = make_candidate(self._symbol, self._tick, row_x, market_row, *fired, armed)
        # After the signal: a bar's close is not yet a level to the window that closes it.
        bar = self._bars.update(t_ns, mid, ok)
        if bar is not None:
            self._levels.on_bar(bar)
        return found

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything that the next candidates depend on, as plain arrays; ``np.savez`` takes them without pickle."""
        own = self._flow.state_dict() | self._bars.state_dict() | self._levels.state_dict()
        return pack(own, self._symbol, self._tick)

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from a saved state, bit by bit as if never stopped; names of other states in it are left alone.

        Raises
        ------
        InputError
            When it is damaged, or was saved for another symbol or under other thresholds. Nothing is changed then.
        """
        own = unpack(state, self.state_dict())
        self._flow.load_state_dict(own)
        self._bars.load_state_dict(own)
        self._levels.load_state_dict(own)


def find_candidates(table: SignalTable, *, progress: Callable[[float], None] | None = None) -> list[Candidate]:
    """Every candidate of a table, in time order: what :class:`SignalDetector` gives over its rows.

    Raises
    ------
    InputError
        When the windows are not in time order.
    """
    market, X = table.market, table.X
    t_ns = np.ascontiguousarray(market["t_ns"])
    if len(t_ns) and (np.diff(t_ns) <= 0).any():
        raise InputError(
            f"a feature table of {table.symbol} whose windows are not in time order",
            "one row a window, oldest first",
            "Build the features again",
        )
    mid = np.ascontiguousarray(market["mid"])
    ok = market["valid"] & np.isfinite(X).all(axis=1) & np.isfinite(mid)
    rows, side, tier = crossings(t_ns, X[:, _OFI_Z], X[:, _CVD_Z], ok)
    bars, fed, levels = closed_bars(t_ns, mid, ok), 0, ReclaimMachine()
    found: list[Candidate] = []
    for n, i in enumerate(rows):
        index = bar_index(int(t_ns[i]))
        while bars[fed].index < index:
            levels.on_bar(bars[fed])
            fed += 1
        armed = levels.armed_side(index)
        found.append(make_candidate(table.symbol, table.tick, X[i], market[i], int(side[n]), Tier(int(tier[n])), armed))
        if progress is not None and n % _PROGRESS_EVERY == 0:
            progress((n + 1) / len(rows))
    if progress is not None:
        progress(1.0)
    return found
