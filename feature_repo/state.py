"""The engine's whole memory: one record of scalars and two flat arrays, laid out once from the configuration.

Plain arrays make the state complete by construction: what is not in here does not outlive a call, so saving these
three arrays saves everything.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .constants import ORDER, SECOND_NS, SIGNAL, WINDOW_NS, EngineDefaults
from .errors import InputError
from .instruments import Instrument

__all__ = [
    "BLOCK",
    "BREAKS",
    "FAR_FREE",
    "FAR_LEVELS",
    "HEAD",
    "LARGEST",
    "NEAR_TICKS",
    "NO_LEVEL",
    "REJECTIONS",
    "SECOND_COLUMNS",
    "STATE_DTYPE",
    "EngineState",
    "allocate",
]

NEAR_TICKS = 16_384
"""Ticks a side that are kept as an array around the best price; see book.py."""
FAR_LEVELS = 16_384
"""Levels a side that may lie beyond them. When more do, the farthest quarter is dropped."""
LARGEST = 1e15
"""Ticks of a price, and units of a quantity, beyond which an event is refused."""
BLOCK = 64
"""Ticks whose levels are counted together, so that an empty stretch is skipped."""
HEAD = 5  # whole numbers that book.py keeps of a side
NO_LEVEL, FAR_FREE = np.int64(-(2**62)), np.int64(-(2**62) - 1)  # no key of a level: prices end at 1e15 ticks

REJECTIONS = (
    "unknown_kind",
    "time",  # local_ts or exch_ts not positive, or local_ts beyond the year 2115
    "late",  # local_ts before the last event's, or inside a window that is closed; a gap then counts as of now
    "time_jump",  # local_ts more than a week after the last event's, or exch_ts more than a minute after local_ts
    "side",  # a depth row or liquidation that is not exactly one of BUY and SELL
    "price",  # not finite, or not above half a tick
    "quantity",  # not finite, negative, or a trade of nothing
    "overflow",  # price or quantity beyond 1e15 (ticks, base units)
    "funding",  # rate not finite
    "not_local",  # hftbacktest's exchange-only copy of an event
)
"""Why an event was not applied; the order is that of the counters."""

BREAKS = (
    "gap",  # the sequence broke
    "crossed",  # best bid at or above best ask once a message was complete
    "emptied",  # a side without levels
    "silence",  # no book event for EngineDefaults.silence_s
)
"""Why a good book ceased to be good; the order is that of the counters."""

# int64 and float64 fields of the record, in groups: sizes and offsets, settings, and what changes.
_SIZES = "n_near n_far n_ofi n_cvd n_med n_vwap n_vol n_liq n_lat n_sec n_rv n_range n_ext n_mid n_reg"
_OFFSETS_F = (  # of blocks of floats
    "o_near o_far o_top o_now o_x o_z o_ofi o_cvd o_spr o_spr_sorted o_dep o_dep_sorted o_sec o_reg o_reg_sorted"
)
_OFFSETS_I = "o_head o_count o_far_key o_topk o_now_key o_mid o_range o_ext o_rv o_rej o_brk"
_SETTINGS_I = "warm_ns silence_ns bar_ns atr_n hours far_shift"
_SETTINGS_F = " ".join(
    (
        "tick inv per_tick most_px contract z_floor z_decay z_clip drift_decay drift_z w1 w2 w3",
        "budget_ms tau_ns base_usd sigma_floor",
    )
)
_CLOCK_I = (
    "started t_next last_local m_local m_exch dirty synced book_ok valid_since newest_exch quote_exch windows run"
)
_BOOK_I = "top_nb top_na"
_RINGS_I = "p_ofi p_cvd p_med p_sec p_rv p_mid p_reg n_spr n_dep n_reg_seen rv_sum"
_FLOW_F = "w_ofi w_ofi3 w_dv w_vol w_pd w_pdd w_lb w_ls dv1 dv2 anchor"
_CLOSED_F = "c_q c_pd c_pdd c_vol c_lb c_ls c_min"
_DELAY = "ewma ewma_min"
_REST_F = "funding prev_z drift_w drift_s atr"
_REST_I = "prev_half prev_valid bar_hi bar_lo bar_close atr_count ewma_t"


def _fields() -> list[tuple[str, str]]:
    ints = " ".join([_SIZES, _OFFSETS_F, _OFFSETS_I, _SETTINGS_I, _CLOCK_I, _BOOK_I, _RINGS_I, _REST_I])
    floats = " ".join([_SETTINGS_F, _FLOW_F, _CLOSED_F, _DELAY, _REST_F])
    return [(name, "i8") for name in ints.split()] + [(name, "f8") for name in floats.split()]


STATE_DTYPE = np.dtype(_fields())
"""The record of scalars. Names: n_ ring lengths, o_ offsets, p_ ring positions, w_ this window's sums, c_ sums over
closed seconds; the rest is commented where the engine uses it."""

SECOND_COLUMNS = 6  # per 1 s bucket: quantity, price moments 1 and 2, forced buys, forced sells, least delay


@dataclass(frozen=True)
class EngineState:
    """``scalars`` STATE_DTYPE [1], ``floats`` float64 (rings, sizes), ``ints`` int64 (ticks, counters)."""

    scalars: np.ndarray
    floats: np.ndarray
    ints: np.ndarray

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of the arrays; ``np.savez`` takes them without pickle."""
        return {"scalars": self.scalars.copy(), "floats": self.floats.copy(), "ints": self.ints.copy()}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Go on from a saved state.

        Raises
        ------
        InputError
            When it was saved by an engine of another configuration, instrument or layout.
        """
        do = "Load it into an engine of the same symbol and settings, or start afresh"
        arrays = {}
        for name, mine in (("scalars", self.scalars), ("floats", self.floats), ("ints", self.ints)):
            theirs = None if name not in state else np.asarray(state[name])
            if theirs is None or theirs.dtype != mine.dtype or theirs.shape != mine.shape:
                got = "nothing" if theirs is None else f"{theirs.dtype.name} {theirs.shape}"
                raise InputError(f"saved engine state has {got} for {name!r}", f"{mine.dtype.name} {mine.shape}", do)
            arrays[name] = theirs
        for name in f"{_SIZES} {_OFFSETS_F} {_OFFSETS_I} {_SETTINGS_I} {_SETTINGS_F}".split():
            if arrays["scalars"][name][0] != self.scalars[name][0]:
                got = f"saved engine state has {name} = {arrays['scalars'][name][0]}"
                raise InputError(got, f"{self.scalars[name][0]}", do)
        self.scalars[:], self.floats[:], self.ints[:] = arrays["scalars"], arrays["floats"], arrays["ints"]


def allocate(
    instrument: Instrument, config: EngineDefaults, *, near_ticks: int = NEAR_TICKS, far_levels: int = FAR_LEVELS
) -> EngineState:
    """An empty state for one symbol; both sizes are powers of two, at least ``BLOCK`` ticks."""
    scalars = np.zeros(1, STATE_DTYPE)
    s = scalars[0]
    _settle(s, instrument, config)
    per_s = SECOND_NS // WINDOW_NS
    s["n_near"], s["n_far"] = near_ticks, 2 * far_levels
    s["far_shift"] = 64 - int(s["n_far"]).bit_length() + 1
    s["n_ofi"] = config.ofi_roll_ms * 1_000_000 // WINDOW_NS
    s["n_cvd"] = config.cvd_change_ms * 1_000_000 // WINDOW_NS
    s["n_med"] = config.median_s * per_s
    s["n_vwap"], s["n_vol"], s["n_liq"] = config.vwap_s, config.volume_mean_s, config.liquidation_s
    s["n_lat"] = config.latency_min_s
    s["n_sec"] = max(s["n_vwap"], s["n_vol"], s["n_liq"], s["n_lat"])
    s["n_rv"] = config.rv_s * per_s
    s["n_range"], s["n_ext"] = config.range_s * per_s, SIGNAL.extreme_s * per_s
    s["n_mid"] = max(s["n_range"], s["n_ext"] + 1, per_s + 1)
    s["n_reg"] = config.regime_s
    floats = {
        "o_near": 2 * s["n_near"],
        "o_far": 2 * s["n_far"],
        **dict.fromkeys(("o_top", "o_now"), 6),
        "o_x": 24,
        "o_z": 12,
        "o_ofi": s["n_ofi"],
        "o_cvd": s["n_cvd"],
        **dict.fromkeys(("o_spr", "o_spr_sorted", "o_dep", "o_dep_sorted"), s["n_med"]),
        "o_sec": s["n_sec"] * SECOND_COLUMNS,
        **dict.fromkeys(("o_reg", "o_reg_sorted"), s["n_reg"]),
    }
    ints = {
        "o_head": 2 * HEAD,
        "o_count": 2 * s["n_near"] // BLOCK,
        "o_far_key": 2 * s["n_far"],
        **dict.fromkeys(("o_topk", "o_now_key"), 6),
        "o_mid": s["n_mid"],
        **dict.fromkeys(("o_range", "o_ext"), 4),
        "o_rv": s["n_rv"],
        "o_rej": len(REJECTIONS),
        "o_brk": len(BREAKS),
    }
    state = EngineState(scalars, np.zeros(_lay_out(s, floats)), np.zeros(_lay_out(s, ints), np.int64))
    for name, length in (("o_spr", "n_med"), ("o_dep", "n_med"), ("o_reg", "n_reg")):
        # NaN: a window without a value. The rings are as long as their span, so that a hole ages out like a value.
        state.floats[s[name] : s[name] + s[length]] = np.nan
    delays = state.floats[s["o_sec"] : s["o_sec"] + s["n_sec"] * SECOND_COLUMNS].reshape(-1, SECOND_COLUMNS)
    delays[:, SECOND_COLUMNS - 1] = np.inf
    s["c_min"] = np.inf
    state.ints[s["o_far_key"] : s["o_far_key"] + 2 * s["n_far"]] = FAR_FREE
    state.ints[s["o_head"] + 1 : s["o_head"] + 2 * HEAD : HEAD] = NO_LEVEL  # the best keys
    return state


def _lay_out(s: np.void, lengths: dict[str, int]) -> int:
    """Give each block its offset; returns the total length."""
    at = 0
    for name, length in lengths.items():
        s[name] = at
        at += int(length)
    return at


def _settle(s: np.void, instrument: Instrument, config: EngineDefaults) -> None:
    """The settings the kernel reads."""
    inverse_tick = round(1.0 / instrument.tick)
    s["tick"] = instrument.tick
    # Dividing whole numbers gives the very double that the decimal price parses to; multiplying by 0.01 may not.
    s["inv"] = inverse_tick if inverse_tick > 0 and abs(inverse_tick * instrument.tick - 1.0) < 1e-9 else 0.0
    s["per_tick"] = s["inv"] or 1.0 / instrument.tick
    s["most_px"] = LARGEST * instrument.tick
    s["contract"] = instrument.face_value
    s["z_floor"] = instrument.lot
    s["z_decay"] = 0.5 ** (WINDOW_NS / SECOND_NS / config.z_half_life_s)
    s["z_clip"] = config.z_clip
    s["drift_decay"] = 0.5 ** (WINDOW_NS / SECOND_NS / config.drift_half_life_s)
    s["drift_z"] = config.drift_ofi_z
    s["w1"], s["w2"], s["w3"] = config.ofi_level_weights
    s["budget_ms"] = config.e2e_budget_ms
    s["tau_ns"] = config.latency_ewma_s * SECOND_NS
    s["base_usd"] = ORDER.base_size_usd
    s["sigma_floor"] = instrument.tick / 4.0
    s["warm_ns"], s["silence_ns"] = config.warm_up_s * SECOND_NS, config.silence_s * SECOND_NS
    s["bar_ns"] = config.atr_bar_s * SECOND_NS
    s["atr_n"] = config.atr_bars
    s["hours"] = sum(1 << hour for low, high in config.handover_hours_utc for hour in range(low, high))
