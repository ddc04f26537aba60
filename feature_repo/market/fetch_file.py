"""One file of Tardis' datasets: asked for, watched while it comes, and looked at before it gets its name."""

from __future__ import annotations

import asyncio
import datetime as dt
import errno
import logging
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError

__all__ = ["API_KEY", "Day", "download", "look", "size_told"]

API_KEY = "TARDIS_API_KEY"
"""The environment variable with a key for days other than the first of a month."""

_HEADER = b"exchange,symbol,timestamp,local_timestamp,"
_MAX_FAILURES = 5  # tardis-dev itself goes on for 30, which takes most of an hour
_HEAD_S = 10.0
_POLL_S = 0.1
_BLOCK = 1 << 20
_DAY_US = 86_400_000_000
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO}


@dataclass(frozen=True)
class Day:
    """One day of one symbol at one server; ``exchange`` and ``symbol`` in Tardis' spelling."""

    exchange: str
    symbol: str
    date: dt.date
    endpoint: str
    api_key: str
    patience_s: float

    def name(self, data_type: str) -> str:
        """File name, as tardis-dev would choose it."""
        return f"{self.exchange}_{data_type}_{self.date}_{self.symbol}.csv.gz"

    def url(self, data_type: str) -> str:
        """Address, as tardis-dev builds it; for messages and for the question of its size."""
        return f"{self.endpoint}/{self.exchange}/{data_type}/{self.date:%Y/%m/%d}/{self.symbol}.csv.gz"

    def shown(self, data_type: str) -> str:
        """The file in words."""
        return f"{data_type} of {self.symbol} on {self.exchange}, {self.date}"


def size_told(day: Day, data_type: str) -> int | None:
    """Bytes to come, where the server tells.

    Also the quick answer without a network: tardis-dev would first try for minutes. Any answer of the server, even a
    refusal, leaves the judgement to the download itself.

    Raises
    ------
    InputError
        When there is no connection.
    """
    request = urllib.request.Request(day.url(data_type), method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=_HEAD_S) as answer:
            length = answer.headers.get("Content-Length", "")
            return int(length) if length.isdigit() else None
    except urllib.error.HTTPError:
        return None
    except urllib.error.URLError as error:
        raise InputError(
            f"{day.endpoint} cannot be reached ({error.reason})", "a network that leads there", "Check the connection"
        ) from error
    except (OSError, ValueError):
        return None  # it answered in no useful way, or not in time


class _Failures(logging.Handler):
    """What tardis-dev's attempts failed with; its log is the only place that tells."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.errors: list[Exception] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.errors += [a for a in record.args or () if isinstance(a, Exception)]

    @contextmanager
    def listening(self) -> Iterator[None]:
        log = logging.getLogger("tardis_dev._http")
        level, propagate = log.level, log.propagate
        log.addHandler(self)
        log.setLevel(logging.DEBUG)
        log.propagate = False
        try:
            yield
        finally:
            log.removeHandler(self)
            log.setLevel(level)
            log.propagate = propagate


async def download(day: Day, data_type: str, folder: Path, report: Callable[[int], object]) -> None:
    """Bring one file into ``folder``, under its own name.

    tardis-dev retries 30 times with pauses of up to two minutes and has no setting for it: it is stopped from outside,
    after five failures, ``patience_s`` without a byte, or a failure of the disk.

    Parameters
    ----------
    report : called with the bytes that lie there so far; fewer than before when an attempt begins anew

    Raises
    ------
    InputError
        When the server refuses, has no such file, or goes on failing.
    """
    from tardis_dev import download_datasets_async

    failures = _Failures()
    with failures.listening():
        work = asyncio.create_task(
            download_datasets_async(
                exchange=day.exchange,
                data_types=[data_type],
                symbols=[day.symbol],
                from_date=str(day.date),
                to_date=str(day.date + dt.timedelta(days=1)),
                api_key=day.api_key,
                download_dir=str(folder),
                endpoint=day.endpoint,
                timeout=max(1, int(day.patience_s / 2)),
                get_filename=lambda exchange, kind, date, symbol, form: day.name(kind),
            )
        )
        try:
            await _watch(work, folder, failures.errors, day, data_type, report)
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)


async def _watch(
    work: asyncio.Task[None],
    folder: Path,
    failed: list[Exception],
    day: Day,
    data_type: str,
    report: Callable[[int], object],
) -> None:
    size, moved = 0, time.monotonic()
    while not work.done():
        await asyncio.wait({work}, timeout=_POLL_S)
        now = _bytes_so_far(folder)
        if now != size:
            size, moved = now, time.monotonic()
            report(size)
        waited_s = time.monotonic() - moved
        if work.done():
            break
        if failed and getattr(failed[-1], "errno", None) in _DISK:
            raise InputError(
                f"{folder.parent}: {failed[-1]}", "a disk with room for the day", "Make room or go on elsewhere"
            )
        if len(failed) >= _MAX_FAILURES or waited_s > day.patience_s:
            raise _given_up(day, data_type, failed, waited_s)
    error = work.exception()
    if error is not None:
        raise _refused(day, data_type, error) from error


def _bytes_so_far(folder: Path) -> int:
    n = 0
    for path in folder.glob("*.unconfirmed"):
        try:
            n += path.stat().st_size
        except FileNotFoundError:  # tardis-dev has just given it its name, or thrown it away
            continue
    return n


def _given_up(day: Day, data_type: str, failed: list[Exception], waited_s: float) -> InputError:
    if len(failed) >= _MAX_FAILURES:
        what = f"failed {len(failed)} times, the last time with: {_said(failed[-1])}"
    else:
        why = f" (before that: {_said(failed[-1])})" if failed else ""
        what = f"has sent nothing for {waited_s:.0f} s{why}"
    return InputError(
        f"{day.url(data_type)} {what}", "a server that sends the file", "Try again later; files that are complete stay"
    )


def _refused(day: Day, data_type: str, error: BaseException) -> InputError:
    code = getattr(error, "code", None)
    if code == 404:
        return InputError(
            f"Tardis has no {day.shown(data_type)} ({day.url(data_type)}: 404)",
            "a symbol and a day that it has",
            "Check SYMBOL, DATE and TYPES",
        )
    if code in (401, 403):
        return InputError(
            f"Tardis refuses {day.shown(data_type)} ({_said(error)})",
            "the first of a month, or an API key that covers the day",
            f"Check DATE and {API_KEY}",
        )
    return InputError(
        f"{day.url(data_type)} failed with: {_said(error)}", "a server that sends the file", "Try again later"
    )


def _said(error: BaseException) -> str:
    code, text = getattr(error, "code", None), " ".join(str(getattr(error, "msg", "") or error).split())
    text = text[:160] or type(error).__name__
    return f"{code} {text}" if isinstance(code, int) else text


def look(path: Path, day: Day) -> tuple[str | None, bool]:
    """Read a file to its end: what is wrong with it, or None; and whether it has rows.

    A day without rows is an empty .gz at Tardis, or one with nothing but the header.
    """
    from isal import igzip, isal_zlib

    head, last, n = b"", b"", 0
    if path.stat().st_size == 0:
        return "it has no bytes", False
    try:
        with igzip.open(path, "rb") as handle:
            while block := handle.read(_BLOCK):
                n += len(block)
                head, last = head or block, block[-1:]
    except EOFError:
        return f"it is cut off after {n:,} bytes of content", False
    except (OSError, zlib.error, isal_zlib.error) as error:
        return f"it is no .gz, or damaged ({error})", False
    if not head:
        return None, False
    header, _, rest = head.partition(b"\n")
    if not header.startswith(_HEADER):
        return f"its first line is {_shown(header)}, no header of Tardis", False
    if not rest:
        return None, False
    if last != b"\n":
        return "its last line has no end", False
    first = rest.partition(b"\n")[0]
    fields = first.decode("ascii", "replace").split(",")
    local_us = fields[3] if len(fields) > 3 else ""
    of_day = local_us.isdigit() and int(local_us) // _DAY_US == (day.date - dt.date(1970, 1, 1)).days
    if fields[:2] != [day.exchange, day.symbol] or not of_day:
        return f"its first row is {_shown(first)}, not of {day.symbol} on {day.date}", False
    return None, True


def _shown(line: bytes) -> str:
    return repr(line[:60].decode("ascii", "replace"))
