"""What a live process knows, on disk: a restart goes on from it instead of learning the market for hours again."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from feature_repo.errors import InputError
from feature_repo.fields import CATALOGUE_HASH
from feature_repo.market.binance import BinanceParser, Progress
from feature_repo.market.clock import ClockOffset
from feature_repo.market.sequence import BookState
from feature_repo.paths import atomic_path
from feature_repo.window import FeatureWindow

from ..signals import SignalDetector

__all__ = ["Saved", "load_state", "pack_state", "save_state"]

_LAYOUT = 1
_TRADES = (None, "trade", "aggTrade")
_DO = "Move it away to start afresh"


class Saved(NamedTuple):
    """A state as it was read.

    Attributes
    ----------
    local_ns : uncorrected local time of the last message in it
    clock : settled
    venue, symbol, parser : whose it is, and where the parser was
    """

    local_ns: int
    clock: ClockOffset
    venue: str
    symbol: str
    parser: Progress


def pack_state(
    window: FeatureWindow, detector: SignalDetector, clock: ClockOffset, parser: BinanceParser
) -> dict[str, np.ndarray] | None:
    """Copies of everything, to be written in another thread.

    Returns
    -------
    None at a moment that nothing can go on from: before the clock has settled, or between a snapshot and its first
    diff.
    """
    at = parser.progress()
    if not clock.settled or at.book is BookState.FRESH or not (parser.venue and parser.symbol):
        return None
    futures = -1 if at.futures is None else int(at.futures)
    place = [at.local_ns, at.exch_ns, futures, at.book, at.book_id, at.book_exch_ns]
    return {
        **window.state_dict(),
        **detector.state_dict(),
        "live": np.array(
            [_LAYOUT, clock.min_delay_ns or 0, clock.samples, *place, _TRADES.index(at.trade_kind), at.trade_id],
            np.int64,
        ),
        "names": np.array([CATALOGUE_HASH, parser.venue, parser.symbol]),
    }


def save_state(path: Path, state: dict[str, np.ndarray]) -> None:
    """Write it whole or not at all, without pickle."""
    with atomic_path(path) as beside, open(beside, "wb") as file:
        np.savez(file, allow_pickle=False, **state)


def load_state(path: Path, window: FeatureWindow, detector: SignalDetector, *, not_before_ns: int = 0) -> Saved:
    """Go on from a saved state.

    Parameters
    ----------
    not_before_ns : local time; an older state is refused, as most of it has left the engine's memories

    Raises
    ------
    InputError
        When it is damaged, too old, or of another symbol, version or T; nothing is changed then.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            state = {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, KeyError) as e:
        raise InputError(f"{path}: not readable as a saved state ({e})", "a file that ofi-meta live wrote", _DO) from e
    live, names = state.get("live"), state.get("names")
    if (
        live is None
        or names is None
        or (live.shape, live.dtype, names.shape, names.dtype.kind) != ((11,), np.int64, (3,), "U")
        or live[0] != _LAYOUT
    ):
        raise InputError(f"{path}: a saved state of another version", f"layout {_LAYOUT}", _DO)
    if live[3] < not_before_ns:
        raise InputError(
            f"{path}: a saved state that is {(not_before_ns - live[3]) / 60e9:,.0f} minutes too old",
            "one of the hour before",
            _DO,
        )
    catalogue, venue, symbol = map(str, names)
    if catalogue != CATALOGUE_HASH:
        raise InputError(f"{path}: saved with the field catalogue {catalogue[:12]}", CATALOGUE_HASH[:12], _DO)
    try:
        # First into one that nobody needs: what is refused half-way has changed nothing.
        FeatureWindow(T=window.T, instrument=window.instrument).load_state_dict(state)
        detector.load_state_dict(state)
        window.load_state_dict(state)
    except InputError as e:
        raise InputError(f"{path}: {e.got}", e.accepts, _DO) from e
    clock = ClockOffset()
    _, clock.min_delay_ns, clock.samples, *place, trades, trade_id = live.tolist()
    clock.settled = True
    local_ns, exch_ns, futures, book, *ids = place
    at = Progress(
        local_ns, exch_ns, None if futures < 0 else bool(futures), BookState(book), *ids, _TRADES[trades], trade_id
    )
    return Saved(local_ns, clock, venue, symbol, at)
