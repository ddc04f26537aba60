"""An engine fed in pieces, with all that it wrote."""

from __future__ import annotations

import hashlib

import numpy as np

from feature_repo.constants import EngineDefaults
from feature_repo.engine import Engine
from feature_repo.events import EVENT_DTYPE
from feature_repo.fields import MARKET_DTYPE
from feature_repo.instruments import Instrument
from feature_repo.table import QUOTE_DTYPE

from .streams import ETH, IMPATIENT

__all__ = ["NOTHING", "Run", "hashed", "one_call", "state_bits"]

NOTHING = np.zeros(0, EVENT_DTYPE)
_MOST_ROWS = 2_000_000


class Run:
    """Rows, market rows and quotes of one engine, whatever the cut of its events.

    Parameters
    ----------
    state : saved by ``Engine.state.state_dict``, to go on from
    """

    def __init__(
        self, instrument: Instrument = ETH, config: EngineDefaults = IMPATIENT, *, state: dict | None = None
    ) -> None:
        self.engine = Engine(instrument, config)
        if state is not None:
            self.engine.state.load_state_dict(state)
        self._rows, self._market, self._quotes = [], [], []
        self._closed = 0

    def feed(self, events: np.ndarray, *, room: int = 64, now_ns: int = 0) -> Run:
        """Take in events, and close the windows up to ``now_ns``, with this much room for what comes of it."""
        X, market, quotes = np.zeros((room, 24), np.float32), np.zeros(room, MARKET_DTYPE), np.zeros(room, QUOTE_DTYPE)
        used, closed, quoted = 0, room, 0
        while used < len(events) or closed == room or (now_ns and quoted + 2 > room):
            taken, closed, quoted = self.engine.process(events[used:], X, market, quotes, now_ns=now_ns)
            used += taken
            self._keep(X[:closed], market[:closed], quotes[:quoted])
            self._closed += closed
            assert self._closed < _MOST_ROWS, "the engine's clock has run away"
        return self

    def feed_one_by_one(self, events: np.ndarray) -> Run:
        X, market, quotes = np.zeros((64, 24), np.float32), np.zeros(64, MARKET_DTYPE), np.zeros(64, QUOTE_DTYPE)
        process = self.engine.process
        for i in range(len(events)):
            taken = 0
            while not taken:
                taken, closed, quoted = process(events[i : i + 1], X, market, quotes)
                if closed or quoted:
                    self._keep(X[:closed], market[:closed], quotes[:quoted])
        return self

    def _keep(self, X: np.ndarray, market: np.ndarray, quotes: np.ndarray) -> None:
        self._rows.append(X.copy())
        self._market.append(market.copy())
        self._quotes.append(quotes.copy())

    @property
    def rows(self) -> np.ndarray:
        return np.concatenate([np.zeros((0, 24), np.float32), *self._rows])

    @property
    def market(self) -> np.ndarray:
        return np.concatenate([np.zeros(0, MARKET_DTYPE), *self._market])

    @property
    def quotes(self) -> np.ndarray:
        return np.concatenate([np.zeros(0, QUOTE_DTYPE), *self._quotes])

    def forget(self) -> Run:
        """Go on with nothing written so far."""
        self._rows, self._market, self._quotes = [], [], []
        return self

    def bits(self) -> tuple[bytes, bytes, bytes]:
        return self.rows.tobytes(), self.market.tobytes(), self.quotes.tobytes()

    def bits_until(self, t: int) -> tuple[bytes, bytes, bytes]:
        """Of the rows with t_k <= t and the quotes before t."""
        n = int((self.market["t_ns"] <= t).sum())
        return (
            self.rows[:n].tobytes(),
            self.market[:n].tobytes(),
            self.quotes[self.quotes["local_ts"] < t].tobytes(),
        )


def one_call(run: Run, events: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Everything in a single call of the kernel: rows, market rows, quotes."""
    begun = int(run.engine.state.scalars["t_next"][0]) or int(events["local_ts"][0])
    windows = (int(events["local_ts"].max()) - begun) // 100_000_000 + 2
    X, market = np.zeros((windows, 24), np.float32), np.zeros(windows, MARKET_DTYPE)
    quotes = np.empty(2 * len(events) + 4, QUOTE_DTYPE)
    used, closed, quoted = run.engine.process(events, X, market, quotes)
    assert used == len(events)
    return X[:closed], market[:closed], quotes[:quoted]


def state_bits(run: Run) -> dict[str, bytes]:
    """The engine's whole memory."""
    return {name: values.tobytes() for name, values in run.engine.state.state_dict().items()}


def hashed(parts: tuple[np.ndarray, ...]) -> tuple[str, ...]:
    """One digest for each array."""
    return tuple(hashlib.blake2b(np.ascontiguousarray(part)).hexdigest() for part in parts)
