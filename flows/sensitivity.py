"""One knob turned at a time on the headline arms: tau, order latency, fee and base size. Label exit, portfolio book."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from feature_repo.constants import ORDER, OrderDefaults
from feature_repo.instruments import FeeTier
from reports.matrix import HEADLINE_PROFILE
from reports.sensitivity import SensitivityPoint
from reports.sensitivity_point import point_of
from runtime.shadow_account import Replayed, account, portfolio
from runtime.shadow_latency import feed_latency

from .cells import Asked, Cell
from .replays import Replays

__all__ = ["TAUS", "sensitivity_cells", "sensitivity_points"]

TAUS = (0.10, 0.20, 0.30, 0.40, 0.50, 0.60, 0.70, 0.80)
TAKER_FEES_BPS = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 7.5)
LATENCIES_MS = (1, 5, 10, 20, 50, 100, 200)
BASE_SIZES_USD = (1_000.0, 3_000.0, 10_000.0, 30_000.0, 100_000.0, 300_000.0)
_THREADS = 2


@dataclass(frozen=True)
class _Setting:
    """A replay of its own."""

    knob: str
    value: float
    label: str
    order: OrderDefaults | None = None
    latency: np.ndarray | None = None
    base_size_usd: float = ORDER.base_size_usd


def sensitivity_cells(tiers: Sequence[FeeTier], *, model: bool) -> list[Cell]:
    """What has to be decided anew: other taus, and other fees, which move the EV gate."""
    return [*(_tau_cells(tiers) if model else []), *_fee_cells(tiers, model)]


def _tau_cells(tiers: Sequence[FeeTier]) -> list[Cell]:
    return [Cell(HEADLINE_PROFILE, True, fee, tau) for fee in tiers for tau in (None, *TAUS)]


def _fee_cells(tiers: Sequence[FeeTier], model: bool) -> list[Cell]:
    """The maker fee stays in the proportion of the dearest tier."""
    part = tiers[0].maker_bps / tiers[0].taker_bps
    fees = [FeeTier(f"taker {bps:g} bps", part * bps, bps) for bps in TAKER_FEES_BPS]
    return [Cell(HEADLINE_PROFILE, m, fee) for fee in fees for m in ((False, True) if model else (False,))]


def sensitivity_points(
    asked: Asked,
    replays: Replays,
    done: Replayed,
    cells: Sequence[Cell],
    tiers: Sequence[FeeTier],
    *,
    progress: Callable[[float], None] | None = None,
) -> list[SensitivityPoint]:
    """Every point of the four curves.

    Parameters
    ----------
    done : the label exit's replay of all orders
    cells : the arms of ``done``, in its order; those of ``sensitivity_cells`` are among them
    tiers : fee tiers for which tau, latency and size are shown

    A replay is made for each latency and each size; taus and fees are read off ``done``.
    """
    model = any(c.model for c in cells)
    own = asked.mean_tau(HEADLINE_PROFILE) if model else float("nan")
    points = []
    for knob, turned in (("tau", _tau_cells(tiers) if model else []), ("fee_bps", _fee_cells(tiers, model))):
        for cell in turned:
            value = cell.fee.taker_bps if knob == "fee_bps" else own if cell.tau is None else cell.tau
            allow = asked.allowed([cell])[0]
            points.append(_point(asked, replays, done, cells.index(cell), cell, knob, value, allow))
    heads = [Cell(HEADLINE_PROFILE, m, fee) for fee in tiers for m in ((False, True) if model else (False,))]
    allowed = asked.allowed(heads)
    settings = _settings(replays)
    finished = 0

    def run(setting: _Setting) -> list[SensitivityPoint]:
        nonlocal finished
        orders = asked.orders.copy()
        orders["notional"] = setting.base_size_usd
        made = replays(orders, allowed, "label", every=False, order=setting.order, latency=setting.latency)
        finished += 1
        if progress is not None:
            progress(finished / len(settings))
        return [
            _point(asked, replays, made, a, c, setting.knob, setting.value, allowed[a], setting.label, orders)
            for a, c in enumerate(heads)
        ]

    with ThreadPoolExecutor(_THREADS) as pool:
        for found in pool.map(run, settings):
            points += found
    return points


def _settings(replays: Replays) -> list[_Setting]:
    latencies = [
        _Setting("latency_ms", float(ms), "", order=replace(ORDER, order_latency_ms=ms)) for ms in LATENCIES_MS
    ]
    tape = _Setting("latency_ms", float("nan"), "tape's feed latency", latency=feed_latency(replays.files))
    return [*latencies, tape, *(_Setting("base_size_usd", size, "", base_size_usd=size) for size in BASE_SIZES_USD)]


def _point(
    asked: Asked,
    replays: Replays,
    replayed: Replayed,
    row: int,
    cell: Cell,
    knob: str,
    value: float,
    allow: np.ndarray,
    label: str = "",
    orders: np.ndarray | None = None,
) -> SensitivityPoint:
    """``row`` of ``replayed`` is the cell's, ``allow`` what it allows, ``orders`` what was replayed."""
    orders = asked.orders if orders is None else orders
    return point_of(
        portfolio(account(replayed, cell.fee, replays.instrument), allow, replayed.busy[row]),
        orders["notional"][allow],
        replays.instrument,
        knob=knob,
        value=value,
        label=label,
        fee_tier="" if knob == "fee_bps" else cell.fee.name,
        profile=cell.profile,
        model=cell.model,
    )
