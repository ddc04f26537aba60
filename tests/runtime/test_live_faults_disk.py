"""A disk that is full for a while: no decision waits for it, and nothing is lost."""

from __future__ import annotations

import errno
import os
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from feature_repo.instruments import instrument
from feature_repo.window import FeatureWindow
from runtime import decision_log
from runtime.live import recorder, saved, service
from runtime.live.saved import load_state
from runtime.signals import SignalDetector

from .live_faults import FAULT_S, During, play
from .live_run import assert_safe, batch, said

pytest_plugins = ("tests.runtime.live_recordings", "tests.runtime.live_market_time")
pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.usefixtures("as_often_in_market_time")]


RECORDS = "The recorder failed: [Errno N] No space left on device; recording into"
LOGS = "Decisions are not being written: [Errno N] No space left on device."


def told(run):
    """Whether the health has said both."""
    return RECORDS in str(run.reasons) and LOGS in run.reasons


class Disk:
    """``os`` for the recorder, on a disk that is full at times: half of a write still fits."""

    def __init__(self):
        self.full = False
        self.refused = 0

    def __getattr__(self, name):
        return getattr(os, name)

    def write(self, file, data):
        if not self.full:
            return os.write(file, data)
        if len(data) > 1:
            return os.write(file, data[: len(data) // 2])
        raise self.refusal()

    def refusal(self):
        self.refused += 1
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_holds_up_no_decision_and_loses_nothing(part, bundle, tmp_path, monkeypatch):
    """Recording, decisions and state: all of it for 30 s."""
    disk, state, kept, saving = Disk(), tmp_path / "state.npz", [], threading.Lock()
    write_table, savez, save_state = pq.write_table, np.savez, service.save_state

    def write_some(table, path, **options):
        if disk.full:
            Path(path).write_bytes(b"PAR1 and no more")
            raise disk.refusal()
        write_table(table, path, **options)

    def save_some(file, **arrays):
        if disk.full:
            file.write(b"PK and no more")
            raise disk.refusal()
        savez(file, **arrays)

    def save_alone(path, arrays):
        with saving:
            save_state(path, arrays)

    monkeypatch.setattr(recorder, "os", disk)
    monkeypatch.setattr(decision_log.pq, "write_table", write_some)
    monkeypatch.setattr(saved.np, "savez", save_some)
    monkeypatch.setattr(service, "save_state", save_alone)
    end = part.line(FAULT_S + 30)

    def do(n, frame):
        if n == end:
            yield from faults.until(lambda run: disk.refused >= 3 and told(run))
        if n in (first, end):
            with saving:  # not in the middle of one
                kept.append(state.read_bytes())
                disk.full = n == first
        yield frame

    first = part.line(FAULT_S)
    faults = During(part, FAULT_S, FAULT_S + 31, do)
    run = play(part, bundle, tmp_path, faults, state=state, save_s=0.1)
    at = assert_safe(run, part, tmp_path / "raw", bundle)
    assert [said(*decision) for decision in run.decisions] == batch(part.path, bundle, every=1)[1]
    assert (at > FAULT_S).sum() > 100
    print(disk.refused, run.reasons)
    assert disk.refused >= 3
    assert told(run)

    assert run.shadow._recorder.lost == run.shadow._gate.lost == 0
    logged = [pq.read_table(file) for file in sorted((tmp_path / "decisions").glob("*/*.parquet"))]
    ids = Counter(id_ for table in logged for id_ in table["id"].to_pylist())
    assert len(ids) == ids.total() == len(run.decisions)
    assert sum(sum(table["allow"].to_pylist()) for table in logged) == len(at)
    assert list(tmp_path.rglob(".*")) == []

    before, after = kept
    assert before == after  # the state of before the fault
    for content in (after, state.read_bytes()):
        (tmp_path / "some.npz").write_bytes(content)
        window = FeatureWindow(instrument=instrument("binance_usdm", "ETHUSDT"))
        load_state(tmp_path / "some.npz", window, SignalDetector("ETHUSDT", window.instrument.tick))
    assert window.as_of_ns == run.market[-1]["t_ns"]
