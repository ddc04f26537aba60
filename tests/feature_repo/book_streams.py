"""Hard streams for the book: far levels, jumps of the price, clears, huge and tiny books, on any tick."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from feature_repo.events import BUY, DEPTH, DEPTH_CLEAR, DEPTH_SNAPSHOT, EVENT_DTYPE, GAP, SELL, TRADE
from feature_repo.instruments import Instrument

from .streams import START_NS

__all__ = ["STYLES", "TICKS", "BookStream", "book_instrument", "book_stream"]

TICKS = (0.01, 0.1, 1.0, 0.05, 0.5, 5.0, 2.5, 0.25, 0.0005, 1e-7, 1e-8, 10.0)


def book_instrument(tick: float, *, inverse: bool = False) -> Instrument:
    """A made-up contract whose base order of 10,000 walks a few levels of these streams, whatever the tick."""
    return Instrument("test", "TEST", tick, 0.001, 0, inverse=inverse, contract_value=10.0 if inverse else 1.0)


class BookStream:
    """Writes messages and remembers which levels it has set, so that most of them leave a good book.

    Parameters
    ----------
    middle : ticks; bids lie below it, asks above
    """

    def __init__(self, seed: int, instrument: Instrument, middle: int = 300_000) -> None:
        self.rng, self.instrument, self.middle = np.random.default_rng(seed), instrument, middle
        self.rows: list[tuple] = []
        self.set: dict[int, set[int]] = {BUY: set(), SELL: set()}
        self.local = START_NS
        # A level is worth about 2,000, so that an order of 10,000 takes a few.
        price = middle * instrument.tick
        self.size = 200.0 if instrument.inverse else 2_000.0 / price

    def step(self, ns: int) -> None:
        self.local += ns

    def put(self, kind: int, ticks: int, qty: float) -> None:
        px = float(np.float64(ticks) * self.instrument.tick)
        self.rows.append((kind, self.local - 5_000_000, self.local, px, qty, 0, 0, 0.0))

    def level(self, side: int, ticks: int, *, kind: int = DEPTH, gone: bool = False) -> None:
        """Set one level to a random size, or take it out."""
        held = self.set[side]
        held.discard(ticks) if gone else held.add(ticks)
        self.put(kind | side, ticks, 0.0 if gone else self.size * float(self.rng.exponential()) + 1e-6 * self.size)

    def snapshot(self, levels: int, far: Callable[[], int]) -> None:
        """Both sides anew: ``levels`` levels, each as far from the middle as ``far`` draws."""
        for side in (BUY, SELL):
            self.put(DEPTH_CLEAR | side, 0, 0.0)
            self.set[side].clear()
        for side, sign in ((BUY, -1), (SELL, 1)):
            for _ in range(levels):
                self.level(side, self._place(sign * far()), kind=DEPTH_SNAPSHOT)

    def _place(self, offset: int) -> int:
        return max(self.middle + offset, 1)

    def move_to(self, middle: int, *, clear: bool) -> None:
        """The price jumps: what stands in the way goes within the same message, row by row or by a priced clear."""
        middle = max(middle, 10)
        side, up = (SELL, True) if middle > self.middle else (BUY, False)
        if clear:
            self.put(DEPTH_CLEAR | side, middle, 0.0)
            self.set[side] = {p for p in self.set[side] if (p > middle if up else p < middle)}
        else:
            for ticks in sorted(self.set[side]):
                if ticks <= middle if up else ticks >= middle:
                    self.level(side, ticks, gone=True)
        self.middle = middle
        for which, sign in ((BUY, -1), (SELL, 1)):
            self.level(which, self._place(sign * int(self.rng.integers(1, 4))))

    def near(self) -> int:
        return int(self.rng.integers(1, 30))

    def far(self) -> int:
        """From one tick to many times the price: every order of magnitude alike."""
        return int(10.0 ** self.rng.uniform(0.0, np.log10(4.0 * self.middle)))

    def update(self, far: Callable[[], int], rows: int) -> None:
        """Some levels change, appear or go; a level to go is one that is there, often the best."""
        for _ in range(rows):
            side, sign = (BUY, -1) if self.rng.random() < 0.5 else (SELL, 1)
            held = self.set[side]
            if len(held) > 2 and self.rng.random() < 0.45:
                best = max(held) if side == BUY else min(held)
                self.level(side, best if self.rng.random() < 0.4 else int(self.rng.choice(list(held))), gone=True)
            else:
                self.level(side, self._place(sign * far()))

    def events(self) -> np.ndarray:
        """EVENT_DTYPE [n]; the last event closes every window before it."""
        self.step(200_000_000)
        self.put(TRADE | BUY, self.middle, 1.0)
        return np.array(self.rows, EVENT_DTYPE)


def _calm(stream: BookStream) -> None:
    stream.update(stream.near, int(stream.rng.integers(1, 6)))


def _far_levels(stream: BookStream) -> None:
    stream.update(stream.far, int(stream.rng.integers(1, 12)))


def _jumps(stream: BookStream) -> None:
    draw = stream.rng.random()
    if draw < 0.1:
        share = stream.rng.choice([0.5, 2.0, 1.5, 1 / 1.5, 1.02, 0.98, 1.2, 0.1])
        stream.move_to(int(stream.middle * share), clear=bool(stream.rng.random() < 0.5))
    elif draw < 0.4:
        stream.move_to(stream.middle + int(stream.rng.integers(-60, 61)), clear=False)
    else:
        stream.update(stream.far if draw < 0.5 else stream.near, 3)


def _clears(stream: BookStream) -> None:
    """Through the best levels, through nearly all, and of a whole side."""
    if stream.rng.random() < 0.2:
        side, sign = (BUY, -1) if stream.rng.random() < 0.5 else (SELL, 1)
        ticks = stream._place(sign * (stream.near() if stream.rng.random() < 0.6 else stream.far()))
        stream.put(DEPTH_CLEAR | side, ticks, 0.0)
        stream.set[side] = {p for p in stream.set[side] if (p < ticks if side == BUY else p > ticks)}
        if stream.rng.random() < 0.8:
            stream.level(side, stream._place(sign * stream.near()))
    elif stream.rng.random() < 0.02:
        stream.put(DEPTH_CLEAR, 0, 0.0)
        stream.set = {BUY: set(), SELL: set()}
    else:
        stream.update(stream.far if stream.rng.random() < 0.3 else stream.near, 3)


def _huge_and_tiny(stream: BookStream) -> None:
    draw = stream.rng.random()
    if draw < 0.01:
        stream.snapshot(3_000, lambda: int(stream.rng.integers(1, 12_000)))
    elif draw < 0.05:
        stream.snapshot(int(stream.rng.integers(1, 4)), stream.near)
    elif draw < 0.06:
        stream.put(GAP, 0, 0.0)
        stream.snapshot(20, stream.far)
    else:
        stream.update(stream.near, 4)


def _walk_away(stream: BookStream) -> None:
    """A trend of tens of thousands of ticks: what was near becomes far, and far levels of long ago become the best."""
    stream.move_to(stream.middle + int(stream.rng.integers(-200, 500)), clear=False)
    stream.update(stream.far if stream.rng.random() < 0.1 else stream.near, 2)
    if stream.rng.random() < 0.01:
        stream.move_to(stream.middle - 20_000, clear=True)


STYLES: dict[str, Callable[[BookStream], None]] = {
    "calm": _calm,
    "far levels": _far_levels,
    "jumps": _jumps,
    "clears": _clears,
    "huge and tiny": _huge_and_tiny,
    "walk away": _walk_away,
}


def book_stream(style: str, seed: int, instrument: Instrument, *, messages: int = 400) -> np.ndarray:
    """A stream of one style; EVENT_DTYPE [n]."""
    stream = BookStream(seed, instrument)
    stream.snapshot(int(stream.rng.integers(5, 60)), stream.near)
    for _ in range(messages):
        stream.step(int(stream.rng.exponential(30e6)) if stream.rng.random() < 0.9 else 0)
        STYLES[style](stream)
    return stream.events()
