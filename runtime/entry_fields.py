"""One value of a user's entries file: what it may be, and what is wrong with it.

Values come as text from CSV and as int, float or str from Parquet. Each function returns the value, or raises
:class:`Fault` with the few words that follow the line number.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from feature_repo.constants import MS_NS, SECOND_NS

from .candidate import SigType, Tier

__all__ = [
    "COLUMNS",
    "REQUIRED",
    "Fault",
    "column_hint",
    "number_of",
    "shown",
    "side_of",
    "sig_type_of",
    "symbol_of",
    "tier_of",
    "time_of",
]

Value = int | float | str

REQUIRED = ("ts_ns", "side", "sig_type", "price")
COLUMNS = (*REQUIRED, "R_bps", "exp_reward_bps", "tier", "symbol")

_WORDS = {"buy": 1, "long": 1, "sell": -1, "short": -1}
_SIG_TYPES = {t.name.lower(): t for t in SigType}
_TIERS = {t.name: t for t in Tier}
_INTEGER = re.compile(r"[+-]?[0-9]{1,30}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_DATE = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?(.*)")
_UTC = ("", "Z", "+00", "+00:00", "+0000", " UTC", "UTC")
_MAX_NS = 2**62  # as the engine: later times are a broken clock

# Years 2001 to 2100: a time in another unit is told by its size, and no two units overlap.
_SINCE_S, _UNTIL_S = 10**9, 4_102_444_800
_UNITS = (("seconds", SECOND_NS), ("milliseconds", MS_NS), ("microseconds", 1_000))

_OTHER_NAMES = {
    "ts_ns": "ts t t_ns time time_ns timestamp timestamp_ns datetime date epoch epoch_ns entry_time t_entry",
    "side": "direction dir buy_sell action is_buy position signal_side",
    "sig_type": "type signal signal_type sigtype kind setup strategy",
    "price": "px entry entry_price entry_px limit limit_price level mid",
    "R_bps": "r risk risk_bps stop_bps",
    "exp_reward_bps": "reward reward_bps exp_reward expected_reward target target_bps tp_bps",
    "tier": "profile grade",
    "symbol": "ticker instrument contract pair market",
}
_MEANT = {other: name for name, others in _OTHER_NAMES.items() for other in others.split()}


class Fault(ValueError):
    """What is wrong with one value."""


def time_of(value: Value) -> int:
    """ns UTC: an integer, or in text also an ISO 8601 time in UTC."""
    if isinstance(value, str):
        value = _time_of_text(value)
    for unit, factor in _UNITS:
        if _SINCE_S * SECOND_NS // factor <= value <= _UNTIL_S * SECOND_NS // factor:
            raise Fault(f"ts_ns {value} looks like {unit}: multiply by {factor:,}")
    if not 0 < value < _MAX_NS:
        raise Fault(f"ts_ns {value} is no time in ns UTC")
    return int(value)


def _time_of_text(text: str) -> int:
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        raise Fault(f"ts_ns {shown(text)} is not an integer, and a float keeps a time only to 256 ns: write all digits")
    if not (found := _DATE.fullmatch(text)):
        raise Fault(f"ts_ns {shown(text)} is no time")
    day, clock, fraction, zone = found.groups()
    if zone not in _UTC:
        raise Fault(f"ts_ns {shown(text)} is not in UTC")
    try:
        whole = datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=UTC)
    except ValueError:
        raise Fault(f"ts_ns {shown(text)} is no time") from None
    return int(whole.timestamp()) * SECOND_NS + int((fraction or "").ljust(9, "0"))


def side_of(value: Value) -> int:
    """+1 buys, -1 sells."""
    word = value.lower() if isinstance(value, str) else value
    if word in _WORDS:
        return _WORDS[word]
    if not isinstance(word, str) or _NUMBER.fullmatch(word):
        number = float(word)
        if number in (1.0, -1.0):
            return int(number)
    raise Fault(f"side {shown(value)} is neither 1, buy, long nor -1, sell, short")


def sig_type_of(value: Value) -> SigType:
    """One of the five, in capitals or not."""
    if (text := str(value).lower()) in _SIG_TYPES:
        return _SIG_TYPES[text]
    near = difflib.get_close_matches(text, _SIG_TYPES, 1)
    why = f"is unknown ({near[0]}?)" if near else f"is none of {', '.join(_SIG_TYPES)}"
    raise Fault(f"sig_type {shown(value)} {why}")


def tier_of(value: Value) -> Tier:
    """A, B or C."""
    if (text := str(value).upper()) in _TIERS:
        return _TIERS[text]
    raise Fault(f"tier {shown(value)} is none of {', '.join(_TIERS)}")


def symbol_of(value: Value) -> str:
    """As it stands; whether it is the tape's is judged with the tape."""
    return str(value)


def number_of(name: str) -> Callable[[Value], float]:
    """A function that reads a positive, finite number of the column ``name``."""

    def read(value: Value) -> float:
        number = math.nan if isinstance(value, str) and not _NUMBER.fullmatch(value) else float(value)
        if not 0 < number < math.inf:
            raise Fault(f"{name} {shown(value)} is not a positive and finite number")
        return number

    return read


def column_hint(name: str, free: Iterable[str]) -> str:
    """The known column that an unknown one is probably meant to be, among those that the file lacks; or ''."""
    text, lacking = name.strip().lower(), {f.lower(): f for f in free}
    if (meant := _MEANT.get(text)) in lacking.values():
        return str(meant)
    near = difflib.get_close_matches(text, lacking, 1, cutoff=0.7)
    return lacking[near[0]] if near else ""


def shown(value: Value) -> str:
    """The value as a message shows it: text in quotes, and not more of it than a line takes."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:56]} ..."
