"""The live shadow against a server that plays a recording: the batch way's rows and decisions, bit for bit."""

from __future__ import annotations

import gzip
import threading
import time
from collections import Counter
from itertools import pairwise

import pytest

from runtime.decision import Reason
from runtime.live.inbox import Inbox
from runtime.live.replay_server import serving

from .live_run import ETHUSDT, NEXOUSDT, assert_rows, assert_same, batch, fast_clock, following, release

pytestmark = pytest.mark.slow


def needs(folder):
    if not folder.is_dir():
        pytest.skip(f"no recording at {folder}")
    return sorted(folder.glob("*.gz"))


@pytest.fixture(scope="module")
def two_minutes(tmp_path_factory):
    """The first two minutes of the ETHUSDT recording: half of them with a valid book that is old enough."""
    lines = b"".join(gzip.decompress(path.read_bytes()) for path in needs(ETHUSDT)).splitlines(keepends=True)
    end = int(lines[0][:19]) + 120_000_000_000
    path = tmp_path_factory.mktemp("recording") / "ethusdt.gz"
    path.write_bytes(gzip.compress(b"".join(line for line in lines if int(line[:19]) < end), 1))
    return path


@pytest.fixture(scope="module")
def ethusdt(tmp_path_factory):
    return release(tmp_path_factory.mktemp("releases"), "binance_usdm", "ETHUSDT")


def test_a_played_recording_gives_the_rows_and_decisions_of_the_batch_way(two_minutes, ethusdt, tmp_path):
    with serving(two_minutes, speed=0) as server, following(server, ethusdt, tmp_path, every=True) as run:
        run.shadow.join(120)
    table, answers = batch(two_minutes, ethusdt, every=True)
    assert_same(run, table, answers)
    reasons = Counter(decision.reason for _, decision, _ in run.decisions)
    assert reasons[Reason.ALLOW] > 100
    assert reasons[Reason.NO_WINDOW] > 100


def test_messages_that_come_late_are_before_the_snapshot_that_was_sent_after_them(
    two_minutes, ethusdt, tmp_path, monkeypatch
):
    """The first ones, read slowly while the snapshot comes by a connection of its own."""
    put, played = Inbox.put, []

    def slow(self, payload, local_ns=None):
        if threading.current_thread().name == "feed" and len(played) < 26:
            played.append(local_ns)
            time.sleep(0.02)
        return put(self, payload, local_ns)

    monkeypatch.setattr(Inbox, "put", slow)
    with serving(two_minutes, speed=0) as server, following(server, ethusdt, tmp_path) as run:
        run.shadow.join(120)
    assert len(played) == 26
    assert_rows(run, batch(two_minutes, ethusdt)[0])


def test_its_own_recording_gives_the_same_again(two_minutes, ethusdt, tmp_path):
    """With the times of this machine's own clock, whatever they were: what is recorded is what was decided on."""
    raw = tmp_path / "raw"
    start_ns = int(gzip.decompress(two_minutes.read_bytes())[:19])
    with (
        serving(two_minutes, speed=20, stamps=False) as server,
        following(
            server, ethusdt, tmp_path, replay=False, every=True, recordings=raw, clock_ns=fast_clock(start_ns, 20)
        ) as run,
    ):
        assert server.wait_done(120)
    table, _ = batch(raw, ethusdt)
    assert_rows(run, table)
    # Not how many were allowed: at this speed a busy machine is market seconds late, and the gate says so.
    assert len(run.decisions) > 1_000


@pytest.mark.long
@pytest.mark.parametrize("venue", ["binance_usdm", "binance_spot"])
def test_a_whole_recording_gives_the_rows_and_decisions_of_the_batch_way(venue, tmp_path):
    """All of ETHUSDT; of NEXOUSDT the first day, which begins in the afternoon."""
    folder, symbol = {"binance_usdm": (ETHUSDT, "ETHUSDT"), "binance_spot": (NEXOUSDT, "NEXOUSDT")}[venue]
    files, bundle = needs(folder)[: 1 if symbol == "NEXOUSDT" else None], release(tmp_path, venue, symbol)
    with serving(files, speed=0) as server, following(server, bundle, tmp_path) as run:
        run.shadow.join(590)
    assert_same(run, *batch(files[0] if symbol == "NEXOUSDT" else folder, bundle))
    assert run.decisions


def test_a_process_that_was_stopped_goes_on_as_if_it_never_had(two_minutes, ethusdt, tmp_path):
    """Stopped between two messages in the middle of a window, in good order; the next one has only its state."""
    lines = gzip.decompress(two_minutes.read_bytes()).splitlines(keepends=True)
    state, rows, market, decisions = tmp_path / "state.npz", [], [], []
    cuts = [0, int(0.8 * len(lines)) + 1, int(0.9 * len(lines)), len(lines)]
    for begin, end in pairwise(cuts):
        part = tmp_path / f"{begin}.txt"
        part.write_bytes(b"".join(lines[begin:end]))
        with (
            serving(part, speed=0) as server,
            following(server, ethusdt, tmp_path, every=True, state=state) as run,
        ):
            run.shadow.join(120)
        assert run.shadow.error is None
        assert bool(run.shadow.resumed) == bool(begin)
        rows += run.rows
        market += run.market
        decisions += run.decisions
    run.rows, run.market, run.decisions = rows, market, decisions
    assert_same(run, *batch(two_minutes, ethusdt, every=True))
