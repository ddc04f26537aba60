"""The files of a recorder: their names, when a new one begins, and a folder that goes away."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from runtime.live.recorder import LineRecorder

from ..feature_repo.binance_messages import MS
from .recorder_lines import NEVER, NS, files_of, market, put_all, rows_of, text, unpacked, until

pytest_plugins = ("tests.runtime.recorder_disk",)


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
        until(lambda: (recorder.written, recorder.last_error) == (1, None))  # set one after the other
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
