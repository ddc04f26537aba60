"""Fee schedules of the venues."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import InputError

__all__ = ["FEE_TIERS", "FeeTier", "fee_tier"]


@dataclass(frozen=True, slots=True)
class FeeTier:
    """Fees of one leg in bps of its notional; a negative maker fee is a rebate."""

    name: str
    maker_bps: float
    taker_bps: float


# The base tier and the best public one. Rebate programmes for market makers and discounts for paying in the venue's
# own coin are left out. A venue may charge other rates by region.
FEE_TIERS = {
    # binance.com/en/fee, futures and spot: regular user and VIP 9 (2024).
    "binance_usdm": (FeeTier("regular", 2.0, 5.0), FeeTier("vip9", 0.0, 1.7)),
    "binance_coinm": (FeeTier("regular", 2.0, 5.0), FeeTier("vip9", 0.0, 2.4)),
    "binance_spot": (FeeTier("regular", 10.0, 10.0), FeeTier("vip9", 1.1, 2.3)),
    # Bybit help centre, "Trading fee structure": VIP 0 and Supreme VIP (2024); linear and inverse alike.
    "bybit": (FeeTier("regular", 2.0, 5.5), FeeTier("supreme_vip", 0.0, 3.0)),
    "bybit_spot": (FeeTier("regular", 10.0, 10.0), FeeTier("supreme_vip", 3.0, 4.5)),
    # okx.com/fees: regular user Lv1 and VIP 8 (2024); USDT- and crypto-margined alike.
    "okx_swap": (FeeTier("regular", 2.0, 5.0), FeeTier("vip8", -0.5, 1.5)),
    "okx_spot": (FeeTier("regular", 8.0, 10.0), FeeTier("vip8", -0.5, 2.0)),
    "simulated": (FeeTier("regular", 2.0, 5.0), FeeTier("vip9", 0.0, 1.7)),
}
"""Regular first: it is the default. The simulated venue charges what Binance USD-M does."""


def fee_tier(venue: str, name: str) -> FeeTier:
    """Fees of one named tier.

    Raises
    ------
    InputError
        When the venue has no tier of that name.
    """
    tiers = FEE_TIERS[venue]
    for tier in tiers:
        if tier.name == name:
            return tier
    raise InputError(
        f"unknown fee tier {name!r} on {venue}",
        f"one of: {', '.join(t.name for t in tiers)}",
        "Give one of these names",
    )
