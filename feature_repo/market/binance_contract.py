"""Which contract messages of Binance are of: taken from those that tell it, and refused where it changes."""

from __future__ import annotations

from typing import NoReturn

from ..errors import InputError
from ..instruments import instrument
from .binance_kinds import is_coinm
from .checks import BadRow

__all__ = ["BinanceContract"]


class BinanceContract:
    """Venue and symbol of one recording.

    Depth, liquidations and mark prices are sure of the venue. Trades and tickers only hint at it, and give way.

    Attributes
    ----------
    venue, symbol : None until known
    sure : whether the venue is more than a guess
    """

    __slots__ = ("sure", "symbol", "venue")

    def __init__(self) -> None:
        self.venue: str | None = None
        self.symbol: str | None = None
        self.sure = False

    @property
    def futures(self) -> bool | None:
        """None while the venue is a guess."""
        return self.venue != "binance_spot" if self.sure else None

    def resume(self, venue: str, symbol: str, *, sure: bool) -> None:
        """Be the contract of an earlier one; InputError for one that the instrument table lacks."""
        instrument(venue, symbol)
        self.venue, self.symbol, self.sure = venue, symbol, sure

    def identify(self, symbol: str, futures: bool, *, sure: bool) -> None:
        """Take symbol and venue from the first messages that tell them; refuse any other.

        Raises
        ------
        BadRow
            For a symbol that is no text, or another one that the instrument table lacks.
        InputError
            For a second symbol of the table, or a contract that the table lacks.
        """
        if symbol != self.symbol:
            if type(symbol) is not str:
                raise BadRow("field 's' is no text")
            if self.symbol is not None:
                self._other_symbol(symbol)
            self.symbol = symbol
        if self.sure or (self.venue is not None and not sure):
            return
        self.sure = sure
        self.venue = ("binance_coinm" if is_coinm(symbol) else "binance_usdm") if futures else "binance_spot"
        if sure:
            instrument(self.venue, symbol)

    def same_market(self, futures: bool, kind: str) -> None:
        """BadRow for a message of futures in a spot recording, or the other way round."""
        if self.sure and futures != (self.venue != "binance_spot"):
            raise BadRow(f"{kind}: of {'futures in a spot' if futures else 'spot in a futures'} recording")

    def _other_symbol(self, symbol: str) -> NoReturn:
        """A contract that we know is a second one; anything else is taken for a damaged name."""
        try:
            instrument(self.venue or "", symbol)
        except InputError:
            raise BadRow("field 's' is another symbol") from None
        raise InputError(
            f"field 's' is {symbol!r} after {self.symbol!r}", "one symbol a recording", "Split it by symbol"
        )
