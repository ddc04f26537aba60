"""The raw lines of a live feed on disk, in .gz files that a crash cannot damage: the source of tomorrow's tape."""

from __future__ import annotations

import os
import re
import threading
import zlib
from collections import deque
from contextlib import suppress
from errno import ENOENT
from itertools import chain, count
from math import inf
from operator import index
from pathlib import Path
from typing import Self

from feature_repo.errors import InputError

__all__ = ["LineRecorder"]

_SYMBOL = re.compile(r"[A-Z0-9_]+")  # it names a file, too
_FIRST_NS, _END_NS = 10**18, 2**63  # times of 19 digits that an int64 holds
_DIGITS = 19
_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")
_MEMBER_BYTES = 1 << 20  # of lines in one gzip member: what is packed again after a failed write
_LEVEL = 4
_GZIP = 31  # zlib's wbits for a gzip header and end
_POLL_S = 0.1


class LineRecorder:
    """Writes lines ``<local_ns> <json>`` into rotating .gz files, from a thread of its own.

    ::

        with LineRecorder("data/recordings/ETHUSDT", "ETHUSDT") as recorder:
            for payload in feed:
                recorder.put(time.time_ns(), payload)

    Every ``flush_s`` the lines that wait become one complete gzip member, appended and synced. Members one behind the
    other are a valid .gz, so a crash costs the lines of the last ``flush_s`` and leaves at worst one torn member at the
    end of the newest file. Nothing is ever appended behind a torn one: a recorder begins a file of its own, and a
    failed write is cut off again. The files are a source for ``feature_repo.market.recording.BinanceReader``, also
    while they are being written.

    A file is ``<symbol>-<local_ns of its first line>.gz``, with -1, -2 ... behind the time where that is taken. It gets
    this name with its first member, synced; before that it is hidden (``.<name>.part``, left behind by a crash in this
    moment), so that no file without a whole line is ever read.

    While the disk is full or the folder is gone, lines wait in memory and are tried again every ``flush_s``;
    ``last_error`` says why. A folder that vanished is made again.

    Parameters
    ----------
    folder : made if it is not there; one for each symbol, as files of one folder are read as one recording
    symbol : of A-Z, 0-9 and _
    flush_s : longest time that a line waits for a write
    rotate_s : a new file begins with the first write of lines this much later, in local time, than its first one
    most_bytes : of lines that may wait; beyond that the oldest are given up

    Attributes
    ----------
    lines : lines put so far; each is written, lost, or waits
    written : lines on disk
    lost : lines given up: unusable, too old while nothing could be written, or put after ``close``
    last_error : why the last line was refused or the last write failed; None after a write that succeeded
    path : the file that is being written; None before the first write, after ``close`` and while there is none

    Raises
    ------
    InputError
        When a parameter is not as above, or the folder cannot be made. Nothing is raised later.
    """

    def __init__(
        self,
        folder: Path | str,
        symbol: str,
        *,
        flush_s: float = 0.5,
        rotate_s: float = 3600.0,
        most_bytes: int = 256 << 20,
    ) -> None:
        _check(symbol, most_bytes, flush_s=flush_s, rotate_s=rotate_s)
        self.folder, self.symbol = Path(folder), symbol
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"the folder {self.folder} cannot be made ({error.strerror or error})",
                "a folder to record into",
                "Give another one, or check its rights",
            ) from error
        self.lines = self.written = self.lost = 0
        self.last_error: str | None = None
        self.path: Path | None = None
        self._flush_s = min(flush_s, threading.TIMEOUT_MAX)
        self._rotate_ns = rotate_s * 1e9
        self._most_bytes = most_bytes
        # What follows is guarded by _wake, like the counts above.
        self._wake = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._asked = self._answered = 0  # flushes
        self._closing = False
        # Of the writer thread alone.
        self._file = -1
        self._file_ns = 0  # local time of its first line
        self._good = 0  # its length up to the last whole member
        self._thread = threading.Thread(target=self._run, name=f"recorder of {symbol}", daemon=True)
        self._thread.start()

    def put(self, local_ns: int, payload: bytes) -> None:
        """Take one line; microseconds, whatever the disk does. Never raises; from any thread.

        Parameters
        ----------
        local_ns : when it was received, ns UTC, 19 digits; a line with anything else is lost
        payload : JSON; line ends inside become spaces, so that it stays one line
        """
        line, refused = None, ""
        try:
            line = _line(local_ns, payload)
        except Exception as error:  # a feed goes on, whatever it was given
            refused = str(error)
        with self._wake:
            self.lines += 1
            if line is None or self._closing:
                self.lost += 1
                self.last_error = refused or "a line was put after the recorder was closed"
                return
            self._waiting.append(line)
            self._waiting_bytes += len(line)
            self._give_up()

    def flush(self) -> None:
        """Write what was put before, now. When it returns that is on disk, or ``last_error`` says why not."""
        with self._wake:
            self._asked += 1
            mine = self._asked
            self._wake.notify_all()
            # The thread is asked for, too: in a forked process there is none.
            while self._answered < mine and self._thread.is_alive():
                self._wake.wait(_POLL_S)

    def close(self) -> None:
        """Write the rest and end the thread. What cannot be written now is lost."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        self._thread.join()

    def _run(self) -> None:
        closing = False
        while not closing:
            with self._wake:
                self._wake.wait_for(lambda: self._closing or self._asked > self._answered, self._flush_s)
                asked, closing = self._asked, self._closing
            self._drain()
            with self._wake:
                self._answered = asked
                self._wake.notify_all()
        self._leave()
        with self._wake:
            self.lost += len(self._waiting)
            self._waiting.clear()
            self._waiting_bytes = 0

    def _drain(self) -> None:
        """Write the lines that wait at this moment, and no later ones: those would keep a flush waiting for ever."""
        left = len(self._waiting)
        while left > 0 and (batch := self._take(left)):
            left -= len(batch)
            try:
                self._write(batch)
            except Exception as error:  # mostly an OSError; nothing may end the thread, and the lines are still here
                with self._wake:
                    self.last_error = f"{error}; recording into {self.folder}, to be tried again"
                    self._waiting.extendleft(reversed(batch))
                    self._waiting_bytes += sum(map(len, batch))
                    self._give_up()
                return
            with self._wake:
                self.written += len(batch)
                self.last_error = None

    def _take(self, most: int) -> list[bytes]:
        """The oldest lines, as many as make a member."""
        batch: list[bytes] = []
        size = 0
        with self._wake:
            while self._waiting and len(batch) < most and (not batch or size + len(self._waiting[0]) <= _MEMBER_BYTES):
                batch.append(self._waiting.popleft())
                size += len(batch[-1])
            self._waiting_bytes -= size
        return batch

    def _give_up(self) -> None:
        """Forget the oldest lines beyond the limit; with _wake held."""
        while self._waiting_bytes > self._most_bytes:
            self._waiting_bytes -= len(self._waiting.popleft())
            self.lost += 1

    def _write(self, batch: list[bytes]) -> None:
        """Lines onto the disk as one member, to the end or not at all."""
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        member = packer.compress(b"".join(batch)) + packer.flush()
        first_ns = int(batch[0][:_DIGITS])
        if self.path is not None and (first_ns - self._file_ns > self._rotate_ns or not _names(self.path, self._file)):
            self._leave()
        if self.path is None:
            self._begin(first_ns, member)
        else:
            try:
                _append(self._file, member)
                if not _names(self.path, self._file):  # what was synced into a file that is gone is not on disk
                    raise FileNotFoundError(ENOENT, os.strerror(ENOENT), str(self.path))
            except BaseException:
                self._cut()
                raise
        self._good += len(member)

    def _begin(self, first_ns: int, member: bytes) -> None:
        """A new file with its first member: whole under its name, or not there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        file, hidden, path = self._claim(first_ns)
        try:
            _append(file, member)
            os.rename(hidden, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(hidden)
            _close(file)
            raise
        _sync_folder(self.folder)
        self._file, self._file_ns, self._good, self.path = file, first_ns, 0, path

    def _claim(self, first_ns: int) -> tuple[int, Path, Path]:
        """A hidden file that nobody else has, for a name that is free: (file, hidden, path).

        Who holds the hidden name may rename it: a second recorder gets it only after the rename, and sees the file.
        """
        stem = f"{self.symbol}-{first_ns}"
        for name in chain([stem], (f"{stem}-{n}" for n in count(1))):
            path, hidden = self.folder / f"{name}.gz", self.folder / f".{name}.gz.part"
            try:
                # Appending: after a cut the next write must not leave a hole.
                file = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
            except FileExistsError:
                continue
            if not os.path.lexists(path):
                break
            _close(file)
            os.unlink(hidden)
        return file, hidden, path

    def _cut(self) -> None:
        """Take a torn member off the file again; if that fails, leave the file."""
        try:
            os.ftruncate(self._file, self._good)
        except OSError:
            self._leave()

    def _leave(self) -> None:
        """The next write begins a new file."""
        if self.path is not None:
            _close(self._file)
        self._file, self.path = -1, None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _check(symbol: str, most_bytes: int, **seconds: float) -> None:
    for name, value in seconds.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < inf:
            raise InputError(f"{name} = {value!r}", "seconds, more than 0 and finite", f"Give {name}=1.0 for a second")
    if type(most_bytes) is not int or most_bytes <= 0:
        raise InputError(f"most_bytes = {most_bytes!r}", "a whole number of bytes above 0", "Give 1 << 20 for a MiB")
    if not isinstance(symbol, str) or not _SYMBOL.fullmatch(symbol):
        raise InputError(f"the symbol {symbol!r}", "A-Z, 0-9 and _, such as ETHUSDT", "Give the exchange's own name")


def _line(local_ns: int, payload: bytes) -> bytes:
    """One line with its end. TypeError or ValueError for what makes none."""
    local_ns = index(local_ns)
    if not _FIRST_NS <= local_ns < _END_NS:
        raise ValueError(f"a line was put with the local time {local_ns}, which is no 19 digits of ns")
    if not isinstance(payload, bytes | bytearray | memoryview):
        raise TypeError(f"a line was put as {type(payload).__name__}, which is no bytes")
    payload = bytes(payload)
    if b"\n" in payload or b"\r" in payload:
        payload = payload.translate(_ONE_LINE)
    return b"%d %b\n" % (local_ns, payload)


def _append(file: int, data: bytes) -> None:
    """All bytes, synced. A short write goes on until the disk says why."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]
    os.fsync(file)


def _names(path: Path, file: int) -> bool:
    """Whether the open file is still the one of this name: neither removed nor moved."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(file))
    except OSError:
        return False


def _sync_folder(folder: Path) -> None:
    # The file itself is synced, and not every file system can sync a folder.
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _close(file: int) -> None:
    # What counts is synced already; some network drives tell an old error here.
    with suppress(OSError):
        os.close(file)
