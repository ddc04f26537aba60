"""For a nautilus_trader-style strategy: how much of an order may be submitted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .offers import Offers

__all__ = ["ConfirmedOrders"]

_SIDES = {"BUY": 1, "SELL": -1}


class ConfirmedOrders:
    """Ask before ``submit_order``.

    ::

        class Mine(Strategy):
            def on_start(self):
                gate = MetaFilter.load("releases/current", source=feature_window)
                offers = Offers(gate, self.clock.timestamp_ns)
                self.confirmed = ConfirmedOrders(offers, {"ETHUSDT-PERP.BINANCE": "ETHUSDT"})

            def enter(self, instrument, side, price):
                notional = self.confirmed.notional(instrument.id, side)
                if notional > 0:
                    quantity = instrument.make_qty(notional / float(price))
                    self.submit_order(self.order_factory.market(instrument.id, side, quantity))

    Parameters
    ----------
    offers : where candidates wait
    symbols : instrument id of the engine, as text -> symbol of the gate
    """

    def __init__(self, offers: Offers, symbols: Mapping[str, str]) -> None:
        self.offers, self._symbols = offers, dict(symbols)

    def notional(self, instrument_id: Any, side: Any) -> float:
        """Quote currency that may be ordered now; 0 is no entry. A candidate is good for one.

        Parameters
        ----------
        instrument_id : its text is looked up in ``symbols``
        side : an ``OrderSide``, or "BUY" or "SELL"
        """
        try:
            decision = self.offers.take(self._symbols[str(instrument_id)], _SIDES[getattr(side, "name", side)])
            return decision.size if decision is not None and decision.allow else 0.0
        except Exception:  # whatever it is, it is no reason to place an order
            return 0.0
