"""A recorder that is killed, at any moment or in the middle of a write: what it left holds all that was due."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from feature_repo.market.sources import CUT_OFF
from runtime.live.recorder import LineRecorder

from ..feature_repo.binance_messages import MS, trade
from .recorder_lines import (
    NEVER,
    NS,
    ROOT,
    files_of,
    market,
    members,
    payload_of,
    put_all,
    readable,
    rows_of,
    text,
    unpacked,
    until,
)

_CHILD = """
import os, sys, time
from runtime.live import recorder as module

class Disk:
    # A sync takes 10 ms, however busy the disk is: what a killed process leaves does not depend on it.
    def __getattr__(self, name):
        return getattr(os, name)
    def fsync(self, file):
        time.sleep(0.01)

module.os = Disk()
recorder = module.LineRecorder(sys.argv[1], "ETHUSDT", flush_s=0.05)
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
_AT_ONCE, _TURNS = 200, 450
"""Lines that it puts without a pause, and so many later ones that a line is due: half a second of its own."""


@dataclass
class Killed:
    """One run of a process that was killed: what it put, and the file that it left."""

    lines: list[bytes]  # all but the last, which it may not have come to put
    told: int  # lines that it had been told are written
    last: bytes
    file: Path | None

    @property
    def due(self):
        """Lines that were put half a second before the end, or earlier: a flush each 0.05 s, and syncs.

        Told by the lines that came after them: on a busy machine half a second may pass without the process.
        """
        return len(self.lines) - _TURNS if len(self.lines) >= _AT_ONCE + _TURNS else 0


def kills(folder, log, seed, n):
    rng, out = random.Random(seed), []
    folder.mkdir()
    for _ in range(n):
        before = {p: p.read_bytes() for p in folder.glob("[!.]*")}
        with log.open("wb") as told:
            child = subprocess.Popen([sys.executable, "-c", _CHILD, str(folder)], cwd=ROOT, stdout=told)
        try:
            least = rng.randrange(1, 1_800)
            until(lambda child=child, n=least: log.read_bytes().count(b"\n") >= n or child.poll() is not None)
            time.sleep(rng.uniform(0.0, 0.06))
        finally:
            child.kill()
        assert child.wait() == -9
        after = {p: p.read_bytes() for p in folder.glob("[!.]*")}
        assert {p: after[p] for p in before} == before
        new = [p for p in after if p not in before]
        assert len(new) <= 1
        *whole, _ = log.read_bytes().split(b"\n")
        counts, lines = zip(*(line.split(b" ", 1) for line in whole), strict=True)
        out.append(Killed(list(lines[:-1]), int(counts[-1]), lines[-1], new[0] if new else None))
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
