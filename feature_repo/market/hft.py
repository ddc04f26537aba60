"""From a tape to the event array that hftbacktest replays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..events import DEPTH_BBO, DEPTH_CLEAR, EXCH, KIND_MASK, LOCAL, OWN_KINDS

if TYPE_CHECKING:
    from .tape import Tape

__all__ = ["to_hftbacktest"]


def to_hftbacktest(tape: Tape) -> np.ndarray:
    """Rows for ``BacktestAsset.data``: in exchange order and in local order at once, with EXCH and LOCAL flags.

    Kinds of ours and best quotes are dropped (the book of a replay is the one the diffs give). An exch_ts after its
    local_ts is set to local_ts. A row that overtook another on its way is split into an exchange-only and a local-only
    row by hftbacktest's own ``correct_event_order``.

    A GAP does nothing here: hftbacktest has no invalid book, and keeps the levels from before the gap until the next
    snapshot replaces them. Whoever replays must place no order between a GAP row and the next snapshot of the tape.

    Returns
    -------
    event_dtype [M], a new array; keep a reference for as long as the backtest lives

    Raises
    ------
    InputError
        When the tape has no depth or trade row at all.
    """
    from hftbacktest.data import correct_event_order, validate_event_order

    kind = tape.events["ev"] & np.uint64(KIND_MASK)
    wanted = ~np.isin(kind, (*OWN_KINDS, DEPTH_BBO))
    events, kind = tape.events[wanted], kind[wanted]
    if len(events) == 0:
        raise InputError(
            f"the tape of {tape.symbol} has neither depth nor trades",
            "both in a replay",
            "Give a recording with both streams",
        )
    # correct_event_order only ever adds the flags, so a split row would keep the one it must lose.
    events["ev"] &= ~np.uint64(LOCAL | EXCH)
    # A finite price would clear only the levels up to it; the tape clears whole sides.
    events["px"][kind == DEPTH_CLEAR] = np.nan
    events["exch_ts"] = np.minimum(events["exch_ts"], events["local_ts"])
    ordered = correct_event_order(
        events, np.argsort(events["exch_ts"], kind="stable"), np.argsort(events["local_ts"], kind="stable")
    )
    validate_event_order(ordered)
    return ordered
