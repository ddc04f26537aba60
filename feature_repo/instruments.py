"""Instrument facts in one table, and a person's own beside it.

Quantities of a tape, of its book and of orders on it are base units for a linear contract and whole contracts for an
inverse one. A linear contract that its venue counts in contracts (OKX) is converted by the reader, so that ``lot``
and ``min_notional`` hold for base units everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

from .errors import InputError
from .fees import FEE_TIERS, FeeTier, fee_tier
from .paths import data_root

__all__ = [
    "FEE_TIERS",
    "INSTRUMENTS",
    "SIMULATED_SYMBOL",
    "FeeTier",
    "Instrument",
    "fee_tier",
    "instrument",
    "known_instruments",
]

SIMULATED_SYMBOL = "ETHUSDT-SIM"
"""The symbol of every simulated tape, so that nothing made from it can pass for market data."""


@dataclass(frozen=True, slots=True)
class Instrument:
    """What an order on this symbol must respect.

    Attributes
    ----------
    tick : smallest step of a price, quote currency
    lot : smallest step of a quantity: base units, or contracts where ``inverse``
    funding_interval_h : hours between fundings as listed; 0 without funding
    inverse : margined and settled in the base coin, and counted in contracts of a fixed quote value
    contract_value : of one contract as the venue counts them. Linear: base units, by which a reader multiplies the
        venue's quantities (1: the venue counts base units itself). Inverse: quote currency
    min_notional : least value of an order, quote currency; 0 where the venue asks for no more than a lot
    """

    venue: str
    symbol: str
    tick: float
    lot: float
    funding_interval_h: int
    inverse: bool = False
    contract_value: float = 1.0
    min_notional: float = 0.0

    @property
    def simulated(self) -> bool:
        """Whether the market itself is made up."""
        return self.venue == "simulated"

    @property
    def face_value(self) -> float:
        """Quote value of one contract where a price does not change it (inverse), and 0 for a linear one.

        This is the number that compiled code takes: it says both which kind it is and how much a contract is worth.
        """
        return self.contract_value if self.inverse else 0.0

    def notional(self, price: float, quantity: float) -> float:
        """Value of a tape's quantity at a price, quote currency."""
        return quantity * self.contract_value if self.inverse else price * quantity


def _usdt(venue: str, symbol: str, tick: float, lot: float, least: float, *, contract: float = 1.0) -> Instrument:
    """A linear perpetual."""
    return Instrument(venue, symbol, tick, lot, 8, contract_value=contract, min_notional=least)


def _coin(venue: str, symbol: str, tick: float, face_usd: float) -> Instrument:
    """An inverse perpetual; its least order is one contract."""
    return Instrument(venue, symbol, tick, 1.0, 8, inverse=True, contract_value=face_usd)


def _spot(venue: str, symbol: str, tick: float, lot: float, least: float) -> Instrument:
    return Instrument(venue, symbol, tick, lot, 0, min_notional=least)


# Venues change ticks now and then. Where one was made coarser the finer one stands here, marked "finer": every older
# and newer price is a whole number of it. A rounded price would merge levels of the book.
INSTRUMENTS = {
    (i.venue, i.symbol): i
    for i in (
        # GET fapi.binance.com/fapi/v1/exchangeInfo: PRICE_FILTER, LOT_SIZE, MIN_NOTIONAL.
        _usdt("binance_usdm", "ETHUSDT", 0.01, 0.001, 20.0),
        _usdt("binance_usdm", "BTCUSDT", 0.1, 0.001, 100.0),
        _usdt("binance_usdm", "SOLUSDT", 0.001, 0.01, 5.0),  # finer: now 0.01
        # GET dapi.binance.com/dapi/v1/exchangeInfo: PRICE_FILTER, contractSize.
        _coin("binance_coinm", "ETHUSD_PERP", 0.01, 10.0),
        _coin("binance_coinm", "BTCUSD_PERP", 0.1, 100.0),
        # GET api.binance.com/api/v3/exchangeInfo.
        _spot("binance_spot", "ETHUSDT", 0.01, 0.0001, 5.0),
        _spot("binance_spot", "BTCUSDT", 0.01, 0.00001, 5.0),
        _spot("binance_spot", "SOLUSDT", 0.01, 0.001, 5.0),
        _spot("binance_spot", "NEXOUSDT", 0.001, 0.01, 5.0),
        # GET api.bybit.com/v5/market/instruments-info, category linear and inverse: tickSize, qtyStep,
        # minNotionalValue. An inverse contract is one dollar.
        _usdt("bybit", "ETHUSDT", 0.01, 0.01, 5.0),
        _usdt("bybit", "BTCUSDT", 0.1, 0.001, 5.0),
        _usdt("bybit", "SOLUSDT", 0.001, 0.1, 5.0),  # finer: now 0.01
        _coin("bybit", "ETHUSD", 0.01, 1.0),  # finer: 0.05 once
        _coin("bybit", "BTCUSD", 0.1, 1.0),  # finer: 0.5 once
        _spot("bybit_spot", "ETHUSDT", 0.01, 0.00001, 5.0),
        _spot("bybit_spot", "BTCUSDT", 0.01, 0.000001, 5.0),
        # GET okx.com/api/v5/public/instruments, instType SWAP and SPOT: tickSz, ctVal, and lot = lotSz x ctVal.
        _usdt("okx_swap", "ETH-USDT-SWAP", 0.01, 0.001, 0.0, contract=0.1),
        _usdt("okx_swap", "BTC-USDT-SWAP", 0.1, 0.0001, 0.0, contract=0.01),
        _usdt("okx_swap", "SOL-USDT-SWAP", 0.01, 0.01, 0.0, contract=1.0),
        _coin("okx_swap", "ETH-USD-SWAP", 0.01, 10.0),
        _coin("okx_swap", "BTC-USD-SWAP", 0.1, 100.0),
        _spot("okx_spot", "ETH-USDT", 0.01, 0.000001, 0.0),
        _spot("okx_spot", "BTC-USDT", 0.1, 0.00000001, 0.0),
        _usdt("simulated", SIMULATED_SYMBOL, 0.01, 0.001, 0.0),
    )
}


def known_instruments() -> dict[tuple[str, str], Instrument]:
    """The table and what ``instruments.json`` in the data folder adds to it, by (venue, symbol).

    Raises
    ------
    InputError
        When that file cannot be used; see `own_instruments`.
    """
    from .own_instruments import read_own

    return INSTRUMENTS | read_own(data_root(), INSTRUMENTS)


def instrument(venue: str, symbol: str) -> Instrument:
    """Facts of one symbol: of the table, or of ``instruments.json`` in the data folder.

    Raises
    ------
    InputError
        When the symbol is in neither, or that file cannot be used.
    """
    from .own_instruments import example_entry, own_path

    known = known_instruments()
    found = known.get((venue, symbol))
    if found is not None:
        return found
    got = f"unknown symbol {symbol!r} on venue {venue!r}"
    if venue not in FEE_TIERS:
        raise InputError(got, f"a venue of {', '.join(FEE_TIERS)}", "Give one of these venues")
    do = f"Look up its facts and add them to the list in {own_path(data_root())}, as in {example_entry(venue, symbol)}"
    if venue == "simulated":
        do = "Give this symbol: there is one simulated market"
    raise InputError(got, f"one of: {', '.join(s for v, s in known if v == venue)}", do)
