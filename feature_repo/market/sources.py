"""The files of a recording: which ones, in which order, in which unit of time, and their lines."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..errors import InputError

__all__ = ["ACCEPTED", "Source", "find_sources", "open_lines"]

ACCEPTED = (
    "a tape folder (manifest.json beside <day>.parquet), one <day>.parquet of a tape, a folder that holds exactly one "
    "tape, or a Binance recording (`<local_ts> <json>` a line, plain or .gz) as a file or a folder"
)
_LINE = re.compile(rb"(\d{19}|\d{16}|\d{13}) ")
_UNITS = {13: ("ms", 1_000_000), 16: ("us", 1_000), 19: ("ns", 1)}
_SUFFIXES = (".gz", ".dat", ".raw", ".log", ".jsonl")
_SNIFF_LINES = 10  # a file that was cut may begin inside a line


@dataclass(frozen=True)
class Source:
    """One file of a recording."""

    path: Path
    first_ns: int
    unit: str  # of local_ts: ns, us or ms
    unit_ns: int
    size: int
    sha256: str


def find_sources(path: Path) -> list[Source]:
    """The recording files at ``path``, by their first local_ts.

    In a folder, files named .gz, .dat, .raw, .log or .jsonl must be recordings; any other file is one if it begins like
    one. Hidden files are left out.

    Raises
    ------
    InputError
        When there is none, or one is empty, cut off, no recording, or there twice.
    """
    if path.is_dir():
        files = [p for p in sorted(path.iterdir()) if p.is_file() and not p.name.startswith(".")]
        named = {p for p in files if p.suffix in _SUFFIXES}
        sources = [s for p in files if (s := _source(p, required=p in named)) is not None]
        if not sources:
            held = ", ".join(p.name for p in sorted(path.iterdir())[:5]) or "nothing"
            raise InputError(f"{path} holds no market data, only {held}", ACCEPTED, "Give one of these")
    else:
        sources = [s for s in [_source(path, required=True)] if s is not None]
    sources.sort(key=lambda s: s.first_ns)
    seen: dict[str, Path] = {}
    for source in sources:
        if source.sha256 in seen:
            raise InputError(
                f"{source.path} has the same content as {seen[source.sha256].name}",
                "each file once",
                "Remove one of them",
            )
        seen[source.sha256] = source.path
    return sources


def open_lines(source: Source) -> tuple[BinaryIO, Iterator[bytes]]:
    """The raw file (its ``tell`` is the progress) and its lines, unpacked from a .gz; InputError if damaged."""
    raw = source.path.open("rb")
    return raw, _lines(raw, source.path)


def _lines(raw: BinaryIO, path: Path) -> Iterator[bytes]:
    packed = raw.peek(2)[:2] == b"\x1f\x8b"  # type: ignore[attr-defined]
    n = 0
    try:
        for line in io.BufferedReader(gzip.GzipFile(fileobj=raw), 1 << 18) if packed else raw:
            n += 1
            yield line
    except EOFError as error:
        raise InputError(
            f"{path} is cut off after line {n}: the .gz has no end", "a complete .gz", "Copy it again from its source"
        ) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(
            f"{path} is damaged after line {n} ({error})", "an undamaged .gz", "Copy it again from its source"
        ) from error


def _source(path: Path, *, required: bool) -> Source | None:
    try:
        size = path.stat().st_size
        with path.open("rb") as raw:
            digest = hashlib.file_digest(raw, "sha256").hexdigest()
            raw.seek(0)
            head = _head(raw, path, required)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})", "a readable file", "Check its rights") from error
    for line in head:
        match = _LINE.match(line)
        if match:
            unit, unit_ns = _UNITS[len(match[1])]
            return Source(path, int(match[1]) * unit_ns, unit, unit_ns, size, digest)
    if not required:
        return None
    if not head:
        raise InputError(f"{path} is empty", ACCEPTED, "Give a file with market data, or remove it")
    raise InputError(f"{path}, line 1 is {_shown(head[0])}", ACCEPTED, "Give one of these, or remove the file")


def _head(raw: BinaryIO, path: Path, required: bool) -> list[bytes]:
    lines = _lines(raw, path)
    head: list[bytes] = []
    try:
        while len(head) < _SNIFF_LINES and (line := next(lines, None)) is not None:
            head.append(line)
    except InputError:
        # Cut off within the first lines: still to be refused, but only if it is one of ours.
        if required or any(_LINE.match(line) for line in head):
            raise
    return head


def _shown(line: bytes) -> str:
    text = line[:40].decode("ascii", "replace").strip()
    return repr(text if text.isprintable() else "binary data")
