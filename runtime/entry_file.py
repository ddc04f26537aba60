"""A user's entries file as rows of values: CSV with its line numbers, Parquet with its row numbers.

What a file is, is told from its first bytes and never from its name.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_repo.errors import InputError

__all__ = ["ACCEPTS", "Rows", "open_rows"]

ACCEPTS = (
    "CSV or Parquet with the columns ts_ns, side, sig_type, price; R_bps, exp_reward_bps, tier, symbol if you like"
)
_PARQUET, _GZIP = b"PAR1", b"\x1f\x8b"
_NS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}


class Rows(NamedTuple):
    """What a file holds.

    Attributes
    ----------
    unit : "line" or "row": what its numbers count
    header : names of the columns
    types : name of a column to the words that say why its type cannot be used; Parquet only
    rows : number and values of each row, in the header's order; None where there is none. Text in place of the values
        says why the row cannot be read
    """

    unit: str
    header: list[str]
    types: dict[str, str]
    rows: Iterator[tuple[int, Sequence[Any] | str]]


@contextmanager
def open_rows(path: Path, columns: Sequence[str]) -> Iterator[Rows]:
    """Open a file of entries.

    Parameters
    ----------
    columns : names of the columns that are known: their types are judged

    Raises
    ------
    InputError
        When the file is missing, unreadable, or neither of both.
    """
    try:
        with path.open("rb") as raw:
            head = raw.read(4)
            raw.seek(0)
            if head == _PARQUET:
                yield _parquet(pq.ParquetFile(raw), columns)
            else:
                yield _csv(_text(raw, zipped=head.startswith(_GZIP)))
    except FileNotFoundError:
        raise InputError(f"no file {path}", ACCEPTS, "Check CANDIDATES") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder", ACCEPTS, "Give the file") from None
    except (UnicodeDecodeError, csv.Error, EOFError, zlib.error, pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk or its rights, not what the file holds
        raise InputError(f"{path} cannot be read ({error})", ACCEPTS, "Write it again") from error


def _text(raw: BinaryIO, *, zipped: bool) -> io.TextIOWrapper:
    # newline="": the csv module itself counts lines, quoted ones too.
    return io.TextIOWrapper(gzip.GzipFile(fileobj=raw) if zipped else raw, encoding="utf-8-sig", newline="")


def _csv(text: io.TextIOWrapper) -> Rows:
    reader = csv.reader(text, skipinitialspace=True, strict=True)
    header = next((record for record in reader if any(record)), [])
    return Rows("line", [name.strip() for name in header], {}, _records(reader))


def _records(reader: Any) -> Iterator[tuple[int, Sequence[Any] | str]]:
    """Each record with the line that it begins on."""
    while True:
        line = reader.line_num + 1
        try:
            record = next(reader, None)
        except csv.Error as error:
            yield line, f"cannot be read from here on ({error})"
            return
        if record is None:
            return
        values = [value.strip() or None for value in record]
        if any(values):  # a blank line is none
            yield line, values


def _parquet(file: pq.ParquetFile, columns: Sequence[str]) -> Rows:
    schema = file.schema_arrow
    types = {f.name: why for f in schema if f.name in columns and (why := _refused(f.name, f.type))}
    return Rows("row", list(schema.names), types, _groups(file))


def _groups(file: pq.ParquetFile) -> Iterator[tuple[int, Sequence[Any]]]:
    row = 0
    for batch in file.iter_batches():
        for values in zip(*(_plain(column) for column in batch.columns), strict=True):
            row += 1
            yield row, values


def _value_type(type_: pa.DataType) -> pa.DataType:
    return type_.value_type if pa.types.is_dictionary(type_) else type_


def _is_text(type_: pa.DataType) -> bool:
    return pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_)


def _is_number(type_: pa.DataType) -> bool:
    return pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_)


_FITS: dict[str, tuple[str, Callable[[pa.DataType], bool]]] = {
    "ts_ns": ("an integer or a timestamp", lambda t: pa.types.is_integer(t) or pa.types.is_timestamp(t)),
    "side": ("a number or text", lambda t: _is_number(t) or _is_text(t)),
    "sig_type": ("text", _is_text),
    "tier": ("text", _is_text),
    "symbol": ("text", _is_text),
}


def _refused(name: str, type_: pa.DataType) -> str:
    """Why a Parquet column of this type cannot be used; '' where it can. A column of nulls is judged by its rows."""
    wanted, fits = _FITS.get(name, ("a number", _is_number))
    type_ = _value_type(type_)
    if pa.types.is_null(type_) or fits(type_):
        return ""
    why = f"{name} is {type_}, not {wanted}"
    return f"{why}: a float keeps a time only to 256 ns" if name == "ts_ns" and pa.types.is_floating(type_) else why


def _plain(column: pa.Array) -> list[Any]:
    """int, float, str or None; timestamps become ns UTC, whatever their unit and zone (Arrow keeps the instant)."""
    if pa.types.is_timestamp(column.type):
        factor = _NS[column.type.unit]
        return [None if v is None else v * factor for v in column.cast(pa.int64()).to_pylist()]
    if pa.types.is_decimal(column.type):
        column = pc.cast(column, pa.float64())
    return [None if v == "" else v for v in column.to_pylist()]
