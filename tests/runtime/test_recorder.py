"""What a recorder was given is on disk, whole and readable, whatever happens to the process, the disk or the folder."""

from __future__ import annotations

import errno
import gzip
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from feature_repo.errors import InputError
from feature_repo.market.recording import BinanceReader
from feature_repo.market.sources import CUT_OFF, CutOffError, head_of, open_blocks
from feature_repo.market.stream import BadRows
from runtime.live import recorder as module
from runtime.live.recorder import LineRecorder

from ..feature_repo.binance_messages import BOOK, MS, T0, trade, usdm

ROOT = Path(__file__).resolve().parents[2]
NS = T0 * MS
NEVER = 3600.0  # seconds: the thread writes when it is told to


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.002)


def payload_of(message):
    return message if isinstance(message, bytes) else json.dumps(message).encode()


def market(n, *, start_ns=NS, step_ns=MS):
    """(local_ns, payload) of a snapshot and then diffs and trades, ``n`` in all."""
    out, u = [BOOK], 100
    while len(out) < n:
        if len(out) % 3:
            out.append(trade(px=f"{100 + len(out) % 7 / 10:.2f}", m=bool(len(out) % 2), t=T0 + len(out)))
        else:
            out.append(usdm(u, u + 5, u - 1, [["98.0", f"{1 + len(out) % 9}"]], [["102.5", "1.5"]], t=T0 + len(out)))
            u += 6
    return [(start_ns + k * step_ns, payload_of(m)) for k, m in enumerate(out)]


def text(lines):
    return b"".join(b"%d %b\n" % line for line in lines)


def put_all(recorder, lines):
    for line in lines:
        recorder.put(*line)


def files_of(folder):
    """What a reader of the folder sees, in order of time."""
    return sorted((p for p in folder.iterdir() if not p.name.startswith(".")), key=lambda p: head_of(p).first_ns)


def unpacked(path):
    with gzip.open(path) as file:
        return file.read()


def members(path):
    """Sizes of the gzip members of a whole file."""
    rest, sizes = path.read_bytes(), []
    while rest:
        member = zlib.decompressobj(wbits=31)
        member.decompress(rest)
        assert member.eof
        sizes.append(len(rest) - len(member.unused_data))
        rest = member.unused_data
    return sizes


def readable(path):
    """The whole lines of a file that may have a torn end."""
    out = b""
    with open_blocks(path) as blocks:
        try:
            for block in blocks:
                out += block
        except CutOffError:
            pass
    return out


def rows_of(*files):
    bad = BadRows()
    reader = BinanceReader(files, bad)
    return np.concatenate(list(reader.chunks())), bad


class Disk:
    """The recorder's module ``os``, with faults: set ``write``, ``fsync`` ... to what shall be called instead."""

    def __getattr__(self, name):
        return getattr(os, name)


@pytest.fixture
def disk(monkeypatch):
    fake = Disk()
    monkeypatch.setattr(module, "os", fake)
    return fake


def full(file, data):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class HalfFull:
    """Half the bytes of the first write, then nothing more."""

    def __init__(self):
        self.calls = 0

    def __call__(self, file, data):
        self.calls += 1
        return os.write(file, data[: len(data) // 2]) if self.calls == 1 else full(file, data)


# --- what is written -----------------------------------------------------------------------------------------------


def test_lines_come_back_byte_for_byte(tmp_path):
    lines = [*market(60), (NS + 60 * MS, b"\xff \x00 not even text"), (NS + 61 * MS, b"")]
    with LineRecorder(tmp_path, "ETHUSDT", flush_s=NEVER) as recorder:
        for k in range(0, len(lines), 20):
            put_all(recorder, lines[k : k + 20])
            recorder.flush()
            assert recorder.path == tmp_path / f"ETHUSDT-{NS}.gz"
            assert unpacked(recorder.path) == text(lines[: k + 20])
            assert recorder.written == recorder.lines == min(k + 20, len(lines))
    (file,) = tmp_path.iterdir()
    assert len(members(file)) == 4
    assert (recorder.lost, recorder.last_error, recorder.path) == (0, None, None)


def test_the_rows_are_those_of_a_plain_recording(tmp_path):
    lines = market(400)
    plain = tmp_path / "plain.dat"
    plain.write_bytes(text(lines))
    with LineRecorder(tmp_path / "live", "ETHUSDT", flush_s=NEVER) as recorder:
        for k in range(0, 400, 7):
            put_all(recorder, lines[k : k + 7])
            recorder.flush()
    (file,) = files_of(tmp_path / "live")
    rows, bad = rows_of(file)
    expected, _ = rows_of(plain)
    assert len(rows) > 400
    np.testing.assert_array_equal(rows, expected)
    assert bad.rows == 400
    assert not bad.reasons


def test_lines_are_written_without_being_asked_for(tmp_path):
    with LineRecorder(tmp_path, "ETHUSDT", flush_s=0.01) as recorder:
        lines = market(3)
        for k, line in enumerate(lines):
            recorder.put(*line)
            until(lambda k=k: recorder.written == k + 1)
        assert unpacked(recorder.path) == text(lines)
        assert len(members(recorder.path)) == 3


def test_a_long_backlog_is_many_members_and_nothing_else(tmp_path):
    payload = random.Random(5).randbytes(1 << 12).hex().encode()
    lines = [(NS + k * MS, payload) for k in range(400)]  # 3.3 MB
    with LineRecorder(tmp_path, "ETHUSDT", flush_s=NEVER) as recorder:
        put_all(recorder, lines)
    (file,) = files_of(tmp_path)
    assert len(members(file)) == 4
    assert unpacked(file) == text(lines)


def test_a_line_longer_than_a_member_is_one_member(tmp_path):
    lines = [(NS, b"a"), (NS + 1, b"x" * (3 << 20)), (NS + 2, b"b")]
    with LineRecorder(tmp_path, "ETHUSDT", flush_s=NEVER) as recorder:
        put_all(recorder, lines)
    assert unpacked(files_of(tmp_path)[0]) == text(lines)


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_line_ends_inside_a_payload_become_spaces(tmp_path, end):
    message = json.dumps(trade(), indent=1).encode()
    with LineRecorder(tmp_path, "ETHUSDT", flush_s=NEVER) as recorder:
        recorder.put(NS, message.replace(b"\n", end) + end)
        recorder.put(NS + MS, bytearray(payload_of(trade())))
    (file,) = files_of(tmp_path)
    first, _ = unpacked(file).splitlines()
    assert first == b"%d %b" % (NS, (message + b"\n").replace(b"\n", b" " * len(end)))
    rows, bad = rows_of(file)
    assert rows["local_ts"].tolist() == [NS, NS + MS]
    assert not bad.reasons


# --- files ---------------------------------------------------------------------------------------------------------


def test_rotated_files_are_read_as_one_recording(tmp_path):
    lines = market(300, step_ns=100 * MS)  # 30 s
    plain = tmp_path / "plain.dat"
    plain.write_bytes(text(lines))
    live = tmp_path / "live"
    with LineRecorder(live, "ETHUSDT", flush_s=NEVER, rotate_s=4.0) as recorder:
        for k in range(0, 300, 5):
            put_all(recorder, lines[k : k + 5])
            recorder.flush()
    files = files_of(live)
    # The first write more than 4 s after the first line of the file before is one 4.5 s after it.
    assert [f.name for f in files] == [f"ETHUSDT-{NS + k * 4_500 * MS}.gz" for k in range(7)]
    assert b"".join(map(unpacked, files)) == text(lines)
    rows, bad = rows_of(*files[::-1])
    np.testing.assert_array_equal(rows, rows_of(plain)[0])
    assert not bad.reasons


@pytest.mark.parametrize(("later_ns", "files"), [(2_000 * MS, 1), (2_000 * MS + 1, 2)])
def test_a_new_file_begins_when_the_first_is_more_than_that_older(tmp_path, later_ns, files):
    with LineRecorder(tmp_path, "ETHUSDT", flush_s=NEVER, rotate_s=2.0) as recorder:
        for at_ns in (NS, NS + MS, NS + later_ns):
            recorder.put(at_ns, b"{}")
            recorder.flush()
    assert len(files_of(tmp_path)) == files


def test_two_recorders_with_the_same_first_time_write_two_files(tmp_path):
    a, b = (LineRecorder(tmp_path, "ETHUSDT", flush_s=NEVER) for _ in range(2))
    for k in range(3):
        for recorder, who in ((a, b"a"), (b, b"b")):
            recorder.put(NS + k, who)
            recorder.flush()
    assert (a.path.name, b.path.name) == (f"ETHUSDT-{NS}.gz", f"ETHUSDT-{NS}-1.gz")
    a.close(), b.close()
    for name, who in ((f"ETHUSDT-{NS}.gz", b"a"), (f"ETHUSDT-{NS}-1.gz", b"b")):
        assert unpacked(tmp_path / name) == text([(NS + k, who) for k in range(3)])


def test_many_recorders_that_begin_at_once_never_share_a_file(tmp_path):
    recorders = [LineRecorder(tmp_path, "ETHUSDT", flush_s=NEVER) for _ in range(8)]
    for k, recorder in enumerate(recorders):
        recorder.put(NS, b"%d" % k)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(LineRecorder.close, recorders))
    assert [r.last_error for r in recorders] == [None] * 8
    assert sorted(unpacked(p) for p in tmp_path.iterdir()) == [b"%d %d\n" % (NS, k) for k in range(8)]


def test_a_new_start_leaves_what_is_there(tmp_path):
    left = {f"ETHUSDT-{NS}.gz": b"\x1f\x8b torn", f".ETHUSDT-{NS}-1.gz.part": b"begun", f"ETHUSDT-{NS}-2.gz": b""}
    for name, content in left.items():
        (tmp_path / name).write_bytes(content)
    with LineRecorder(tmp_path, "ETHUSDT", flush_s=NEVER) as recorder:
        recorder.put(NS, b"{}")
    assert {p.name for p in tmp_path.iterdir()} == {*left, f"ETHUSDT-{NS}-3.gz"}
    assert all((tmp_path / name).read_bytes() == content for name, content in left.items())
    assert unpacked(tmp_path / f"ETHUSDT-{NS}-3.gz") == text([(NS, b"{}")])


def test_no_file_is_seen_before_its_first_member_is_whole(tmp_path, disk):
    seen = []

    def look(file, data):
        seen.append(sorted(p.name for p in tmp_path.glob("[!.]*")))
        return os.write(file, data)

    disk.write = look
    with LineRecorder(tmp_path, "ETHUSDT", flush_s=NEVER, rotate_s=1.0) as recorder:
        for at_ns in (NS, NS + 2_000 * MS):
            recorder.put(at_ns, b"{}")
            recorder.flush()
    assert seen == [[], [f"ETHUSDT-{NS}.gz"]]


# --- crashes -------------------------------------------------------------------------------------------------------

_CHILD = """
import os, sys, time
from runtime.live.recorder import LineRecorder

recorder = LineRecorder(sys.argv[1], "ETHUSDT", flush_s=0.05)
MESSAGE = b'{"e":"trade","E":%d,"T":%d,"s":"ETHUSDT","t":%d,"p":"100.00","q":"1.000","X":"MARKET","m":false}'

def put():
    ns = time.time_ns()
    payload = MESSAGE % (ns // 10**6, ns // 10**6, ns)
    os.write(1, b"%d %d %b\\n" % (recorder.written, ns, payload))  # before it is put: the last may not have been
    recorder.put(ns, payload)

for _ in range(200):
    put()
while True:
    put()
    time.sleep(0.001)
"""


@dataclass
class Killed:
    """One run of a process that was killed: what it put, and the file that it left."""

    lines: list[bytes]  # all but the last, which it may not have come to put
    told: int  # lines that it had been told are written
    last: bytes
    killed_ns: int
    file: Path | None

    @property
    def due(self):
        """Lines that were put half a second before the end, or earlier: a flush each 0.05 s, and slow syncs."""
        return sum(int(line[:19]) < self.killed_ns - 500 * MS for line in self.lines)


def kills(folder, log, seed, n):
    rng, out = random.Random(seed), []
    folder.mkdir()
    for _ in range(n):
        before = {p: p.read_bytes() for p in folder.glob("[!.]*")}
        with log.open("wb") as told:
            child = subprocess.Popen([sys.executable, "-c", _CHILD, str(folder)], cwd=ROOT, stdout=told)
        try:
            until(lambda child=child: log.stat().st_size or child.poll() is not None)
            time.sleep(rng.uniform(0.0, 1.4))
            killed_ns = time.time_ns()
        finally:
            child.kill()
        assert child.wait() == -9
        after = {p: p.read_bytes() for p in folder.glob("[!.]*")}
        assert {p: after[p] for p in before} == before
        new = [p for p in after if p not in before]
        assert len(new) <= 1
        *whole, _ = log.read_bytes().split(b"\n")
        counts, lines = zip(*(line.split(b" ", 1) for line in whole), strict=True)
        out.append(Killed(list(lines[:-1]), int(counts[-1]), lines[-1], killed_ns, new[0] if new else None))
    return out


@pytest.mark.long
def test_killed_at_any_moment_it_leaves_whole_files_with_all_that_was_due(tmp_path):
    lanes = [tmp_path / f"lane{k}" for k in range(5)]  # the children mostly wait: five at a time
    with ThreadPoolExecutor(len(lanes)) as pool:
        runs = list(pool.map(lambda at: kills(at, at.with_suffix(".log"), at.name, 10), lanes))
    assert sum(run.due > 0 for lane in runs for run in lane) > 20
    for lane in runs:
        on_disk = []
        for run in lane:
            kept = readable(run.file).splitlines() if run.file else []
            assert kept == [*run.lines, run.last][: len(kept)]
            assert len(kept) >= max(run.told, run.due)
            on_disk += kept
            if run.file:
                rows, bad = rows_of(run.file)
                assert rows["local_ts"].tolist() == [int(line[:19]) for line in kept]
                assert dict(bad.reasons) in ({}, {CUT_OFF: 1})
        rows, _ = rows_of(*(run.file for run in lane if run.file))
        assert rows["local_ts"].tolist() == [int(line[:19]) for line in on_disk]


_TORN = """
import os, signal, sys
from runtime.live import recorder as module

class Torn:
    left = int(sys.argv[2])
    def __getattr__(self, name):
        return getattr(os, name)
    def write(self, file, data):
        if not self.left:
            os.write(file, data[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1
        return os.write(file, data)

module.os = Torn()
recorder = module.LineRecorder(sys.argv[1], "ETHUSDT", flush_s=3600.0)
for k, line in enumerate(sys.stdin.buffer.read().splitlines()):
    recorder.put(int(line[:19]), line[20:])
    if k % 150 == 149:
        recorder.flush()
"""


@pytest.mark.parametrize("whole", [0, 1, 2])
def test_killed_in_the_middle_of_a_write_it_loses_only_that_member(tmp_path, whole):
    lines = [(NS + k * MS, payload_of(trade())) for k in range(600)]
    put = [sys.executable, "-c", _TORN, str(tmp_path), str(whole)]
    assert subprocess.run(put, input=text(lines[:450]), cwd=ROOT, check=False).returncode == -9
    kept = 150 * whole
    torn = files_of(tmp_path)
    assert len(torn) == (whole > 0)
    assert all(readable(p).startswith(text(lines[:kept])) for p in torn)
    with LineRecorder(tmp_path, "ETHUSDT", flush_s=NEVER) as recorder:
        put_all(recorder, lines[450:])
    files = files_of(tmp_path)
    assert len(files) == len(torn) + 1
    assert unpacked(files[-1]) == text(lines[450:])
    rows, bad = rows_of(*files)
    assert dict(bad.reasons) == ({CUT_OFF: 1} if whole else {})
    times = rows["local_ts"].tolist()
    assert times[:kept] + times[-150:] == [at for at, _ in (*lines[:kept], *lines[450:])]
    assert len(times) < kept + 300


def test_cut_at_any_byte_of_its_last_member_a_file_gives_all_before_it(tmp_path):
    lines = market(113)
    with LineRecorder(tmp_path, "ETHUSDT", flush_s=NEVER) as recorder:
        for part in (lines[:60], lines[60:110], lines[110:]):
            put_all(recorder, part)
            recorder.flush()
    (file,) = files_of(tmp_path)
    whole = file.read_bytes()
    sizes = members(file)
    good = sum(sizes[:-1])
    before, _ = rows_of(write(tmp_path / "before.dat", text(lines[:110])))
    everything, _ = rows_of(file)
    cut = tmp_path / "cut.gz"
    assert sizes[-1] > 100
    for n in range(good, len(whole)):
        rows, bad = rows_of(write(cut, whole[:n]))
        assert dict(bad.reasons) == ({CUT_OFF: 1} if n > good else {}), n
        assert len(rows) >= len(before), n
        np.testing.assert_array_equal(rows, everything[: len(rows)], err_msg=str(n))


def write(path, content):
    path.write_bytes(content)
    return path


# --- a disk that does not take it ----------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [lambda: full, HalfFull], ids=["full", "half a write"])
@pytest.mark.parametrize("first", [True, False], ids=["first member", "later member"])
def test_a_full_disk_costs_nothing_once_there_is_space_again(tmp_path, disk, fault, first):
    lines = market(300)
    put = 0 if first else 150
    with LineRecorder(tmp_path, "ETHUSDT", flush_s=NEVER) as recorder:
        put_all(recorder, lines[:put])
        recorder.flush()
        before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
        for k in range(put, 300, 50):
            put_all(recorder, lines[k : k + 50])
            disk.write = fault()
            recorder.flush()
            assert os.strerror(errno.ENOSPC) in recorder.last_error
            assert (recorder.written, recorder.lost) == (put, 0)
            assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
        disk.write = os.write
        recorder.flush()
        assert (recorder.written, recorder.lost, recorder.last_error) == (300, 0, None)
    (file,) = tmp_path.iterdir()
    assert unpacked(file) == text(lines)
    assert not rows_of(file)[1].reasons


def test_in_a_second_file_a_failed_write_is_cut_off_at_the_end_of_that_file(tmp_path, disk):
    first, second = market(150), [(NS + 20_000 * MS, b"a"), (NS + 21_000 * MS, b"b")]
    with LineRecorder(tmp_path, "ETHUSDT", flush_s=NEVER, rotate_s=15.0) as recorder:
        put_all(recorder, first)
        recorder.flush()
        recorder.put(*second[0])
        recorder.flush()
        size = recorder.path.stat().st_size
        recorder.put(*second[1])
        disk.write = HalfFull()
        recorder.flush()
        assert recorder.path.stat().st_size == size
        disk.write = os.write
    assert [unpacked(p) for p in files_of(tmp_path)] == [text(first), text(second)]


def test_lines_that_come_while_a_write_fails_stay_behind_those_it_held(tmp_path, disk):
    lines = [(NS + k, b"%05d" % k) for k in range(120)]
    with LineRecorder(tmp_path, "ETHUSDT", flush_s=NEVER, most_bytes=100 * len(text(lines[:1]))) as recorder:

        def late(file, data):
            put_all(recorder, lines[60:])
            full(file, data)

        put_all(recorder, lines[:60])
        disk.write = late
        recorder.flush()
        assert (recorder.lines, recorder.written, recorder.lost) == (120, 0, 20)
        disk.write = os.write
    assert unpacked(files_of(tmp_path)[0]) == text(lines[20:])


def test_a_full_disk_is_tried_again_without_being_asked(tmp_path, disk):
    tries = []

    def often_full(file, data):
        tries.append(len(data))
        return os.write(file, data) if len(tries) > 3 else full(file, data)

    disk.write = often_full
    with LineRecorder(tmp_path, "ETHUSDT", flush_s=0.01) as recorder:
        recorder.put(NS, b"{}")
        until(lambda: recorder.written == 1)
        assert len(tries) == 4
        assert recorder.last_error is None


def test_a_short_write_with_space_behind_it_is_simply_continued(tmp_path, disk):
    disk.write = lambda file, data: os.write(file, data[:7])
    with LineRecorder(tmp_path, "ETHUSDT", flush_s=NEVER) as recorder:
        put_all(recorder, market(50))
        recorder.flush()
        assert (recorder.written, recorder.last_error) == (50, None)
    assert len(members(files_of(tmp_path)[0])) == 1


def test_what_was_written_but_not_synced_is_written_once(tmp_path, disk):
    def broken(file):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    lines = market(40)
    with LineRecorder(tmp_path, "ETHUSDT", flush_s=NEVER) as recorder:
        for k in range(0, 40, 10):
            put_all(recorder, lines[k : k + 10])
            disk.fsync = broken
            recorder.flush()
            assert os.strerror(errno.EIO) in recorder.last_error
            assert recorder.written == k
            disk.fsync = os.fsync
            recorder.flush()
            assert recorder.written == k + 10
    assert unpacked(files_of(tmp_path)[0]) == text(lines)


def test_behind_a_torn_member_that_cannot_be_cut_off_nothing_is_written(tmp_path, disk):
    def fixed(file, length):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    lines = market(300)
    disk.ftruncate = fixed
    with LineRecorder(tmp_path, "ETHUSDT", flush_s=NEVER) as recorder:
        put_all(recorder, lines[:150])
        recorder.flush()
        whole = recorder.path.read_bytes()
        put_all(recorder, lines[150:])
        disk.write = HalfFull()
        recorder.flush()
        assert (recorder.written, recorder.path) == (150, None)
        disk.write = os.write
        recorder.flush()
        assert (recorder.written, recorder.lost) == (300, 0)
    torn, new = files_of(tmp_path)
    assert len(torn.read_bytes()) > len(whole)
    assert torn.read_bytes().startswith(whole)
    assert readable(torn).startswith(text(lines[:150]))
    assert unpacked(new) == text(lines[150:])


def test_of_too_many_lines_the_oldest_are_given_up_and_counted(tmp_path, disk):
    lines = [(NS + k, b"%05d" % k) for k in range(1_000)]
    disk.write = full
    with LineRecorder(tmp_path, "ETHUSDT", flush_s=NEVER, most_bytes=100 * len(text(lines[:1]))) as recorder:
        for k in range(0, 1_000, 70):
            put_all(recorder, lines[k : k + 70])
            recorder.flush()
            assert recorder.lost == max(0, recorder.lines - 100)
        disk.write = os.write
        recorder.flush()
        assert (recorder.lines, recorder.written, recorder.lost) == (1_000, 100, 900)
        recorder.put(NS + 1_000, b"more")
    (file,) = tmp_path.iterdir()
    assert unpacked(file) == text([*lines[-100:], (NS + 1_000, b"more")])
    assert file.name == f"ETHUSDT-{NS + 900}.gz"


def test_a_line_larger_than_all_that_may_wait_is_lost_and_the_next_one_is_not(tmp_path):
    with LineRecorder(tmp_path, "ETHUSDT", flush_s=NEVER, most_bytes=50) as recorder:
        recorder.put(NS, b"x" * 50)
        recorder.put(NS + 1, b"y")
    assert (recorder.lines, recorder.written, recorder.lost) == (2, 1, 1)
    assert unpacked(files_of(tmp_path)[0]) == text([(NS + 1, b"y")])


def test_what_a_full_disk_never_took_is_lost_with_close(tmp_path, disk):
    disk.write = full
    recorder = LineRecorder(tmp_path, "ETHUSDT", flush_s=NEVER)
    put_all(recorder, market(10))
    recorder.close()
    assert (recorder.lines, recorder.written, recorder.lost) == (10, 0, 10)
    assert os.strerror(errno.ENOSPC) in recorder.last_error
    assert not list(tmp_path.iterdir())


def test_a_fault_that_no_one_thought_of_does_not_end_the_thread(tmp_path, monkeypatch):
    def broken(*_):
        raise MemoryError("no memory to compress with")

    with LineRecorder(tmp_path, "ETHUSDT", flush_s=NEVER) as recorder:
        recorder.put(NS, b"{}")
        with monkeypatch.context() as at:
            at.setattr(module.zlib, "compressobj", broken)
            recorder.flush()
            assert "no memory" in recorder.last_error
        recorder.flush()
        assert (recorder.written, recorder.last_error) == (1, None)


# --- a folder that goes away ---------------------------------------------------------------------------------------


def test_a_vanished_folder_comes_back(tmp_path):
    folder = tmp_path / "a" / "b"
    with LineRecorder(folder, "ETHUSDT", flush_s=NEVER) as recorder:
        for k in range(3):
            shutil.rmtree(tmp_path / "a")
            lines = market(20, start_ns=NS + k * MS)
            put_all(recorder, lines)
            recorder.flush()
            recorder.flush()  # a wake may pass before it is noticed
            assert recorder.last_error is None
            (file,) = folder.iterdir()
            assert file == recorder.path
            assert unpacked(file) == text(lines)
    assert recorder.lost == 0


def test_a_folder_that_cannot_be_made_again_is_waited_for(tmp_path):
    folder = tmp_path / "a"
    with LineRecorder(folder, "ETHUSDT", flush_s=0.01) as recorder:
        folder.rmdir()
        folder.write_bytes(b"in the way")
        recorder.put(NS, b"{}")
        until(lambda: recorder.last_error is not None)
        assert str(folder) in recorder.last_error
        assert (recorder.written, recorder.lost) == (0, 0)
        folder.unlink()
        until(lambda: recorder.written == 1)
        assert recorder.last_error is None
    assert unpacked(files_of(folder)[0]) == text([(NS, b"{}")])


def test_lines_synced_into_a_file_that_was_removed_meanwhile_are_kept(tmp_path, disk):
    folder = tmp_path / "a"

    def gone(file):
        shutil.rmtree(folder)
        os.fsync(file)

    with LineRecorder(folder, "ETHUSDT", flush_s=NEVER) as recorder:
        recorder.put(NS, b"first")
        recorder.flush()
        recorder.put(NS + 1, b"second")
        disk.fsync = gone
        recorder.flush()
        assert recorder.written == 1
        assert recorder.last_error is not None
        disk.fsync = os.fsync
        recorder.flush()
        assert (recorder.written, recorder.last_error) == (2, None)
    assert unpacked(files_of(folder)[0]) == text([(NS + 1, b"second")])


def test_a_file_that_was_moved_away_stays_as_it_is_and_a_new_one_begins(tmp_path):
    folder = tmp_path / "live"
    with LineRecorder(folder, "ETHUSDT", flush_s=NEVER) as recorder:
        recorder.put(NS, b"first")
        recorder.flush()
        moved = recorder.path.rename(tmp_path / "moved.gz")
        recorder.put(NS + 1, b"second")
        recorder.flush()
    assert unpacked(moved) == text([(NS, b"first")])
    assert unpacked(files_of(folder)[0]) == text([(NS + 1, b"second")])


# --- threads -------------------------------------------------------------------------------------------------------


def test_put_does_not_wait_for_the_disk_and_flush_does(tmp_path, disk):
    reached, go_on = threading.Event(), threading.Event()

    def slow(file):
        reached.set()
        assert go_on.wait(20)
        os.fsync(file)

    disk.fsync = slow
    with LineRecorder(tmp_path, "ETHUSDT", flush_s=NEVER) as recorder:
        recorder.put(NS, b"first")
        flushed = threading.Thread(target=recorder.flush)
        flushed.start()
        assert reached.wait(20)
        put_all(recorder, market(1_000, start_ns=NS + MS))
        assert (recorder.lines, recorder.written) == (1_001, 0)
        assert flushed.is_alive()
        go_on.set()
        flushed.join(20)
        assert not flushed.is_alive()
        assert recorder.written >= 1
    assert recorder.written == 1_001


def test_lines_of_many_threads_are_all_there_each_in_its_order(tmp_path):
    recorder = LineRecorder(tmp_path, "ETHUSDT", flush_s=0.001)
    with ThreadPoolExecutor(4) as pool:
        jobs = [
            pool.submit(put_all, recorder, [(NS + k, b"%d %d" % (who, k)) for k in range(3_000)]) for who in range(4)
        ]
        for job in jobs:
            job.result()
    recorder.close()
    assert (recorder.lines, recorder.written, recorder.lost) == (12_000, 12_000, 0)
    got = [tuple(map(int, line.split())) for f in files_of(tmp_path) for line in unpacked(f).splitlines()]
    for who in range(4):
        assert [k for _, by, k in got if by == who] == list(range(3_000))


def test_flush_returns_while_others_go_on_putting(tmp_path, disk):
    with LineRecorder(tmp_path, "ETHUSDT", flush_s=NEVER) as recorder:

        def more(file):  # whenever something is synced there is a next line
            recorder.put(NS + recorder.lines, b"{}")
            os.fsync(file)

        disk.fsync = more
        recorder.put(NS, b"{}")
        flushed = threading.Thread(target=recorder.flush, daemon=True)
        flushed.start()
        flushed.join(5)
        ended = not flushed.is_alive()
        disk.fsync = os.fsync
        assert ended


# --- ends, and what is refused -------------------------------------------------------------------------------------


def test_after_close_nothing_is_written_and_nothing_raised(tmp_path):
    recorder = LineRecorder(tmp_path, "ETHUSDT", flush_s=NEVER)
    recorder.put(NS, b"{}")
    recorder.close()
    recorder.close()
    before = files_of(tmp_path)[0].read_bytes()
    assert recorder.last_error is None
    recorder.put(NS + 1, b"{}")
    recorder.flush()
    recorder.close()
    assert (recorder.lines, recorder.written, recorder.lost) == (2, 1, 1)
    assert "closed" in recorder.last_error
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [before]


def test_without_a_line_there_is_no_file(tmp_path):
    with LineRecorder(tmp_path / "a" / "b", "ETHUSDT", flush_s=0.001) as recorder:
        recorder.flush()
        assert recorder.path is None
    assert list((tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.parametrize(
    ("local_ns", "payload", "says"),
    [
        (0, b"{}", "19 digits"),
        (-NS, b"{}", "19 digits"),
        (10**18 - 1, b"{}", "19 digits"),
        (2**63, b"{}", "19 digits"),
        (10**100, b"{}", "19 digits"),
        (float(NS), b"{}", "float"),
        (None, b"{}", "NoneType"),
        (str(NS), b"{}", "str"),
        (NS, "{}", "str"),
        (NS, None, "NoneType"),
        (NS, 10**9, "int"),
    ],
)
def test_an_unusable_line_is_counted_as_lost_and_never_raised(tmp_path, local_ns, payload, says):
    with LineRecorder(tmp_path, "ETHUSDT", flush_s=NEVER) as recorder:
        recorder.put(local_ns, payload)
        assert says in recorder.last_error
        assert (recorder.lines, recorder.lost) == (1, 1)
        recorder.put(NS, b"good")
        recorder.flush()
        assert (recorder.lines, recorder.written, recorder.lost, recorder.last_error) == (2, 1, 1, None)
    assert unpacked(files_of(tmp_path)[0]) == text([(NS, b"good")])


def test_times_of_nineteen_digits_are_taken(tmp_path):
    lines = [(10**18, b"a"), (np.int64(NS), b"b"), (2**63 - 1, b"c")]
    with LineRecorder(tmp_path, "ETHUSDT", flush_s=NEVER) as recorder:
        put_all(recorder, lines)
    assert (recorder.written, recorder.lost) == (3, 0)
    assert unpacked(files_of(tmp_path)[0]) == text((int(at), b) for at, b in lines)


@pytest.mark.parametrize(
    "wrong",
    [
        *({name: value} for name in ("flush_s", "rotate_s") for value in (0, -1.0, np.inf, np.nan, "1", None, True)),
        *({"most_bytes": value} for value in (0, -1, 1.5, None, True)),
        *({"symbol": value} for value in ("", "ethusdt", "ETH/USDT", "../ETH", "ETH USDT", "ETHUSDT\n", None)),
    ],
    ids=str,
)
def test_a_bad_parameter_is_named_and_no_folder_made(tmp_path, wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        LineRecorder(tmp_path / "new", **{"symbol": "ETHUSDT", **wrong})
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file/live"):
        LineRecorder(tmp_path / "file" / "live", "ETHUSDT")


def test_the_longest_times_are_taken(tmp_path):
    with LineRecorder(str(tmp_path), "1000PEPE_USDT", flush_s=1e300, rotate_s=1e300) as recorder:
        recorder.put(NS, b"{}")
        recorder.flush()
        recorder.put(2 * NS, b"{}")
        recorder.flush()
        assert recorder.written == 2
    assert [p.name for p in tmp_path.iterdir()] == [f"1000PEPE_USDT-{NS}.gz"]


def test_a_feed_that_records_loads_no_numpy():
    code = "import sys, runtime.live.recorder; print('numpy' in sys.modules, 'numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
