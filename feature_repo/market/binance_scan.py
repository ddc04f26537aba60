"""The common lines of a Binance recording, parsed by a compiled kernel that gives up at anything else.

It knows depthUpdate, trade, aggTrade and bookTicker once venue and symbol are known: diffs that continue the last one,
and diffs without a valid book, of which it tells where they stand. At a line that it is not sure of it stops, and that
line is for ``BinanceParser``, which it agrees with bit for bit on all others: what it accepts is a subset of JSON.
"""

from __future__ import annotations

import numpy as np

from ..constants import MS_NS
from ..events import BUY, DEPTH, DEPTH_BBO, EXCH, LOCAL, SELL, TRADE
from ..jit import kernel_jit
from .checks import PX_END, QTY_END
from .json_tokens import blank, decimal, key, levels, same, skip, stream, whole
from .sequence import BookState

__all__ = [
    "BESIDE",
    "BOOK",
    "DEPTHS",
    "FULL",
    "HELD",
    "HELD_BYTES",
    "LAST_EXCH",
    "LAST_LOCAL",
    "LAST_TRADE",
    "LINES",
    "LOCAL_END",
    "MISSING",
    "POS",
    "ROWS",
    "SEQ_EXCH",
    "SEQ_ID",
    "STATE_SIZE",
    "TRADE_KIND",
    "scan",
]

# What the parser and the kernel hand each other, int64 each.
POS, ROWS, LINES = 0, 1, 2  # next byte of the block, rows in the output, lines read
LAST_LOCAL, LAST_EXCH = 3, 4  # ns; LAST_EXCH -1: no message has told the exchange's time
FUTURES = 5  # 1, 0 on spot; -1: not sure yet, depth is for the parser
BOOK, SEQ_ID, SEQ_EXCH = 6, 7, 8  # the BookState; u and time of the last diff applied or held
TRADE_KIND, LAST_TRADE, MISSING = 9, 10, 11  # 1: trade, 2: aggTrade, 0: neither yet; last id; ids missing, added up
DEPTHS, TRADES, TICKERS, BESIDE = 12, 13, 15, 16  # messages, added up; TRADES + 1: aggTrade; trades not of TRADE_KIND
HELD = 17  # diffs noted
STATE_SIZE = 18

AT_END, STOPPED, FULL = 0, 1, 2
HELD_BYTES = 50
"""No line of a diff that is held has fewer: its fields' names, braces and stamps take more."""
LOCAL_END = 2**62
"""No local_ts reaches the year 2116, and every difference of two times fits."""

_FAR_NS = 86_400_000 * MS_NS
_MS_END = 10**14
_SEEN = LOCAL | EXCH
_BID, _ASK = DEPTH | BUY | _SEEN, DEPTH | SELL | _SEEN
_BEST_BID, _BEST_ASK = DEPTH_BBO | BUY | _SEEN, DEPTH_BBO | SELL | _SEEN
_BOUGHT, _SOLD = TRADE | BUY | _SEEN, TRADE | SELL | _SEEN

_STEADY, _HOLDING = int(BookState.STEADY), int(BookState.HOLDING)
_NO_KIND, _DEPTH, _TRADE, _AGG, _TICKER = 0, 3, 1, 2, 4
_EVENTS = np.frombuffer(b'"depthUpdate""trade""aggTrade""bookTicker"', np.uint8)
_WORDS = np.frombuffer(b'{"stream":"data":"MARKET"', np.uint8)

# Bits of the fields seen in a message.
_E, _T, _S, _UF, _UL, _PU, _B, _A, _BQ, _AQ, _P, _Q, _M, _ID, _X = (1 << k for k in range(15))
_DEPTH_SPOT = _E | _S | _UF | _UL | _B | _A
_DEPTH_FUTURES = _T | _S | _UF | _UL | _PU | _B | _A
_TICKER_NEEDS = _S | _B | _A | _BQ | _AQ
_TRADE_NEEDS = _T | _S | _P | _Q | _M | _ID


@kernel_jit(__file__)
def _time_ns(stamp, local_ns):
    """Exchange time in ns of a stamp in ms or us; -1 if it is far from local_ns or does not fit."""
    if stamp < 9 * 10**12:
        exch_ns = stamp * MS_NS
    elif _MS_END <= stamp < 9 * 10**15:
        exch_ns = stamp * 1_000
    else:
        return -1
    return exch_ns if -_FAR_NS < local_ns - exch_ns < _FAR_NS else -1


@kernel_jit(__file__)
def _row(ints, floats, n, ev, exch_ns, local_ns, px, qty):
    ints[n, 0], ints[n, 1], ints[n, 2] = ev, exch_ns, local_ns
    floats[n, 3], floats[n, 4] = px, qty
    ints[n, 5], ints[n, 6], ints[n, 7] = 0, 0, 0


@kernel_jit(__file__)
def _event(buf, i):
    """The value of field e: kind, position after it or -1."""
    if buf[i] != 34:
        return _NO_KIND, -1
    c = buf[i + 1]
    if c == 100:
        return _DEPTH, same(buf, i, _EVENTS, 0, 13)
    if c == 116:
        return _TRADE, same(buf, i, _EVENTS, 13, 20)
    if c == 97:
        return _AGG, same(buf, i, _EVENTS, 20, 30)
    if c == 98:
        return _TICKER, same(buf, i, _EVENTS, 30, 42)
    return _NO_KIND, -1


@kernel_jit(__file__)
def _line(buf, i, local_ns, symbol, ints, floats, state, held):
    """One message, i at its opening brace: position after its newline, -1: it is for the parser, -2: no row is left.

    Rows are written from ``state[ROWS]`` on, but nothing counts until the state is changed, which is done last.
    """
    start, begin = state[ROWS], i
    wrapped, plain = False, True
    after = same(buf, i, _WORDS, 0, 9)
    if after >= 0:
        wrapped = True
        i = blank(buf, after)
        if buf[i] != 58:
            return -1
        i, plain = stream(buf, blank(buf, i + 1))
        if i < 0:
            return -1
        i = blank(buf, i)
        if buf[i] != 44:
            return -1
        i = same(buf, blank(buf, i + 1), _WORDS, 10, 16)
        if i < 0:
            return -1
        i = blank(buf, i)
        if buf[i] != 58:
            return -1
        i = blank(buf, i + 1)
    if buf[i] != 123:
        return -1

    kind, named, seen = _NO_KIND, False, 0
    sent = stamp = first_id = final_id = previous = trade_id = 0
    bid = ask = bid_qty = ask_qty = px = qty = 0.0
    seller = False
    middle, n = start, start  # rows of bids end at middle
    while True:
        name, i = key(buf, blank(buf, i + 1))
        if i < 0:
            return -1
        bit = 0
        if name == 101:  # e comes first or not at all: it decides how the others are read
            if kind != _NO_KIND:
                return -1
            named = True
            kind, i = _event(buf, i)
        else:
            if kind == _NO_KIND:
                kind = _TICKER  # of spot, which names no event
            trade = kind in (_TRADE, _AGG)
            if name == 69:  # E
                bit = _E
                sent, i = whole(buf, i)
            elif name == 84:  # T
                bit = _T
                stamp, i = whole(buf, i)
            elif name == 115:  # s
                bit = _S
                i = same(buf, i, symbol, 0, len(symbol))
            elif name == 85 and kind == _DEPTH:  # U
                bit = _UF
                first_id, i = whole(buf, i)
            elif name == 117 and not trade:  # u
                bit = _UL
                final_id, i = whole(buf, i)
            elif name == 112 + 256 * 117 and kind == _DEPTH:  # pu
                bit = _PU
                previous, i = whole(buf, i)
            elif name == 98 and kind == _DEPTH:  # b
                bit = _B
                if seen & _A:
                    return -1
                i, n = levels(buf, i, floats, n)
                middle = n
            elif name == 97 and kind == _DEPTH:  # a
                bit = _A
                i, n = levels(buf, i, floats, n)
            elif name == 98 and kind == _TICKER:
                bit = _B
                bid, i = decimal(buf, i)
            elif name == 97 and kind == _TICKER:
                bit = _A
                ask, i = decimal(buf, i)
            elif name == 66 and kind == _TICKER:  # B
                bit = _BQ
                bid_qty, i = decimal(buf, i)
            elif name == 65 and kind == _TICKER:  # A
                bit = _AQ
                ask_qty, i = decimal(buf, i)
            elif (name == 116 and kind == _TRADE) or (name == 97 and kind == _AGG):  # t, a: the trade's id
                bit = _ID
                trade_id, i = whole(buf, i)
            elif name == 112 and trade:  # p
                bit = _P
                px, i = decimal(buf, i)
            elif name == 113 and trade:  # q
                bit = _Q
                qty, i = decimal(buf, i)
            elif name == 109 and trade:  # m
                bit = _M
                seller = buf[i] == 116
                i = skip(buf, i) if seller or buf[i] == 102 else -1
            elif name == 88 and trade:  # X
                bit = _X
                i = same(buf, i, _WORDS, 17, 25)
            else:
                i = skip(buf, i)
        if i < 0:
            return i
        if seen & bit:
            return -1
        seen |= bit
        i = blank(buf, i)
        if buf[i] == 125:
            break
        if buf[i] != 44:
            return -1
    if wrapped:
        i = blank(buf, i + 1)
        if buf[i] != 125:
            return -1
    i += 1
    if buf[i] == 13:
        i += 1
    if buf[i] != 10:
        return -1
    i += 1

    exch_ns = state[LAST_EXCH]
    if seen & _T:
        exch_ns = _time_ns(stamp, local_ns)
        if exch_ns < 0:
            return -1
    if kind == _DEPTH:
        futures = seen & (_T | _PU) != 0
        needs = _DEPTH_FUTURES if futures else _DEPTH_SPOT
        if not futures:
            exch_ns = _time_ns(sent, local_ns)
        good = plain and state[FUTURES] == futures and first_id <= final_id and seen & needs == needs
        if not good or exch_ns < 0:
            return -1
        last = state[SEQ_ID]
        if state[BOOK] == _STEADY:
            continues = previous == last if futures else first_id == last + 1
            if final_id <= last or not continues:
                return -1
            for k in range(start, n):
                ints[k, 0] = _BID if k < middle else _ASK
                ints[k, 1], ints[k, 2] = exch_ns, local_ns
                ints[k, 5], ints[k, 6], ints[k, 7] = 0, 0, 0
        elif state[BOOK] == _HOLDING:
            if final_id <= last:  # a duplicate, unless futures ids start again
                return -1
            n = start  # its levels were read to see that they are good
            at = state[HELD]
            held[at, 0], held[at, 1], held[at, 2] = begin, i - 1, exch_ns
            state[HELD] = at + 1
        else:
            return -1
        state[SEQ_ID], state[SEQ_EXCH] = final_id, exch_ns
        state[DEPTHS] += 1
    elif kind == _TICKER:
        needs = _TICKER_NEEDS if named else _TICKER_NEEDS | _UL
        if seen & needs != needs or not (0.0 < bid <= PX_END and 0.0 < ask <= PX_END):
            return -1
        if bid_qty > QTY_END or ask_qty > QTY_END or exch_ns < 0 or not -_FAR_NS < local_ns - exch_ns < _FAR_NS:
            return -1
        if n + 2 > len(ints):
            return -2
        _row(ints, floats, n, _BEST_BID, exch_ns, local_ns, bid, bid_qty)
        _row(ints, floats, n + 1, _BEST_ASK, exch_ns, local_ns, ask, ask_qty)
        n += 2
        state[TICKERS] += 1
    else:
        if seen & _TRADE_NEEDS != _TRADE_NEEDS or state[TRADE_KIND] == _NO_KIND:
            return -1
        if state[TRADE_KIND] != kind:
            exch_ns = state[LAST_EXCH]
            state[BESIDE] += 1
        else:
            fits = 0.0 < px <= PX_END and 0.0 < qty <= QTY_END
            if not fits or trade_id <= state[LAST_TRADE]:
                return -1
            if n == len(ints):
                return -2
            _row(ints, floats, n, _SOLD if seller else _BOUGHT, exch_ns, local_ns, px, qty)
            n += 1
            state[MISSING] += trade_id - state[LAST_TRADE] - 1
            state[LAST_TRADE] = trade_id
        state[TRADES + kind - 1] += 1
    state[LAST_EXCH], state[LAST_LOCAL], state[ROWS] = exch_ns, local_ns, n
    return i


@kernel_jit(__file__, nogil=True)
def scan(buf, limit, digits, unit_ns, symbol, ints, floats, state, held):
    """Read lines from ``state[POS]`` on while they are plain ones.

    Parameters
    ----------
    buf : uint8 [n], the block
    limit : position after the last newline; lines beyond it have no end
    digits, unit_ns : of local_ts
    symbol : uint8, the symbol in its quotes
    ints, floats : int64 and float64 [rows, 8], the same memory: EVENT_DTYPE rows in 64-bit words
    state : int64 [STATE_SIZE]; after the call POS is at the first line not read, and LINES, ROWS and HELD have grown
    held : int64 [diffs, 3]: first byte of the message of a diff that came without a valid book, last byte + 1, exchange
        time; one row for every HELD_BYTES bytes, or part of them, between POS and limit is enough

    Returns
    -------
    AT_END: everything is read; STOPPED: the line at POS is for the parser; FULL: it needs more rows than are left
    """
    pos = state[POS]
    while pos < limit:
        stamp, i = 0, pos
        while i < pos + digits:
            digit = np.int64(buf[i]) - 48
            if digit < 0 or digit > 9:
                return STOPPED
            stamp = stamp * 10 + digit
            i += 1
        # 19 digits may exceed int64; what wraps is negative.
        if buf[pos] == 48 or buf[i] != 32 or not 0 < stamp < LOCAL_END // unit_ns:
            return STOPPED
        local_ns = stamp * unit_ns
        if local_ns < state[LAST_LOCAL]:
            return STOPPED
        i = _line(buf, i + 1, local_ns, symbol, ints, floats, state, held)
        if i < 0:
            return FULL if i == -2 else STOPPED
        pos = i
        state[POS] = pos
        state[LINES] += 1
    return AT_END
