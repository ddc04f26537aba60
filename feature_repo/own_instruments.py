"""A person's own instruments: ``instruments.json`` in the data folder, a list of objects.

::

    [{"venue": "bybit", "symbol": "XRPUSDT", "tick": 0.0001, "lot": 0.1, "funding_interval_h": 8}]

The fields are those of :class:`~feature_repo.instruments.Instrument`; the first five must be there. An entry adds a
symbol to a venue whose fees are known. It may repeat the table's facts, but not contradict them: nothing is ever
overridden.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from functools import cache
from pathlib import Path
from typing import Any

from .errors import InputError
from .fees import FEE_TIERS
from .instruments import Instrument

__all__ = ["example_entry", "own_path", "read_own"]

_FILE_NAME = "instruments.json"

_VENUES = tuple(venue for venue in FEE_TIERS if venue != "simulated")
_KINDS = {"binance_coinm": (True,), "bybit": (False, True), "okx_swap": (False, True)}
"""Which contracts a venue lists, by ``inverse``; linear or spot where it is not named."""
_REQUIRED = tuple(f.name for f in fields(Instrument) if f.default is MISSING)
_NAMES = tuple(f.name for f in fields(Instrument))
_LARGEST = 1e15
_SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9_-]*")  # it names a folder, too


def own_path(root: Path) -> Path:
    """The file below the data folder ``root``."""
    return root / _FILE_NAME


def example_entry(venue: str, symbol: str) -> str:
    """A line of the file for this symbol, with made-up numbers in a right form."""
    (inverse, *_) = _KINDS.get(venue, (False,))
    spot = venue.endswith("_spot")
    entry = {"venue": venue, "symbol": symbol, "tick": 0.01, "lot": 1 if inverse else 0.001}
    entry |= {"funding_interval_h": 0 if spot else 8}
    if inverse:
        entry |= {"inverse": True, "contract_value": 10}
    elif venue == "okx_swap":
        entry |= {"contract_value": 0.1}
    return json.dumps(entry)


def read_own(root: Path, table: Mapping[tuple[str, str], Instrument]) -> dict[tuple[str, str], Instrument]:
    """The instruments that the file adds, by (venue, symbol); none without the file.

    Parameters
    ----------
    root : the data folder
    table : the instruments that are known already

    Raises
    ------
    InputError
        When the file is no list of objects with right fields, names a symbol twice, or contradicts the table. Says
        which entry (the first is 1) and which field.
    """
    path = own_path(root)
    try:
        stat = path.stat()
    except FileNotFoundError:
        return {}
    own = dict(_parsed(path, stat.st_mtime_ns, stat.st_size))
    for key, entry in own.items():
        known = table.get(key)
        for name in _NAMES if known is not None else ():
            theirs, ours = getattr(entry, name), getattr(known, name)
            if theirs != ours:
                raise InputError(
                    f"{path}: {key[1]} on {key[0]} has {name} {theirs!r}",
                    f"{ours!r}, as in the built-in table",
                    "Remove the entry: built-in facts are not overridden",
                )
    return own


@cache
def _parsed(path: Path, mtime_ns: int, size: int) -> tuple[tuple[tuple[str, str], Instrument], ...]:
    """The checked entries; the file's time and size make an edited file a new call."""
    do = "Correct the file, or remove it"
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as e:
        raise InputError(f"{path}, line {e.lineno}: {e.msg}", "JSON", do) from e
    except (OSError, ValueError, RecursionError) as e:
        raise InputError(f"{path} cannot be read: {e}", "a text file with JSON", do) from e
    if not isinstance(listed, list):
        raise InputError(f"{path}: {_shown(listed)} on the outside", "a list of objects", do)
    out: dict[tuple[str, str], Instrument] = {}
    for i, entry in enumerate(listed, 1):
        made = _instrument(f"{path}, entry {i}", entry)
        key = made.venue, made.symbol
        if key in out:
            raise InputError(f"{path}, entry {i}: symbol {key[1]} on {key[0]} for the second time", "it once", do)
        out[key] = made
    return tuple(out.items())


def _instrument(where: str, entry: object) -> Instrument:
    """One entry, every field checked."""
    if not isinstance(entry, dict):
        raise InputError(f"{where}: {_shown(entry)}", f"an object with {', '.join(_REQUIRED)}", "Write an object")
    for name in entry:
        if name not in _NAMES:
            raise InputError(f"{where}: unknown field {name!r}", f"one of {', '.join(_NAMES)}", "Correct its name")
    for name in _REQUIRED:
        if name not in entry:
            raise InputError(f"{where}: no field {name!r}", f"the fields {', '.join(_REQUIRED)}", "Add it")
    for name, (passes, accepts) in _CHECKS.items():
        if name in entry and not passes(entry[name]):
            raise InputError(f"{where}: {name} {_shown(entry[name])}", accepts, "Correct the field")
    made = Instrument(**{name: _cast(name, value) for name, value in entry.items()})
    kinds = _KINDS.get(made.venue, (False,))
    if made.inverse not in kinds:
        raise InputError(
            f"{where}: inverse {_shown(made.inverse)} on {made.venue}", _shown(kinds[0]), "Correct the field"
        )
    if made.inverse and "contract_value" not in entry:
        raise InputError(
            f"{where}: an inverse contract without 'contract_value'", "its value in quote currency", "Add it"
        )
    return made


def _cast(name: str, value: Any) -> Any:
    """A whole number stands for a float in JSON."""
    return float(value) if name in ("tick", "lot", "contract_value", "min_notional") else value


def _number(value: object) -> bool:
    # A comparison and no isfinite: JSON's whole numbers have no end, and a NaN makes it false.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST


_POSITIVE = (lambda v: _number(v) and v > 0, "a positive number")
_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "venue": (lambda v: isinstance(v, str) and v in _VENUES, f"one of {', '.join(_VENUES)}"),
    "symbol": (lambda v: isinstance(v, str) and bool(_SYMBOL.fullmatch(v)), "capital letters, digits, '-' and '_'"),
    "tick": _POSITIVE,
    "lot": _POSITIVE,
    "funding_interval_h": (lambda v: type(v) is int and 0 <= v <= 24, "whole hours from 0 (none) to 24"),
    "inverse": (lambda v: isinstance(v, bool), "true or false"),
    "contract_value": _POSITIVE,
    "min_notional": (lambda v: _number(v) and v >= 0, "zero or a positive number"),
}


def _shown(value: object) -> str:
    """A value as the file spells it, cut to a line's length."""
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
