"""A disk that does not take what a recorder writes: it is tried again, whole, and what is given up is counted."""

from __future__ import annotations

import errno
import os

import pytest

from runtime.live import recorder as module
from runtime.live.recorder import LineRecorder

from ..feature_repo.binance_messages import MS
from .recorder_lines import NEVER, NS, files_of, market, members, put_all, readable, rows_of, text, unpacked, until

pytest_plugins = ("tests.runtime.recorder_disk",)


def full(file, data):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class HalfFull:
    """Half the bytes of the first write, then nothing more."""

    def __init__(self):
        self.calls = 0

    def __call__(self, file, data):
        self.calls += 1
        return os.write(file, data[: len(data) // 2]) if self.calls == 1 else full(file, data)


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
        until(lambda: (recorder.written, recorder.last_error) == (1, None))  # set one after the other
        assert len(tries) == 4


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
