"""The 100 ms feature engine of one symbol: the kernel and its state."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .constants import ENGINE, EngineDefaults
from .errors import InputError
from .events import EVENT_DTYPE
from .instruments import Instrument
from .kernel import process_holding, process_releasing
from .state import BREAKS, REJECTIONS, allocate

__all__ = ["Engine"]


class Engine:
    """The kernel and its state for one symbol.

    Parameters
    ----------
    instrument : tick, lot, kind and value of a contract
    config : windows and memories
    """

    def __init__(self, instrument: Instrument, config: EngineDefaults = ENGINE) -> None:
        self.instrument, self.config = instrument, config
        self.state = allocate(instrument, config)
        self._arrays = (self.state.scalars.view(np.uint8), self.state.floats, self.state.ints)

    def process(
        self, events: np.ndarray, rows: np.ndarray, market: np.ndarray, quotes: np.ndarray, *, now_ns: int = 0
    ) -> tuple[int, int, int]:
        """Apply EVENT_DTYPE [n] in order, then close the windows with t_k <= now_ns; write what closes and changes.

        Other threads run meanwhile.

        Returns
        -------
        used, rows written to ``rows`` float32 [r, 24] and ``market`` MARKET_DTYPE [r], and quotes written to ``quotes``
        QUOTE_DTYPE [q]. ``used < n``, or rows == r, when room ran out (``q >= 2`` is needed at all): call again with
        the rest.
        """
        return process_releasing(
            *self._arrays, _bytes(events), now_ns, rows, market.view(np.uint8), quotes.view(np.uint8)
        )

    def stepper(
        self, rows: np.ndarray, market: np.ndarray, quotes: np.ndarray
    ) -> Callable[[np.ndarray, int], tuple[int, int, int]]:
        """``process`` for one event at a time and always the same room: takes its 64 bytes, and ``now_ns``.

        Other threads do not run meanwhile.
        """
        fixed, room = self._arrays, (rows, market.view(np.uint8), quotes.view(np.uint8))

        def step(event: np.ndarray, now_ns: int) -> tuple[int, int, int]:
            return process_holding(*fixed, event, now_ns, *room)

        return step

    @property
    def rejected(self) -> dict[str, int]:
        """Events that were not applied, by reason; only reasons that occurred."""
        return self._counts("o_rej", REJECTIONS)

    @property
    def breaks(self) -> dict[str, int]:
        """How often a good book ceased to be good, by reason; only reasons that occurred."""
        return self._counts("o_brk", BREAKS)

    def _counts(self, offset: str, names: tuple[str, ...]) -> dict[str, int]:
        at = int(self.state.scalars[offset][0])
        counts = self.state.ints[at : at + len(names)]
        return {name: int(count) for name, count in zip(names, counts, strict=True) if count}


def _bytes(events: np.ndarray) -> np.ndarray:
    """Read-only uint8 view: to numba, arrays that can be written are a signature of their own; compile one only."""
    if events.dtype != EVENT_DTYPE or events.ndim != 1:
        got = f"events of {events.dtype.name} {events.shape}"
        raise InputError(got, "EVENT_DTYPE [n]", "Build the rows with events.EVENT_DTYPE")
    view = np.ascontiguousarray(events).view(np.uint8)
    view.flags.writeable = False
    return view
