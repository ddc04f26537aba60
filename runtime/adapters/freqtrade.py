"""A mixin for a freqtrade-style strategy: stakes by the gate's size, and no entry that it does not allow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .offers import Offers

__all__ = ["ConfirmedEntries"]

_SIDES = {"long": 1, "short": -1}


class ConfirmedEntries:
    """Put it before ``IStrategy`` in the bases, and set ``offers`` in ``bot_start``.

    ::

        class Mine(ConfirmedEntries, IStrategy):
            symbols = {"ETH/USDT:USDT": "ETHUSDT"}

            def bot_start(self, **kwargs):
                gate = MetaFilter.load("releases/current", source=feature_window)
                self.offers = Offers(gate, time.time_ns)

    Anything that goes wrong refuses the entry.

    Attributes
    ----------
    symbols : pair of the engine -> symbol of the gate
    offers : None refuses every entry
    """

    symbols: Mapping[str, str] = {}
    offers: Offers | None = None

    def custom_stake_amount(
        self, pair: str, current_time: Any = None, current_rate: float = 0.0, proposed_stake: float = 0.0,
        min_stake: float | None = None, max_stake: float = 0.0, leverage: float = 1.0, entry_tag: str | None = None,
        side: str = "long", **kwargs: Any,
    ) -> float:  # fmt: skip
        """Stake in quote currency: the gate's notional over the leverage, at most ``max_stake``; 0 is no entry."""
        try:
            decision = self.offers.look(self.symbols[pair], _SIDES[side]) if self.offers else None
            if decision is None or not decision.allow or not leverage > 0:
                return 0.0
            stake = min(max_stake, decision.size / leverage)  # in this order: a NaN stays one, and is no stake
            return stake if stake > 0 and stake >= (min_stake or 0.0) else 0.0
        except Exception:  # a hook that raises would let the engine fall back on its own stake
            return 0.0

    def confirm_trade_entry(
        self, pair: str, order_type: str = "", amount: float = 0.0, rate: float = 0.0, time_in_force: str = "",
        current_time: Any = None, entry_tag: str | None = None, side: str = "long", **kwargs: Any,
    ) -> bool:  # fmt: skip
        """Whether this entry may be placed. A candidate is good for one."""
        try:
            decision = self.offers.take(self.symbols[pair], _SIDES[side]) if self.offers else None
            # The engine may have rounded up, or taken a stake of its own.
            return decision is not None and decision.allow and 0 < amount * rate <= decision.size * _ROUNDING
        except Exception:  # a hook that raises would let the engine place the order
            return False


_ROUNDING = 1.01
