"""The saved state of a signal detector: what it was made with, what it remembers, and a check that both are whole."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np

from feature_repo.constants import SIGNAL
from feature_repo.errors import InputError

from .profiles import PROFILES

__all__ = ["pack", "unpack"]

_LAYOUT = 1  # goes up when the meaning of a name changes
_DO = "Load it into a detector of the same symbol, settings and version, or start afresh"


def _settings(tick: float) -> np.ndarray:
    """What the remembered states mean: the thresholds they were judged by, and the tick of the prices."""
    pairs = [z for name in "ABC" for z in (PROFILES[name].ofi_z_min, PROFILES[name].cvd_z_min)]
    return np.array([_LAYOUT, tick, SIGNAL.level_bar_s, SIGNAL.level_bars, *pairs])


def _checksum(state: Mapping[str, np.ndarray]) -> np.ndarray:
    """CRC-32 over the names and bytes of all arrays but itself."""
    crc = 0
    for name in sorted(state):
        if name != "signals_crc":
            crc = zlib.crc32(np.ascontiguousarray(state[name]).tobytes(), zlib.crc32(name.encode(), crc))
    return np.array(crc, np.int64)


def pack(own: Mapping[str, np.ndarray], symbol: str, tick: float) -> dict[str, np.ndarray]:
    """What the machines remember, with its owner and a checksum.

    Parameters
    ----------
    own : plain arrays by name
    tick : quote currency
    """
    state = {**own, "signals_symbol": np.array(symbol), "signals_settings": _settings(tick)}
    return state | {"signals_crc": _checksum(state)}


def unpack(state: Mapping[str, np.ndarray], mine: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of a saved state, checked.

    Parameters
    ----------
    state : what :func:`pack` gave, perhaps through a file, perhaps with other names beside
    mine : what it gives for the detector that is to go on from it

    Raises
    ------
    InputError
        When an array is missing, of another shape or type, or changed, or it was saved for another symbol, tick or
        thresholds.
    """
    theirs = {}
    for name, expected in mine.items():
        value = state.get(name)
        if value is None:
            raise InputError(f"saved signal state has no {name!r}", ", ".join(mine), _DO)
        value = theirs[name] = np.asarray(value)
        if name == "signals_symbol":
            same = value.ndim == 0 and value.dtype.kind == "U"  # the length is the symbol's own
        else:
            same = (value.dtype, value.shape) == (expected.dtype, expected.shape)
        if not same:
            got = f"saved signal state has {value.dtype.name} {value.shape} for {name!r}"
            raise InputError(got, f"{expected.dtype.name} {expected.shape}", _DO)
    if theirs["signals_crc"] != _checksum(theirs):
        raise InputError("saved signal state was changed after it was saved", "the checksum to match", _DO)
    for name in ("signals_symbol", "signals_settings"):
        if not np.array_equal(theirs[name], mine[name]):
            raise InputError(f"saved signal state has {name} = {theirs[name]}", str(mine[name]), _DO)
    return theirs
