"""When to stop believing a release: its trades of the UTC day, one after the other.

Two limits. **drawdown**: the day's result lies more than 6 % of the stated equity below its peak of the day, which
begins at zero. **negative_day**: mean / deviation of the day's net bps is below zero, asked from the 30th trade on, and
when the day is over with fewer (two at least; equal losses count as negative).

What is told may be wrong, and then the worse reading holds:

- **bad_record**: a number that is not finite, no positive notional, a result larger than the notional, a time that is
  no time or lies more than a day ahead. Such a record counts for nothing, and trips at once.
- The same record again, to the nanosecond: a loss counts again, a gain does not.
- A record of a day that is over: a loss counts for today, a gain does not.
- Within a day, trades count in the order in which they are told.

Sums are exact, so that the same trades trip at the same place whatever came before them.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, NamedTuple

from feature_repo.constants import JUDGE, ORDER, SECOND_NS
from feature_repo.errors import InputError

__all__ = ["DAY_NS", "MAX_DRAWDOWN_PCT", "MIN_TRADES", "AccountWatch", "Trade"]

DAY_NS = 86_400 * SECOND_NS
MAX_DRAWDOWN_PCT = 6.0
MIN_TRADES = 30
"""From so many trades on the day's IR is asked after each."""
_MAX_NS = 2**62


class Trade(NamedTuple):
    """A closed trade: when it ended, what it earned after all costs, and what was at stake, both in quote currency."""

    t_ns: int
    net_usd: float
    notional_usd: float


class AccountWatch:
    """Update with each closed trade; it says when the release has to go.

    After a restart of the process, update it with the trades that the day had so far.

    Parameters
    ----------
    equity_usd : what 6 % are of; by default ten base sizes
    max_drawdown_pct : of that, more than which trips
    min_trades : from which the IR is asked during the day

    Raises
    ------
    InputError
        When one of them makes no sense.
    """

    def __init__(
        self,
        *,
        equity_usd: float = JUDGE.equity_multiple * ORDER.base_size_usd,
        max_drawdown_pct: float = MAX_DRAWDOWN_PCT,
        min_trades: int = MIN_TRADES,
    ) -> None:
        for name, value in (("equity_usd", equity_usd), ("max_drawdown_pct", max_drawdown_pct)):
            if not 0 < value < math.inf:
                raise InputError(f"{name} = {value}", "a positive number", f"Correct {name}")
        if not isinstance(min_trades, int) or min_trades < 2:
            raise InputError(f"min_trades = {min_trades}", "a whole number from 2 on", "Correct min_trades")
        self.equity_usd, self.max_drawdown_pct, self.min_trades = float(equity_usd), float(max_drawdown_pct), min_trades
        self._most_usd = Fraction(self.equity_usd) * Fraction(self.max_drawdown_pct) / 100
        self.day: int | None = None
        """Days since 1970-01-01 of the day that is watched; None before the first trade."""
        self._told: set[Trade] = set()
        self.restart()

    @property
    def trades(self) -> int:
        """Of the day, since the last restart."""
        return self._n

    @property
    def net_usd(self) -> float:
        """The day's result, quote currency."""
        return float(self._net)

    @property
    def drawdown_pct(self) -> float:
        """How far below the day's peak, % of the stated equity."""
        return float((self._peak - self._net) / Fraction(self.equity_usd) * 100)

    @property
    def ir(self) -> float:
        """Mean / deviation (ddof 1) of the day's net bps; NaN below two trades or where all are equal."""
        if self._n < 2:
            return math.nan
        mean = self._bps / self._n
        variance = (self._squares - self._n * mean * mean) / (self._n - 1)
        return float(mean) / math.sqrt(float(variance)) if variance > 0 else math.nan

    def update(self, t_ns: int, net_usd: float, notional_usd: float, *, asked_ns: int | None = None) -> str | None:
        """Take a closed trade.

        Parameters
        ----------
        t_ns : when it ended, ns UTC
        net_usd : after all costs, quote currency
        notional_usd : quote currency
        asked_ns : the newest time known, to tell a wrong clock by

        Returns
        -------
        str or None
            "drawdown", "negative_day" or "bad_record" as long as that is so, "drawdown" first.
        """
        if not _is_sound(t_ns, net_usd, notional_usd):
            return "bad_record"
        trade = Trade(int(t_ns), float(net_usd), float(notional_usd))
        if asked_ns is not None and trade.t_ns - asked_ns > DAY_NS:
            return "bad_record"
        over, day = self.at(trade.t_ns), trade.t_ns // DAY_NS
        gone = self.day is not None and day < self.day
        if trade.net_usd >= 0 and (gone or trade in self._told):
            return over or self._judge()
        if self.day is None:
            self.day = day
        self._told.add(trade)
        # Rounded once: sums of binary fractions stay short, those of quotients would not.
        net, bps = Fraction(trade.net_usd), Fraction(trade.net_usd / trade.notional_usd * 1e4)
        self._n += 1
        self._net += net
        self._peak = max(self._peak, self._net)
        self._bps += bps
        self._squares += bps * bps
        return over or self._judge()

    def at(self, now_ns: int) -> str | None:
        """The time goes on. When the watched day is over it is judged once, and the next one begins.

        Returns
        -------
        str or None
            "negative_day" where it ended with a negative IR.
        """
        day = now_ns // DAY_NS
        if self.day is None or day <= self.day:
            return None
        negative = self._n >= 2 and self._bps < 0
        self.day = day
        self._told.clear()
        self.restart()
        return "negative_day" if negative else None

    def restart(self) -> None:
        """Another release serves: nothing of the day so far counts for it."""
        self._n = 0
        self._net = self._peak = self._bps = self._squares = Fraction(0)

    def _judge(self) -> str | None:
        if self._peak - self._net > self._most_usd:
            return "drawdown"
        return "negative_day" if self._n >= self.min_trades and self._bps < 0 else None


def _is_sound(t_ns: Any, net_usd: Any, notional_usd: Any) -> bool:
    try:
        if isinstance(t_ns, bool) or int(t_ns) != t_ns or not 0 <= t_ns < _MAX_NS:
            return False
        net, notional = float(net_usd), float(notional_usd)
    except (TypeError, ValueError, OverflowError):
        return False
    return 0 < notional < math.inf and abs(net) <= notional
