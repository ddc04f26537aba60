"""Files of market data as bytes: blocks of whole lines, unpacked beside the parser, and how a recording begins."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import BinaryIO

from ..errors import InputError

__all__ = [
    "ACCEPTED",
    "CUT_OFF",
    "Blocks",
    "CutOffError",
    "Source",
    "file_sha256",
    "first_bytes",
    "head_of",
    "open_blocks",
    "sha256_of",
]

ACCEPTED = (
    "a tape folder (manifest.json beside <day>.parquet), one <day>.parquet of a tape, a folder that holds exactly one "
    "tape, a Binance recording (`<local_ts> <json>` a line, plain or .gz), Tardis CSV (plain or .gz), hftbacktest .npz "
    "or .npy, or a folder of such files"
)
_GZIP_MAGIC = b"\x1f\x8b"
CUT_OFF = "the file is cut off"
"""Reason of the one bad row that stands for the rest of a file."""

_LINE = re.compile(rb"(\d{19}|\d{16}|\d{13}) ")
_UNITS = {13: ("ms", 1_000_000), 16: ("us", 1_000), 19: ("ns", 1)}
_SNIFF_LINES = 10  # a file that was cut may begin inside a line
_SNIFF_BYTES = 1 << 16
_BLOCK_BYTES = 1 << 20
_RAW_BYTES = 1 << 16
_AHEAD = 4  # blocks that may wait for the parser
_LONGEST_LINE = 1 << 26
_END_POLL_S = 0.1


class CutOffError(Exception):
    """A .gz ends before its end mark; every whole line before has been given."""


@dataclass(frozen=True)
class Source:
    """One file of a recording.

    Attributes
    ----------
    first_ns : the first local_ts, ns UTC
    unit, unit_ns : of local_ts: ns, us or ms
    size : bytes on disk
    """

    path: Path
    first_ns: int
    unit: str
    unit_ns: int
    size: int

    @property
    def digits(self) -> int:
        """Of every local_ts in the file: another number of digits is another unit, or no time."""
        return len(str(self.first_ns // self.unit_ns))

    @cached_property
    def sha256(self) -> str:
        """Of the file's bytes; read on first use."""
        return file_sha256(self.path)


def sha256_of(path: Path) -> str:
    """Hash of a file, without holding it in memory."""
    with path.open("rb") as raw:
        return hashlib.file_digest(raw, "sha256").hexdigest()


def file_sha256(path: Path) -> str:
    """``sha256_of``; InputError where the file cannot be read."""
    try:
        return sha256_of(path)
    except OSError as error:
        raise _unreadable(path, error) from error


def first_bytes(path: Path, size: int) -> bytes | None:
    """At most ``size`` bytes of the beginning, unpacked if it is a .gz; None where that cannot be unpacked."""
    with path.open("rb") as raw:
        head = raw.read(size)
    if head[:2] != _GZIP_MAGIC:
        return head
    try:
        return zlib.decompressobj(wbits=31).decompress(head, size)
    except zlib.error:
        return None


def head_of(path: Path) -> Source | None:
    """What the first lines of a file say, if they are those of a recording; None for anything else.

    Only the first 64 KiB are read. A first line that was cut in front is passed over.

    Raises
    ------
    InputError
        When the file cannot be read.
    """
    try:
        size, head = path.stat().st_size, first_bytes(path, _SNIFF_BYTES)
    except OSError as error:
        raise _unreadable(path, error) from error
    for line in (head or b"").split(b"\n")[:_SNIFF_LINES]:
        match = _LINE.match(line)
        if match:
            unit, unit_ns = _UNITS[len(match[1])]
            return Source(path, int(match[1]) * unit_ns, unit, unit_ns, size)
    return None


def open_blocks(path: Path, *, block_bytes: int = _BLOCK_BYTES) -> Blocks:
    """The lines of a plain file or a .gz, in blocks of about ``block_bytes``; a thread reads and unpacks ahead.

    Every block ends with a newline, but for the last line of a file that lacks one.

    Raises
    ------
    InputError
        Here when the file cannot be opened; from the iterator when a .gz is damaged or a line has no end.
    CutOffError
        From the iterator, after the last whole line of a .gz that has no end.
    """
    path = Path(path)
    try:
        raw = path.open("rb")
    except OSError as error:
        raise _unreadable(path, error) from error
    return Blocks(path, raw, block_bytes)


class Blocks(Iterator[bytes]):
    """See ``open_blocks``. ``done`` is the number of bytes of the file behind the blocks given so far."""

    def __init__(self, path: Path, raw: BinaryIO, block_bytes: int) -> None:
        self.done = 0
        self._path, self._raw, self._bytes = path, raw, block_bytes
        self._ready: Queue[tuple[bytes, int] | Exception | None] = Queue(_AHEAD)
        self._stopped = Event()
        self._thread = Thread(target=self._produce, name=f"blocks of {path.name}", daemon=True)
        self._thread.start()
        self._ended = False

    def __next__(self) -> bytes:
        if self._ended:
            raise StopIteration
        item = self._ready.get()
        if isinstance(item, tuple):
            block, self.done = item
            return block
        self.close()
        if item is None:
            raise StopIteration
        raise item

    def __enter__(self) -> Blocks:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop reading ahead; nothing more can be taken."""
        self._ended = True
        self._stopped.set()
        while self._thread.is_alive():
            try:
                self._ready.get_nowait()
            except Empty:
                self._thread.join(_END_POLL_S / 100)
        self._raw.close()

    def _put(self, item: tuple[bytes, int] | Exception | None) -> bool:
        """Hand over, unless nobody takes any more."""
        while not self._stopped.is_set():
            try:
                self._ready.put(item, timeout=_END_POLL_S)
                return True
            except Full:
                continue
        return False

    def _produce(self) -> None:
        try:
            for block in self._blocks():
                if not self._put((block, self._raw.tell())):
                    return
            self._put(None)
        except (InputError, CutOffError) as error:
            self._put(error)
        except Exception as error:
            # Whatever went wrong here is told where the blocks are taken, or that side would wait for ever.
            self._put(_unreadable(self._path, error) if isinstance(error, OSError) else error)

    def _blocks(self) -> Iterator[bytes]:
        rest: list[bytes] = []
        waiting = lines = 0
        for piece in _pieces(self._path, self._raw, self._bytes):
            end = piece.rfind(b"\n") + 1
            if not end:
                rest.append(piece)
                waiting += len(piece)
                if waiting > _LONGEST_LINE:
                    raise InputError(
                        f"{self._path}, line {lines + 1} is longer than {_LONGEST_LINE >> 20} MiB",
                        "lines of a few KiB",
                        "Repair the file",
                    )
                continue
            block = b"".join((*rest, piece[:end]))
            rest, waiting = [piece[end:]] if end < len(piece) else [], len(piece) - end
            lines += block.count(b"\n")
            yield block
        if rest:
            yield b"".join(rest)


def _pieces(path: Path, raw: BinaryIO, size: int) -> Iterator[bytes]:
    """The bytes of a file, unpacked if it is a .gz."""
    packed = raw.read(2) == _GZIP_MAGIC
    raw.seek(0)
    if not packed:
        while piece := raw.read(size):
            yield piece
        return
    # Late: the gate's base install reads no recordings.
    from isal import isal_zlib

    given, inside = 0, None  # the member of the .gz that is being unpacked
    tail = b""
    while data := tail or raw.read(_RAW_BYTES):
        tail = b""
        try:
            if inside is None:
                data = data.lstrip(b"\0")  # padding between members
                if not data:
                    continue
                if not data.startswith(_GZIP_MAGIC[: len(data)]):
                    raise isal_zlib.error("bytes behind its end")
                inside = isal_zlib.decompressobj(wbits=31)
            piece = inside.decompress(data, size)
        except isal_zlib.error as error:
            raise InputError(
                f"{path} is damaged after {given} unpacked bytes ({error})",
                "an undamaged .gz",
                "Copy it again from its source",
            ) from error
        if inside.eof:
            tail, inside = inside.unused_data, None
        else:
            tail = inside.unconsumed_tail
        given += len(piece)
        if piece:
            yield piece
    if inside is not None:
        raise CutOffError(str(path))


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path} cannot be read ({error.strerror or error})", "a readable file", "Check its rights")
