"""Instrument facts and fee schedules in one table."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import InputError

__all__ = ["FEE_TIERS", "INSTRUMENTS", "SIMULATED_SYMBOL", "FeeTier", "Instrument", "fee_tier", "instrument"]

SIMULATED_SYMBOL = "ETHUSDT-SIM"
"""The symbol of every simulated tape, so that nothing made from it can pass for market data."""


@dataclass(frozen=True, slots=True)
class Instrument:
    """What an order on this symbol must respect."""

    venue: str
    symbol: str
    tick: float  # quote currency
    lot: float  # base units
    funding_interval_h: int  # 0: no funding
    inverse: bool = False

    @property
    def simulated(self) -> bool:
        """Whether the market itself is made up."""
        return self.venue == "simulated"


@dataclass(frozen=True, slots=True)
class FeeTier:
    """Fees of one leg in bps of its notional."""

    name: str
    maker_bps: float
    taker_bps: float


INSTRUMENTS = {
    (i.venue, i.symbol): i
    for i in (
        Instrument("binance_usdm", "ETHUSDT", 0.01, 0.001, 8),
        Instrument("binance_usdm", "BTCUSDT", 0.1, 0.001, 8),
        Instrument("binance_coinm", "ETHUSD_PERP", 0.01, 1.0, 8, inverse=True),
        Instrument("binance_spot", "ETHUSDT", 0.01, 0.0001, 0),
        Instrument("binance_spot", "NEXOUSDT", 0.001, 0.01, 0),
        Instrument("simulated", SIMULATED_SYMBOL, 0.01, 0.001, 8),
    )
}

FEE_TIERS = {
    "binance_usdm": (FeeTier("regular", 2.0, 5.0), FeeTier("vip9", 0.0, 1.7)),
    "binance_coinm": (FeeTier("regular", 2.0, 5.0), FeeTier("vip9", 0.0, 2.4)),
    "binance_spot": (FeeTier("regular", 10.0, 10.0), FeeTier("vip9", 1.1, 2.3)),
    "simulated": (FeeTier("regular", 2.0, 5.0), FeeTier("vip9", 0.0, 1.7)),
}
"""Regular first: it is the default. The simulated venue charges what Binance USD-M does."""


def instrument(venue: str, symbol: str) -> Instrument:
    """Facts of one symbol.

    Raises
    ------
    InputError
        When the symbol is not in the table.
    """
    found = INSTRUMENTS.get((venue, symbol))
    if found is None:
        known = ", ".join(f"{s} on {v}" for v, s in INSTRUMENTS)
        raise InputError(
            f"unknown symbol {symbol!r} on venue {venue!r}",
            f"one of: {known}",
            "Add its tick, lot and funding interval to feature_repo/instruments.py",
        )
    return found


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
