"""What a recorder was given is on disk byte for byte: whoever put it, and until it is closed."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from runtime.live.recorder import LineRecorder

from ..feature_repo.binance_messages import MS, trade
from .recorder_lines import (
    NEVER,
    NS,
    PATIENCE_S,
    ROOT,
    files_of,
    market,
    members,
    payload_of,
    put_all,
    rows_of,
    text,
    unpacked,
    until,
)

pytest_plugins = ("tests.runtime.recorder_disk",)


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


def test_put_does_not_wait_for_the_disk_and_flush_does(tmp_path, disk):
    reached, go_on = threading.Event(), threading.Event()

    def slow(file):
        reached.set()
        assert go_on.wait(PATIENCE_S)
        os.fsync(file)

    disk.fsync = slow
    with LineRecorder(tmp_path, "ETHUSDT", flush_s=NEVER) as recorder:
        recorder.put(NS, b"first")
        flushed = threading.Thread(target=recorder.flush)
        flushed.start()
        assert reached.wait(PATIENCE_S)
        put_all(recorder, market(1_000, start_ns=NS + MS))
        assert (recorder.lines, recorder.written) == (1_001, 0)
        assert flushed.is_alive()
        go_on.set()
        flushed.join(PATIENCE_S)
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
        flushed.join(PATIENCE_S)
        ended = not flushed.is_alive()
        disk.fsync = os.fsync
        assert ended


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


def test_a_feed_that_records_loads_no_numpy():
    code = "import sys, runtime.live.recorder; print('numpy' in sys.modules, 'numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
