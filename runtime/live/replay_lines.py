"""A recording as its lines, one after the other: local time, message, name of the stream."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from feature_repo.errors import InputError
from feature_repo.market.binance_kinds import depth_stream
from feature_repo.market.sources import CUT_OFF, CutOffError, Source, head_of, open_blocks

__all__ = ["Line", "Recording", "stream_of"]

_ACCEPTED = "a Binance recording, `<local_ts> <json>` a line, plain or .gz"
_NAME = re.compile(rb'(?:\d+ )?\s*\{\s*"stream"\s*:\s*"([^"\\]*)"')
_SCANNED = 20_000
_ZERO = ord("0")


class Line(NamedTuple):
    """One line that can be played.

    Attributes
    ----------
    number : in the recording, from 1, over all files
    local_ns : when the message was received, ns UTC
    payload : the JSON as recorded
    stream : the name of its stream, None without one
    """

    number: int
    local_ns: int
    payload: bytes
    stream: str | None

    @property
    def stamped(self) -> bytes:
        """``<local_ns> <json>``, the time with 19 digits."""
        return b"%d %b" % (self.local_ns, self.payload)

    def snapshot(self) -> dict[str, Any] | None:
        """The message if it is a REST depth snapshot."""
        message = _parsed(self.payload) if self.stream is None else None
        return message if message is not None and "lastUpdateId" in message else None

    def diff(self) -> dict[str, Any] | None:
        """The depthUpdate, if it is a difference to the whole book."""
        if self.stream is None:
            data = _parsed(self.payload)
        elif "@depth" in self.stream and depth_stream(self.stream) == "diff":
            data = (_parsed(self.payload) or {}).get("data")
        else:
            return None
        return data if isinstance(data, dict) and data.get("e") == "depthUpdate" else None


class Recording:
    """Files that continue each other.

    Parameters
    ----------
    files : a file or several, in any order

    Attributes
    ----------
    streams : names of the streams in the first 20,000 lines, in order of appearance
    symbol : of the depth diffs, else of the first stream, in capitals; "" where neither is there
    left_out : lines that cannot be played, by reason

    Raises
    ------
    InputError
        When a file cannot be read, is no recording, or has no line that can be played.
    """

    def __init__(self, files: Path | str | Sequence[Path | str]) -> None:
        paths = [Path(files)] if isinstance(files, (Path, str)) else [Path(f) for f in files]
        if not paths:
            raise InputError("no file", _ACCEPTED, "Name at least one")
        self._sources = sorted((_source(path) for path in paths), key=lambda s: s.first_ns)
        names: dict[str, None] = {}
        self.symbol, first, lines = "", "", 0
        self.left_out: Counter[str] = Counter()
        with closing(self.lines()) as begin:
            for line in islice(begin, _SCANNED):
                lines += 1
                if line.stream:
                    names.setdefault(line.stream)
                    first = first or line.stream.partition("@")[0].upper()
                if not self.symbol and (diff := line.diff()) is not None:
                    self.symbol = str(diff.get("s", "")).upper()
        if not lines:
            raise InputError(f"{paths[0]} has no line that can be played", _ACCEPTED, "Give another file")
        self.symbol = self.symbol or first
        self.streams = tuple(names)

    def lines(self) -> Generator[Line, None, None]:
        """Every line that can be played, read as they are taken; ``left_out`` begins anew.

        Raises
        ------
        InputError
            For a damaged .gz. One that is cut off ends there, and counts as one line left out.
        """
        self.left_out.clear()
        number = 0
        for source in self._sources:
            digits, unit_ns = source.digits, source.unit_ns
            with open_blocks(source.path) as blocks:
                try:
                    for block in blocks:
                        ends = block.endswith(b"\n")
                        for raw in block[:-1].split(b"\n") if ends else block.split(b"\n"):
                            number += 1
                            line = self._line(number, raw, digits, unit_ns)
                            if line is not None:
                                yield line
                except CutOffError:
                    self.left_out[CUT_OFF] += 1

    def _line(self, number: int, raw: bytes, digits: int, unit_ns: int) -> Line | None:
        head, _, payload = raw.partition(b" ")
        if len(head) != digits or not head.isdigit() or head[0] == _ZERO:
            if raw.strip():
                self.left_out[f"local_ts is no whole number of {digits} digits"] += 1
            return None
        if not payload.isascii():
            try:
                payload.decode()
            except UnicodeDecodeError:
                self.left_out["the message is no UTF-8 text"] += 1
                return None
        return Line(number, int(head) * unit_ns, payload, stream_of(payload))


def stream_of(frame: bytes) -> str | None:
    """The stream that a message names, with or without a time before it; None if it names none."""
    match = _NAME.match(frame)
    if match:
        return match[1].decode(errors="replace")
    if b'"stream"' not in frame:
        return None
    name = (_parsed(frame[frame.find(b"{") :]) or {}).get("stream")
    return name if type(name) is str else None


def _parsed(payload: bytes) -> dict[str, Any] | None:
    """The message, None if it is no JSON object."""
    try:
        message = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return None
    return message if isinstance(message, dict) else None


def _source(path: Path) -> Source:
    source = head_of(path)
    if source is None:
        what = "is no recording" if path.stat().st_size else "is empty"
        raise InputError(f"{path} {what}", _ACCEPTED, "Give another file")
    return source
