"""A live process killed with SIGKILL at fifty moments: what it recorded, saved and logged is there, and it goes on.

The recording is played as often as it takes; each time into a new folder. The shadows of one play follow each other:
the server stands still while there is none, and so does their clock. Moments are drawn in the market's time, so that
a slow machine is killed at the same ones.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from feature_repo.constants import SECOND_NS, WINDOW_NS
from feature_repo.errors import InputError
from feature_repo.fields import MARKET_DTYPE
from feature_repo.instruments import instrument
from feature_repo.window import FeatureWindow
from runtime.decision_log import LoggedGate, SeenWindow, find_decision
from runtime.gate import MetaFilter
from runtime.live.replay_server import serving
from runtime.live.saved import load_state
from runtime.signals import SignalDetector

from .gate_builders import bundle_folder, candidate
from .live_child import CLOCK, HELD_UP, RECEIVED, STOP, TOLD, WAITING
from .live_run import InStep, assert_true_to, batch

pytest_plugins = ("tests.runtime.live_recordings",)
pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
KILLS = 50
SPEED = 60
DELAY_S = (0.3, 2.2)
EVERY = 5
"""Of so many windows one is asked about."""
LAST = 0.85
"""Past this share of the recording a shadow lives to its end."""


class Played(InStep):
    """The clock of the shadows is the time of the line that is being played."""

    most = 10

    def __init__(self, times, shared):
        self.times, self.shared = times, shared
        self.progress = lambda: (int(shared[RECEIVED]), int(shared[WAITING]))

    def anew(self):
        """Another shadow."""
        self.shared[[RECEIVED, WAITING, HELD_UP, STOP]] = 0
        self._sent = 0

    def actions(self, n, frame):
        self.shared[CLOCK] = max(self.shared[CLOCK], self.times[n - 1])
        return (frame,)


class Nursery:
    """Where shadows come from, and what they have told."""

    def __init__(self, recording, folder):
        self.told = {}  # number -> (monotonic_ns, local_ns, crc32), in order
        reading, writing = os.pipe()
        command = [sys.executable, "-m", "tests.runtime.live_child", str(writing), str(recording)]
        self.errors = folder / "errors.txt"
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdin=-1, stdout=-1, stderr=errors, text=True, pass_fds=[writing]
            )
        os.close(writing)
        self._thread = threading.Thread(target=self._listen, args=(reading,), daemon=True)
        self._thread.start()
        self.heard()

    def heard(self):
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"no word from the shadows: {self.errors.read_text()}")
        return json.loads(line)

    def begin(self, **told):
        self.process.stdin.write(json.dumps(told) + "\n")
        self.process.stdin.flush()
        return self.heard()

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)
        self._thread.join(30)

    def _listen(self, reading):
        with open(reading, "rb") as pipe:
            while record := pipe.read(TOLD.size):
                number, *what = TOLD.unpack(record)
                self.told.setdefault(number, []).append(what)


def lines_of(path):
    """(local_ns, crc32) of every whole line, up to a torn end."""
    out, data = [], path.read_bytes()
    while data:
        member = zlib.decompressobj(31)
        try:
            text = member.decompress(data)
        except zlib.error:
            break
        if not member.eof:
            break
        out += [(int(line[:19]), zlib.crc32(line[20:])) for line in text.splitlines()]
        data = member.unused_data
    return out


def assert_loads(state):
    window = FeatureWindow(instrument=instrument("binance_usdm", "ETHUSDT"))
    load_state(state, window, SignalDetector("ETHUSDT", window.instrument.tick))


def decisions_of(folder):
    """allow bool [n], market MARKET_DTYPE [n] where there was a window, of all that is logged."""
    files = [f for f in sorted(folder.glob("decisions/*/*.parquet")) if not f.name.startswith(".")]
    tables = [pq.read_table(file, columns=["allow", "market"]) for file in files]
    rows = [row for table in tables for row in table.to_pylist()]
    return np.array([np.frombuffer(r["market"], MARKET_DTYPE)[0] for r in rows if r["allow"]], MARKET_DTYPE), len(rows)


@pytest.mark.long
def test_fifty_kills(whole, bundle, tmp_path):
    draw = np.random.default_rng(7)
    (tmp_path / "shared").write_bytes(bytes(64))
    shared = np.memmap(tmp_path / "shared", np.int64, "r+")
    nursery = Nursery(whole.path, tmp_path)
    seen = Counter()
    worst_s = 0.0
    try:
        play = 0
        while seen["kills"] < KILLS:
            play += 1
            lost_s = _play(whole, bundle, tmp_path / str(play), shared, nursery, draw, seen)
            worst_s = max(worst_s, lost_s)
    finally:
        nursery.close()
    print(dict(seen), f"lost at most {worst_s:.2f} s")
    assert seen["resumed"] > 10
    assert seen["allowed"] > 100
    assert seen["lines"] > 10_000


def _play(part, bundle, folder, shared, nursery, draw, seen):
    """Shadows until the recording is over; gives the worst loss in seconds."""
    folder.mkdir()
    shared[:] = 0
    shared[CLOCK] = part.times[0]
    faults = Played(part.times, shared)
    state, known, worst_s = folder / "state.npz", set(), 0.0
    spans = []  # (first, last) local_ns that is on disk, of each shadow
    with serving(part.path, speed=SPEED, stamps=False, faults=faults) as server:
        where = {"websocket": server.websocket, "rest": server.rest, "streams": list(server.streams)}
        last = False
        while not last:
            last = seen["kills"] == KILLS or server.position > LAST * len(part.times)
            faults.anew()
            had_state = state.exists()
            number = seen["shadows"]
            seen["shadows"] += 1
            begun = nursery.begin(
                number=number,
                server=where,
                bundle=str(bundle),
                folder=str(folder),
                shared=str(shared.filename),
                every=EVERY,
            )
            assert "pid" in begun, begun
            assert bool(begun["resumed"]) == had_state
            seen["resumed"] += had_state
            if last:
                assert server.wait_done(300)
                time.sleep(0.2)
                shared[STOP] = 1
                assert nursery.heard() == {"gone": 0}
                killed_ns = time.monotonic_ns()
            else:
                until_ns = shared[CLOCK] + round(draw.uniform(*DELAY_S) * SPEED * 1e9)
                while shared[CLOCK] < until_ns and not server.wait_done(0.002):
                    os.kill(begun["pid"], 0)  # it lives
                killed_ns = time.monotonic_ns()
                os.kill(begun["pid"], signal.SIGKILL)
                assert nursery.heard() == {"gone": -signal.SIGKILL}
                seen["kills"] += 1

            told = nursery.told.get(number, [])
            files = sorted(set(folder.glob("raw/*.gz")) - known)
            known |= set(files)
            recorded = [line for file in files for line in lines_of(file)]
            # Line by line what came, without a hole: the last ones may be missing.
            assert recorded == [(local_ns, crc) for _, local_ns, crc in told[: len(recorded)]]
            missing = told[len(recorded) :]
            lost_s = max(0.0, (killed_ns - missing[0][0]) / SECOND_NS) if missing else 0.0
            assert lost_s <= 1.0 + shared[HELD_UP] / SECOND_NS, (number, len(missing), begun)
            assert not (last and missing)
            worst_s = max(worst_s, lost_s)
            seen["lines"] += len(recorded)
            seen["missing"] += len(missing)
            if recorded:
                spans.append((recorded[0][0], recorded[-1][0]))
            if state.exists():
                assert_loads(state)
            decisions_of(folder)
    _judge(part, bundle, folder, spans, seen)
    return worst_s


def _judge(part, bundle, folder, spans, seen):
    """All that was allowed was allowed on the true book, and the recordings of all shadows are one that says so."""
    allowed, asked = decisions_of(folder)
    seen["hidden"] += len(list(folder.rglob(".*")))
    seen["asked"] += asked
    seen["allowed"] += len(allowed)
    assert_true_to(part.table, allowed, by_local_time=False)
    table, _ = batch(folder / "raw", bundle)
    valid = set((table.t_ns[table.market["valid"]] // WINDOW_NS).tolist())
    for row in allowed:
        k = int(row["t_ns"]) // WINDOW_NS
        if any(first <= row["t_ns"] - 2 * WINDOW_NS and row["t_ns"] + 2 * WINDOW_NS <= end for first, end in spans):
            seen["checked"] += 1
            assert valid & {k - 1, k, k + 1}, row


def test_half_a_file_of_decisions_is_passed_over(tmp_path):
    """What a kill in the middle of a write leaves beside the files that are whole."""
    asked = candidate()
    release_ = bundle_folder(tmp_path)
    with LoggedGate(MetaFilter.load(release_), SeenWindow(None), tmp_path / "log") as gate:
        gate.allow(asked, asked.ts_ns)
    (whole,) = (tmp_path / "log").glob("*/*.parquet")
    (whole.parent / f".{asked.ts_ns + 1}.x1y2z3.parquet").write_bytes(whole.read_bytes()[:100])
    assert find_decision(tmp_path / "log", "last").candidate == asked
    with pytest.raises(InputError, match="which none of 1 files in"):
        find_decision(tmp_path / "log", "another")
