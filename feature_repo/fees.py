"""Fee schedules of the venues."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import InputError

__all__ = ["FEE_TIERS", "FeeTier", "fee_tier", "fee_tiers", "headline_tiers"]


@dataclass(frozen=True, slots=True)
class FeeTier:
    """Fees of one leg in bps of its notional; a negative maker fee is a rebate."""

    name: str
    maker_bps: float
    taker_bps: float


def _ladder(*steps: tuple[str, float, float]) -> tuple[FeeTier, ...]:
    return tuple(FeeTier(*step) for step in steps)


def _vip(*rates: tuple[float, float]) -> tuple[FeeTier, ...]:
    """Rates of the regular tier, VIP 1, VIP 2 and so on, (maker, taker) in bps."""
    return _ladder(*((f"vip{i}" if i else "regular", maker, taker) for i, (maker, taker) in enumerate(rates)))


# Published rates by volume. Rebate programmes for market makers and discounts for paying in the venue's own coin are
# left out. A venue may charge other rates by region.
_USDM = _vip(
    (2.0, 5.0),
    (1.6, 4.0),
    (1.4, 3.5),
    (1.2, 3.2),
    (1.0, 3.0),
    (0.8, 2.7),
    (0.6, 2.5),
    (0.4, 2.2),
    (0.2, 2.0),
    (0.0, 1.7),
)
_SUPREME = "supreme_vip"

FEE_TIERS = {
    # binance.com/en/fee/futureFee; NautilusTrader's Binance adapter (common/fees.rs) has the same ten.
    "binance_usdm": _USDM,
    # binance.com/en/fee, regular user and VIP 9 (2024). No source was found that agrees on the tiers between.
    "binance_coinm": _ladder(("regular", 2.0, 5.0), ("vip9", 0.0, 2.4)),
    "binance_spot": _ladder(("regular", 10.0, 10.0), ("vip9", 1.1, 2.3)),
    # Bybit help centre, "Trading Fee Structure" (VIP 0 is the regular user); linear and inverse alike.
    "bybit": (
        *_vip((2.0, 5.5), (1.8, 4.0), (1.6, 3.75), (1.4, 3.5), (1.2, 3.2), (1.0, 3.2)),
        FeeTier(_SUPREME, 0.0, 3.0),
    ),
    "bybit_spot": (
        *_vip((10.0, 10.0), (6.75, 8.0), (6.5, 7.75), (6.25, 7.5), (5.0, 6.0), (4.0, 5.0)),
        FeeTier(_SUPREME, 3.0, 4.5),
    ),
    # okx.com/fees: regular user Lv1 and VIP 8 (2024); USDT- and crypto-margined alike. No source for those between.
    "okx_swap": _ladder(("regular", 2.0, 5.0), ("vip8", -0.5, 1.5)),
    # okx.com/fees, spot: regular user Lv1, then VIP 1 to 8.
    "okx_spot": _vip(
        (8.0, 10.0), (6.0, 8.0), (5.0, 7.0), (3.0, 6.0), (2.0, 5.0), (0.0, 4.0), (-0.2, 3.0), (-0.5, 2.5), (-0.5, 2.0)
    ),
    # The simulated venue charges what Binance USD-M does.
    "simulated": _USDM,
}
"""Every known tier of a venue, dearest first: the regular user's is the default, the last one is the best."""


def fee_tiers(venue: str) -> tuple[FeeTier, ...]:
    """All known tiers of a venue, dearest first.

    Raises
    ------
    InputError
        When the venue's costs are not known: nothing can be judged without them.
    """
    try:
        return FEE_TIERS[venue]
    except KeyError:
        raise InputError(
            f"no fees are known for venue {venue!r}", f"one of: {', '.join(FEE_TIERS)}", "Give one of these venues"
        ) from None


def headline_tiers(venue: str) -> tuple[FeeTier, ...]:
    """The regular user's tier and the best one: what a report shows side by side.

    Raises
    ------
    InputError
        As ``fee_tiers``.
    """
    tiers = fee_tiers(venue)
    return tiers[0], tiers[-1]


def fee_tier(venue: str, name: str) -> FeeTier:
    """Fees of one named tier.

    Raises
    ------
    InputError
        When the venue has no tier of that name, or its costs are not known.
    """
    tiers = fee_tiers(venue)
    for tier in tiers:
        if tier.name == name:
            return tier
    raise InputError(
        f"unknown fee tier {name!r} on {venue}",
        f"one of: {', '.join(t.name for t in tiers)}",
        "Give one of these names",
    )
