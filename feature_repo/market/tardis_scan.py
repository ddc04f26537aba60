"""Blocks of Tardis CSV lines to columns, by a byte scanner that takes a line only if it is sure of each byte.

Any other line goes to ``tardis_lines.read_line``, which reads it too or says what is wrong with it. A decimal without
its point, up to 2**53, over an exact power of ten is correctly rounded by one division (Clinger 1990), so both ways
give the same bits.
"""

from __future__ import annotations

import numpy as np

from ..jit import kernel_jit
from .tardis_lines import (
    BOOK_SIDE,
    DAY_US,
    ID,
    LARGEST_AMOUNT,
    LARGEST_PRICE,
    MAYBE_PRICE,
    MAYBE_RATE,
    MAYBE_TIME,
    PRICE,
    SKIP,
    SKIPPED_ZERO,
    SNAPSHOT,
    STEPPED_BACK,
    TRADE_PRICE,
    TRADE_SIDE,
    Columns,
    Layout,
    read_line,
)

__all__ = ["LineScanner"]

_jit = kernel_jit(__file__)

_ID_BYTES = 64
_TIME_DIGITS = 16
_MOST_DIGITS = 18  # of a number that int64 holds
_MOST_DECIMALS = 22  # 10**22 is the largest power of ten that is a float64
_POWERS = np.array([float(10**k) for k in range(_MOST_DECIMALS + 1)])
_MANTISSA = 1 << 53
# The scanner's state: latest local_timestamp in us, bytes of the latest id, its number, whether ids must rise.
_LATEST, _ID_LENGTH, _ID_NUMBER, _RISING = range(4)
_COMMA, _NEWLINE, _RETURN, _POINT, _MINUS, _ZERO = 44, 10, 13, 46, 45, 48


class LineScanner:
    """Columns of the lines of one data type of one contract, over any number of files.

    A line whose local_timestamp is before that of an earlier line is kept, held at the latest one, and counted.

    Parameters
    ----------
    exchange, symbol : as the lines must name them
    rising : ids are numbers that rise, so that one not above the latest was there before; else only a repeated id was
    plain : read every line in plain Python; for comparison
    """

    def __init__(
        self, layout: Layout, exchange: str, symbol: str, *, rising: bool = False, plain: bool = False
    ) -> None:
        self.layout = layout
        self._exchange, self._symbol = exchange.encode("latin-1"), symbol.encode("latin-1")
        self._prefix = np.frombuffer(self._exchange + b"," + self._symbol + b",", np.uint8)
        self._plain = plain
        self._state = np.zeros(4, np.int64)
        self._state[_RISING] = rising
        self._state[_ID_NUMBER] = -1
        self._id = np.zeros(_ID_BYTES, np.uint8)
        self._long_id = b""  # an id that the scanner has no room for

    def feed(self, block: bytes) -> tuple[Columns, int, list[tuple[int, str]]]:
        """Take whole lines; the last one may lack its newline.

        Returns
        -------
        rows
        lines in the block
        (line in the block from 0, reason) of each line that gave no row, or gave one at a held time; in order
        """
        end = block.rfind(b"\n") + 1
        room = block.count(b"\n") + (end < len(block))
        rows = Columns.room(room, self.layout.slots)
        odd: list[tuple[int, str]] = []
        lost: list[int] = []
        data = np.frombuffer(block, np.uint8)
        at = row = line = 0
        while at < len(block):
            if at < end and not self._plain:
                at, taken = _scan(
                    data, at, end, self._prefix, self.layout.columns, self.layout.levels, self._state, self._id,
                    rows.exch, rows.local, rows.side, rows.snapshot, rows.values, row,
                )  # fmt: skip
                row += taken
                line += taken
                if at >= len(block):
                    break
            stop = block.find(b"\n", at)
            stop = len(block) if stop < 0 else stop
            reason, used = self._take(block[at:stop], rows, row)
            if reason is not None:
                odd.append((line, reason))
                if not used and reason != SKIPPED_ZERO:
                    lost.append(row)
            row += used
            line += 1
            at = stop + 1
        return rows.first(row, lost), line, odd

    def _take(self, text: bytes, rows: Columns, row: int) -> tuple[str | None, int]:
        """One line in plain Python: (reason if it is not usable as it is, rows written)."""
        got = read_line(text, self.layout, self._exchange, self._symbol)
        if isinstance(got, str):
            return got, 0
        exch, local, side, snapshot, name, values = got
        if name and (name == self._last_id() or -1 < self._number(name) <= self._state[_ID_NUMBER]):
            return "duplicate id", 0
        reason = None
        latest = int(self._state[_LATEST])
        if local < latest:
            local, reason = latest, STEPPED_BACK
        self._state[_LATEST] = local
        if name is not None:
            self._keep_id(name)
        rows.exch[row], rows.local[row], rows.side[row], rows.snapshot[row] = exch, local, side, snapshot
        rows.values[row] = values
        return reason, 1

    def _last_id(self) -> bytes:
        length = int(self._state[_ID_LENGTH])
        return self._long_id if length > _ID_BYTES else self._id[:length].tobytes()

    def _number(self, name: bytes) -> int:
        """An id as a number where ids must rise; -1 for any other."""
        return int(name) if self._state[_RISING] and name.isdigit() and len(name) <= _MOST_DIGITS else -1

    def _keep_id(self, name: bytes) -> None:
        self._state[_ID_NUMBER] = max(self._state[_ID_NUMBER], self._number(name))
        self._state[_ID_LENGTH] = len(name)
        if len(name) > _ID_BYTES:
            self._long_id = name
        else:
            self._id[: len(name)] = np.frombuffer(name, np.uint8)


@_jit
def _levels_fit(values, levels):
    """Whether ``_level_fault`` finds nothing."""
    for half in range(2):
        sign = 1.0 if half else -1.0
        last = -np.inf
        ended = False
        for level in range(levels):
            price = values[2 * (half * levels + level)]
            if np.isnan(price) != np.isnan(values[2 * (half * levels + level) + 1]):
                return False
            if np.isnan(price):
                ended = True
            elif ended or not sign * price > last:
                return False
            else:
                last = sign * price
    return True


@_jit
def _time(data, p):
    """The 16 digits of a time in us at ``p``; -1 if they are none. Stops at the first byte that is no digit."""
    value = 0
    for i in range(_TIME_DIGITS):
        digit = np.int64(data[p + i]) - _ZERO
        if digit < 0 or digit > 9:
            return -1
        value = value * 10 + digit
    return value if 10**15 <= value < 9 * 10**15 else -1


@_jit
def _whole(data, p, length):
    """The whole number of ``length`` digits at ``p``; -1 if it is none, or too long."""
    value = 0
    for i in range(length):
        digit = np.int64(data[p + i]) - _ZERO
        if digit < 0 or digit > 9 or length > _MOST_DIGITS:
            return -1
        value = value * 10 + digit
    return value


@_jit
def _decimal(data, p):
    """A plain decimal at ``p`` and the place after it; -1 for the place if plain Python must look."""
    mantissa, digits, decimals = 0, 0, 0  # digits: from the first that is not 0
    begin = p
    digit = np.int64(data[p]) - _ZERO
    while 0 <= digit <= 9:
        mantissa = mantissa * 10 + digit
        digits += mantissa != 0
        p += 1
        digit = np.int64(data[p]) - _ZERO
    if p == begin:
        return 0.0, -1
    if data[p] == _POINT:
        p += 1
        begin = p
        digit = np.int64(data[p]) - _ZERO
        while 0 <= digit <= 9:
            mantissa = mantissa * 10 + digit
            digits += mantissa != 0
            p += 1
            digit = np.int64(data[p]) - _ZERO
        decimals = p - begin
        if decimals == 0:
            return 0.0, -1
    # A product that ran over has too many digits.
    if digits > _MOST_DIGITS or mantissa > _MANTISSA or decimals > _MOST_DECIMALS:
        return 0.0, -1
    return mantissa / _POWERS[decimals], p


@_jit
def _scan(data, at, end, prefix, columns, levels, state, last_id, exch, local, side, snapshot, values, row):
    """Rows of the lines from ``at`` on, up to the first one that is not plainly right: (where it begins, rows).

    ``data[end - 1]`` is a newline. No loop passes one: it is no byte of a prefix, number or word.
    """
    first_row = row
    trade = False
    for c in range(len(columns)):
        trade = trade or columns[c, 0] == TRADE_PRICE
    while at < end:
        p = at
        for i in range(len(prefix)):
            if data[p] != prefix[i]:
                return at, row - first_row
            p += 1
        exch_us = _time(data, p)
        if exch_us < 0 or data[p + _TIME_DIGITS] != _COMMA:
            return at, row - first_row
        p += _TIME_DIGITS + 1
        local_us = _time(data, p)
        if local_us < state[_LATEST] or abs(local_us - exch_us) > DAY_US:
            return at, row - first_row
        p += _TIME_DIGITS
        id_at, id_length = -1, 0
        side[row] = 0
        snapshot[row] = False
        for c in range(len(columns)):
            if data[p] != _COMMA:
                return at, row - first_row
            p += 1
            code, slot = columns[c, 0], columns[c, 1]
            byte = data[p]
            if code == SNAPSHOT:
                if byte == 116 and data[p + 1] == 114 and data[p + 2] == 117 and data[p + 3] == 101:  # true
                    snapshot[row] = True
                    p += 4
                elif (
                    byte == 102 and data[p + 1] == 97 and data[p + 2] == 108 and data[p + 3] == 115
                    and data[p + 4] == 101
                ):  # false  # fmt: skip
                    p += 5
                else:
                    return at, row - first_row
            elif code == BOOK_SIDE:
                if byte == 97 and data[p + 1] == 115 and data[p + 2] == 107:  # ask
                    side[row] = 1
                elif not (byte == 98 and data[p + 1] == 105 and data[p + 2] == 100):  # bid
                    return at, row - first_row
                p += 3
            elif code == TRADE_SIDE:
                if byte == 98 and data[p + 1] == 117 and data[p + 2] == 121:  # buy
                    p += 3
                elif byte == 115 and data[p + 1] == 101 and data[p + 2] == 108 and data[p + 3] == 108:  # sell
                    side[row] = 1
                    p += 4
                else:
                    return at, row - first_row
            elif code in (SKIP, ID):
                begin = p
                while data[p] != _COMMA and data[p] != _NEWLINE:
                    if data[p] == _RETURN:
                        return at, row - first_row
                    p += 1
                if code == ID:
                    id_at, id_length = begin, p - begin
            elif code >= MAYBE_PRICE and byte in (_COMMA, _NEWLINE, _RETURN):
                values[row, slot] = np.nan
            elif code == MAYBE_TIME:
                time_us = _time(data, p)
                if time_us < 0:
                    return at, row - first_row
                values[row, slot] = time_us
                p += _TIME_DIGITS
            else:
                minus = code == MAYBE_RATE and byte == _MINUS
                value, p = _decimal(data, p + 1 if minus else p)
                if p < 0:
                    return at, row - first_row
                if code in (PRICE, MAYBE_PRICE, TRADE_PRICE):
                    if value == 0.0 or value > LARGEST_PRICE:
                        return at, row - first_row
                elif code != MAYBE_RATE and ((trade and value == 0.0) or value > LARGEST_AMOUNT):
                    return at, row - first_row
                values[row, slot] = -value if minus else value
        if data[p] == _RETURN:
            p += 1
        if data[p] != _NEWLINE or (levels > 0 and not _levels_fit(values[row], levels)):
            return at, row - first_row
        if id_at >= 0:
            same = id_length > 0 and id_length == state[_ID_LENGTH]
            if id_length > _ID_BYTES or (same and np.all(data[id_at : id_at + id_length] == last_id[:id_length])):
                return at, row - first_row
            if state[_RISING] and id_length > 0:
                number = _whole(data, id_at, id_length)
                if number <= state[_ID_NUMBER]:
                    return at, row - first_row
                state[_ID_NUMBER] = number
            last_id[:id_length] = data[id_at : id_at + id_length]
            state[_ID_LENGTH] = id_length
        state[_LATEST] = local_us
        exch[row], local[row] = exch_us, local_us
        row += 1
        at = p + 1
    return at, row - first_row
