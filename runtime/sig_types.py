"""What kind of entry a crossing is: an ordered list of (type, condition, entry style); the first that holds wins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from feature_repo.constants import SIGNAL

from .candidate import Entry, SigType, Tier
from .profiles import PROFILES

__all__ = ["LIQUIDATION_DOMINANCE", "TYPES", "Crossing", "TypeRule", "type_of"]

LIQUIDATION_DOMINANCE = 3.0
"""A cluster is one-sided when it is this many times the forced flow of the other side."""

_OFI_Z_MIN = {profile.tier: profile.ofi_z_min for profile in PROFILES.values()}


@dataclass(frozen=True, slots=True)
class Crossing:
    """Everything that the type depends on, of the window that crossed.

    Attributes
    ----------
    side : +1 buys, -1 sells
    ofi_z, vwap_dev : signed, as in the feature row
    handover : the window lies in a hand-over of sessions
    mid, low, high : quote currency; extremes of the mid over the ``SIGNAL.extreme_s`` before, NaN without any
    forced_buy, forced_sell : quote currency
    armed_side : side of the reverse entry that a reclaimed level allows, 0 for none
    """

    side: int
    tier: Tier
    ofi_z: float
    vwap_dev: float
    handover: bool
    mid: float
    low: float
    high: float
    forced_buy: float
    forced_sell: float
    armed_side: int


def _liquidation(c: Crossing) -> bool:
    """Forced flow towards the side reaches the cluster's size, and the dominance times that of the other side."""
    towards, against = (c.forced_buy, c.forced_sell) if c.side > 0 else (c.forced_sell, c.forced_buy)
    return towards >= SIGNAL.liquidation_cluster_usd and towards >= LIQUIDATION_DOMINANCE * against


def _reclaim(c: Crossing) -> bool:
    """The level machine is armed for the side."""
    return c.armed_side == c.side


def _divergence(c: Crossing) -> bool:
    """The mid is at or beyond its extreme against the side; outside hand-over windows ofi_z needs the extra too."""
    at_extreme = c.mid <= c.low if c.side > 0 else c.mid >= c.high
    extra = 0.0 if c.handover else SIGNAL.divergence_extra_z
    return at_extreme and c.side * c.ofi_z >= _OFI_Z_MIN[c.tier] + extra


def _reversion(c: Crossing) -> bool:
    """The price is stretched away from VWAP, and the side points back to it."""
    return c.side * c.vwap_dev <= -SIGNAL.reversion_dev


def _momentum(c: Crossing) -> bool:
    """Everything else: the crossing itself says that OFI and CVD agree beyond their minima."""
    return True


class TypeRule(NamedTuple):
    """One row of :data:`TYPES`."""

    sig_type: SigType
    holds: Callable[[Crossing], bool]
    entry: Entry


TYPES = (
    TypeRule(SigType.LIQUIDATION, _liquidation, Entry.IOC),
    TypeRule(SigType.RECLAIM, _reclaim, Entry.IOC),
    TypeRule(SigType.DIVERGENCE, _divergence, Entry.MAKER),
    TypeRule(SigType.REVERSION, _reversion, Entry.IOC),
    TypeRule(SigType.MOMENTUM, _momentum, Entry.IOC),
)
"""The most specific type first. NaN makes a comparison false: an unknown number never makes a type."""


def type_of(crossing: Crossing) -> TypeRule:
    """The first rule that holds; the last one always does."""
    return next(rule for rule in TYPES if rule.holds(crossing))
