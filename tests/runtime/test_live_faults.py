"""What goes wrong with a feed, its clock and its disk: nothing is allowed on a wrong book, and nothing is lost.

Each against a server that plays a real recording and does the wrong thing 130 s after its beginning. The gate is asked
at every window. The outcomes are the table of docs/reliability.md.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from feature_repo.constants import ENGINE, SECOND_NS
from feature_repo.errors import InputError
from feature_repo.instruments import instrument
from feature_repo.window import FeatureWindow
from runtime import decision_log
from runtime.decision import Reason
from runtime.live import recorder, saved, service
from runtime.live.feed import Feed
from runtime.live.inbox import Inbox
from runtime.live.replay_faults import Hang, Hangup, Pause, RestFault, Skip
from runtime.live.replay_server import serving
from runtime.live.saved import load_state
from runtime.live.steady_clock import SteadyClock
from runtime.signals import SignalDetector

from .live_run import InStep, assert_safe, batch, following, said

pytest_plugins = ("tests.runtime.live_recordings",)
pytestmark = pytest.mark.slow

FAULT_S = 130.0
SOON_S = 80.0
"""In the two minutes."""
SPEED = 40
"""Of a replay in which connections and snapshots take real time: at most so much of the market's passes meanwhile."""
LEAST_S = 0.1
"""Between two requests for a snapshot."""
AGE_S = 1.2
"""The guard lets data of the last second pass; up to two windows of 0.1 s less or more."""
JUMP_S = 5.0
DIGITS = 19


@pytest.fixture(autouse=True)
def _as_often_in_market_time(monkeypatch):
    monkeypatch.setattr(service, "_TOLD_S", service._TOLD_S / SPEED)
    monkeypatch.setattr(service, "Snapshots", partial(service.Snapshots, least_s=LEAST_S))


@pytest.fixture(scope="module")
def answers(short, bundle):
    """What the gate says of the undamaged two minutes."""
    return batch(short.path, bundle, every=1)[1]


class During(InStep):
    """Frames of a span of the recording are what ``do(n, frame)`` makes of them."""

    def __init__(self, part, begin_s, end_s, do):
        self.first, self.end, self.do = part.line(begin_s), part.line(end_s), do

    def actions(self, n, frame):
        return self.do(n, frame) if self.first <= n < self.end else (frame,)


def once(part, *actions):
    """Some actions before the first frame of the fault."""
    return During(
        part, FAULT_S, FAULT_S + 1, lambda n, frame: [*actions, frame] if n == part.line(FAULT_S) else [frame]
    )


def play(part, bundle, folder, faults, *, speed=SPEED, **options):
    with (
        serving(part.path, speed=speed, faults=faults) as server,
        following(server, bundle, folder, every=True, watched=True, recordings=folder / "raw", **options) as run,
    ):
        faults.progress = run.progress
        run.shadow.join(500)
    return run


def blind(run, part):
    """(begin, end) in seconds of the spans without a valid row, after the first valid one."""
    t, valid = part.seconds(np.array([row["t_ns"] for row in run.market])), np.array([r["valid"] for r in run.market])
    edges = np.flatnonzero(np.diff(valid.astype(int)))[1:] + 1
    return [(t[a], t[b]) for a, b in zip(edges[::2], [*edges[1::2], len(t) - 1], strict=False)]


def assert_blind_once(run, part, at, *, at_least_s=ENGINE.warm_up_s):
    """Valid, then not, then valid again: allowed before and after it, and not meanwhile."""
    ((begin, end),) = blind(run, part)
    print(f"blind from {begin:.1f} to {end:.1f}: {end - begin:.1f} s")
    assert FAULT_S <= begin < FAULT_S + 1
    assert end - begin >= at_least_s
    assert_allowed_but(at, begin, end)


def assert_allowed_but(at, begin, end):
    """More than a hundred times before and after a span, and never in it."""
    assert (at < begin).sum() > 100
    assert (at > end).sum() > 100
    assert ((at >= begin) & (at <= end)).sum() == 0


# ------------------------------------------------------------------------------------------------------ connection


@pytest.mark.long
def test_a_connection_that_drops_is_opened_again_and_the_book_fetched_anew(part, bundle, tmp_path):
    run = play(part, bundle, tmp_path, once(part, Hangup(), Skip(800)))
    assert_blind_once(run, part, assert_safe(run, part, tmp_path / "raw", bundle))
    assert run.view.reconnects == 1
    assert "No connection: the route all is down." in run.reasons


@pytest.mark.long
def test_a_connection_that_says_nothing_is_given_up(part, bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(service, "Feed", partial(service.Feed, silence_s=3.0))
    run = play(part, bundle, tmp_path, once(part, Pause(7.0)))
    assert_blind_once(run, part, assert_safe(run, part, tmp_path / "raw", bundle))
    assert 1 <= run.view.reconnects <= 3
    assert "No connection: the route all is down." in run.reasons


def test_a_process_that_is_told_to_end_waits_for_nobody(short):
    """With messages on their way that nobody will read: the venue's answer to a close is behind them."""
    inbox = Inbox(time.time_ns)
    with serving(short.path, speed=0, stamps=False, snapshot_wait_s=0) as server:
        feed = Feed({"all": f"{server.websocket}/stream?streams={'/'.join(server.streams)}"}, inbox)
        feed.start()
        while not len(inbox):
            time.sleep(0.005)
        began = time.monotonic()
        feed.close()
        assert time.monotonic() - began < 5.0  # of the ten seconds that the library waits by itself


# ---------------------------------------------------------------------------------------------------------- messages


def losing(part):
    """Every tenth depth message and every third trade of three seconds."""
    seen = Counter()

    def do(n, frame):
        for kind, each in ((b"@depth", 10), (b"@trade", 3)):
            if kind in frame[:60]:
                seen[kind] += 1
                return [frame] if seen[kind] % each else []
        return [frame]

    return During(part, FAULT_S, FAULT_S + 3, do)


def swapping(part, kind, times):
    """A message of a kind comes behind the next one of its kind, so many times."""
    kept, left = [], [times]

    def do(n, frame):
        if kind not in frame[:60] or not left[0]:
            return [frame]
        if not kept:
            kept.append(frame)
            return []
        left[0] -= 1
        return [frame, kept.pop()]

    return During(part, FAULT_S, FAULT_S + 20, do)


@pytest.mark.long
def test_lost_messages_cost_the_book_until_a_snapshot(part, bundle, tmp_path):
    run = play(part, bundle, tmp_path, losing(part))
    assert_blind_once(run, part, assert_safe(run, part, tmp_path / "raw", bundle))
    assert run.view.gaps >= 1
    assert run.view.reconnects == 0


@pytest.mark.long
def test_depth_messages_in_the_wrong_order_cost_the_book_until_a_snapshot(part, bundle, tmp_path):
    run = play(part, bundle, tmp_path, swapping(part, b"@depth", 2))
    assert_blind_once(run, part, assert_safe(run, part, tmp_path / "raw", bundle))
    assert run.view.gaps >= 1


@pytest.mark.long
def test_trades_in_the_wrong_order_leave_the_book_alone(part, bundle, tmp_path):
    run = play(part, bundle, tmp_path, swapping(part, b"@trade", 60), speed=0)
    at = assert_safe(run, part, tmp_path / "raw", bundle)
    assert blind(run, part) == []
    assert (at > FAULT_S).sum() > 100
    assert run.shadow._reader.parser.bad_rows == {"trade: duplicate id": 60}


@pytest.mark.long
def test_trades_that_are_missing_leave_the_book_alone(part, bundle, tmp_path):
    """As when the connection of the trades alone is down: only what is made of trades is wrong, and nobody is told."""
    lost = During(part, FAULT_S, FAULT_S + 30, lambda n, frame: [] if b"@trade" in frame[:60] else [frame])
    run = play(part, bundle, tmp_path, lost, speed=0)
    at = assert_safe(run, part, tmp_path / "raw", bundle)
    assert blind(run, part) == []
    assert ((at > FAULT_S) & (at < FAULT_S + 30)).sum() > 50
    assert run.shadow._reader.parser.trade_ids_missing > 100


def test_messages_that_come_twice_change_nothing(short, bundle, answers, tmp_path):
    run = play(short, bundle, tmp_path, During(short, SOON_S, SOON_S + 1, lambda n, frame: [frame] * 2), speed=0)
    at = assert_safe(run, short, tmp_path / "raw", bundle)
    assert [said(*decision) for decision in run.decisions] == answers
    assert (at > SOON_S).sum() > 100
    assert sum(run.shadow._reader.parser.bad_rows.values()) > 20


RUBBISH = (
    b"",
    b"null",
    b"[]",
    b'[{"e":"depthUpdate"}]',
    b'"ethusdt@depth"',
    b"1e999",
    b"[" * 5_000,
    bytes(range(1, 256)) * 3,
    b'{"stream":"ethusdt@depth@0ms","data":{"e":"depthUpdate","E":17213470225',
    b'{"stream":"ethusdt@depth@0ms","data":[]}',
    b'{"stream":["ethusdt@depth"],"data":{}}',
    b'{"stream":"ethusdt@trade","data":{"e":"trade","T":1' + b"0" * 400 + b"}}",
    b'{"e":"trade","E":1721347152000,"T":1721347152000,"s":"ETHUSDT","t":99999999999,"p":"1e400","q":"1","m":true}',
    b'{"e":"trade","E":1721347152000,"T":1721347152000,"s":"ETHUSDT","t":99999999999,"p":"NaN","q":"1","m":true}',
    b'{"e":"depthUpdate","E":1721347152000,"T":1721347152000,"s":"DOGEUSDX","U":1,"u":2,"pu":0,"b":[],"a":[]}',
    b'{"e":"depthUpdate","E":1,"T":1,"s":"ETHUSDT","U":1,"u":2,"pu":0,"b":[],"a":[]}',
    b'{"e":"surprise","E":1721347152000}',
    b'{"result":null,"id":1}',
)


def test_messages_that_are_no_messages_change_nothing(short, bundle, answers, tmp_path):
    """No JSON, no object, numbers without end, another symbol: beside the true messages."""
    first = short.line(SOON_S)

    def do(n, frame):
        extra = RUBBISH[n % len(RUBBISH)]
        return [frame, frame[: DIGITS + 1] + extra] if n < first + 2 * len(RUBBISH) else [frame]

    run = play(short, bundle, tmp_path, During(short, SOON_S, SOON_S + 20, do), speed=0)
    at = assert_safe(run, short, tmp_path / "raw", bundle)
    assert [said(*decision) for decision in run.decisions] == answers
    assert (at > SOON_S).sum() > 100
    assert sum(run.shadow._reader.parser.bad_rows.values()) == 2 * (len(RUBBISH) - 1)  # an acknowledgement is good


@pytest.mark.long
def test_a_depth_message_cut_short_costs_the_book_until_a_snapshot(part, bundle, tmp_path):
    cut = []

    def do(n, frame):
        if cut or b"@depth" not in frame[:60]:
            return [frame]
        cut.append(n)
        return [frame[: len(frame) // 2]]

    run = play(part, bundle, tmp_path, During(part, FAULT_S, FAULT_S + 1, do))
    assert_blind_once(run, part, assert_safe(run, part, tmp_path / "raw", bundle))
    assert run.shadow._reader.parser.bad_rows == {"the message is no JSON": 1}


@pytest.mark.long
def test_a_message_of_another_known_contract_ends_the_process_with_a_sentence(part, bundle, tmp_path):
    other = (
        b'{"e":"trade","E":1721347152000,"T":1721347152000,"s":"BTCUSDT","t":9999999999,"p":"64000","q":"1","m":true}'
    )
    run = play(part, bundle, tmp_path, once(part, b"%d %b" % (part.times[part.line(FAULT_S)], other)), speed=0)
    assert isinstance(run.shadow.error, InputError)
    assert "'BTCUSDT' after 'ETHUSDT'" in str(run.shadow.error)
    at = part.seconds(run.allowed()["t_ns"])
    assert len(at) > 100
    assert at.max() <= FAULT_S


# ------------------------------------------------------------------------------------------------------------- stalls


def stamped(frame, ns):
    return b"%d%b" % (ns, frame[DIGITS:])


@pytest.mark.long
@pytest.mark.parametrize(("begin_s", "stall_s"), [(FAULT_S, 30.0), (100.0, 65.0)])
def test_messages_that_come_late_in_a_burst_are_too_old_to_act_on(part, bundle, tmp_path, begin_s, stall_s):
    end = part.line(begin_s + stall_s)
    late = During(part, begin_s, begin_s + stall_s, lambda n, frame: [stamped(frame, part.times[end - 1])])
    run = play(part, bundle, tmp_path, late, speed=0)
    at = assert_safe(run, part, tmp_path / "raw", bundle, by_local_time=False)
    # After a minute without a message the book is not trusted, and is new with the next one.
    silent = stall_s >= ENGINE.silence_s
    spans = blind(run, part)
    print(spans)
    assert len(spans) == silent
    until = spans[0][1] if silent else begin_s + stall_s
    assert_allowed_but(at, begin_s + AGE_S, until)
    assert until - begin_s >= stall_s + silent * ENGINE.warm_up_s


class Stall(During):
    """The clock is the time of the line being played, and goes on for 30 s without one."""

    most = 5

    def __init__(self, part):
        super().__init__(part, FAULT_S, FAULT_S + 30, None)
        self.times, self.now_ns = part.times, int(part.times[0])

    def actions(self, n, frame):
        if n == self.first:
            for _ in range(60):
                self.now_ns += SECOND_NS // 2
                yield Pause(0.02)
        self.now_ns = max(self.now_ns, int(self.times[n - 1]))
        yield frame


@pytest.mark.long
def test_nothing_for_30_s_and_then_all_of_it(part, bundle, tmp_path):
    """By the clock of the process, which goes on meanwhile; the times are those at which messages came."""
    faults, raw = Stall(part), tmp_path / "raw"
    with (
        serving(part.path, speed=0, stamps=False, faults=faults) as server,
        following(
            server,
            bundle,
            tmp_path,
            replay=False,
            every=True,
            watched=True,
            recordings=raw,
            clock_ns=lambda: faults.now_ns,
        ) as run,
    ):
        faults.progress = run.progress
        assert server.wait_done(500)
        while run.progress()[0] < server.sent or run.progress()[1]:
            time.sleep(0.01)
    at = assert_safe(run, part, raw, bundle, by_local_time=False)
    assert blind(run, part) == []
    assert_allowed_but(at, FAULT_S + 0.1, FAULT_S + 30)
    assert "No message for N s." in run.reasons


# ---------------------------------------------------------------------------------------------------------- snapshots


class NoSnapshot(During):
    """The connection drops, and some requests for a snapshot fail from then on."""

    def __init__(self, part, fault, times):
        super().__init__(part, FAULT_S, FAULT_S + 1, self.drop)
        self.fault, self.times, self.left, self.asked = fault, times, 0, []

    def drop(self, n, frame):
        if n != self.first:
            return [frame]
        self.left = self.times
        return [Hangup(), frame]

    def on_request(self, k):
        if not self.left and not self.asked:
            return None
        self.asked.append(time.monotonic())
        self.left -= self.left > 0
        return self.fault if len(self.asked) <= self.times else None


@pytest.mark.long
@pytest.mark.parametrize(
    ("fault", "times", "failures"),
    [
        pytest.param(RestFault(500, b'{"code":-1000,"msg":"An unknown error occurred."}'), 3, 3, id="status 500"),
        pytest.param(RestFault(418, b"{}", {"Retry-After": "1"}), 1, 1, id="banned for a second"),
        pytest.param(RestFault(200, b'{"lastUpdateId":49840283867'), 2, 2, id="broken JSON"),
        pytest.param(RestFault(200, b'{"code":-1121,"msg":"Invalid symbol."}'), 2, 2, id="no snapshot"),
        pytest.param(RestFault(200, b'{"lastUpdateId":"x","bids":[],"asks":[]}'), 2, 0, id="a damaged snapshot"),
        pytest.param(Hang(9.0), 2, 2, id="no answer"),
    ],
)
def test_a_snapshot_that_fails_is_asked_for_again(part, bundle, tmp_path, monkeypatch, fault, times, failures):
    if isinstance(fault, Hang):
        monkeypatch.setattr(service, "Snapshots", partial(service.Snapshots, timeout_s=0.5))
    faults = NoSnapshot(part, fault, times)
    run = play(part, bundle, tmp_path, faults)
    assert_blind_once(run, part, assert_safe(run, part, tmp_path / "raw", bundle))
    print(run.reasons, np.diff(faults.asked))
    assert run.view.snapshot_failures >= failures
    assert len(faults.asked) > times
    # Each wait is twice the one before; a ban is kept to.
    least = [1.0] if "Retry-After" in getattr(fault, "headers", ()) else [LEAST_S * 2**k for k in range(times)]
    if failures:
        assert (np.diff(faults.asked)[:times] >= least).all()
    if times == 5:
        assert "The book has not been valid for N s." in run.reasons


# ------------------------------------------------------------------------------------------------------------- clocks


def moved(frame, seconds):
    return stamped(frame, int(frame[:DIGITS]) + round(seconds * 1e9))


_MS = re.compile(rb'"([ET])":(\d{13})')


def dated(frame, seconds):
    """The same with other exchange times."""
    return _MS.sub(lambda m: b'"%b":%d' % (m[1], int(m[2]) + round(seconds * 1e3)), frame)


@pytest.mark.long
@pytest.mark.parametrize("jump_s", [JUMP_S, -JUMP_S])
def test_a_local_clock_that_jumps_for_ten_seconds(part, bundle, tmp_path, jump_s):
    """What this machine's own clock cannot do: see ``test_a_wall_clock_that_is_set_moves_nothing``."""
    faults = During(part, FAULT_S, FAULT_S + 10, lambda n, frame: [moved(frame, jump_s)])
    run = play(part, bundle, tmp_path, faults, speed=0)
    at = assert_safe(run, part, tmp_path / "raw", bundle, by_local_time=False)
    print(at[(at > FAULT_S - 1) & (at < FAULT_S + 17)])
    last = FAULT_S + 10 + max(0.0, jump_s)  # held there until the clock is past it
    begin, end = (FAULT_S + AGE_S, last - 0.1) if jump_s > 0 else (FAULT_S + 0.1, last - AGE_S)
    assert_allowed_but(at, begin, end)
    assert blind(run, part) == []


@pytest.mark.long
@pytest.mark.parametrize("jump_s", [JUMP_S, -JUMP_S])
def test_a_local_clock_that_stays_wrong_denies_for_good(part, bundle, tmp_path, jump_s):
    faults = During(part, FAULT_S, 1e3, lambda n, frame: [moved(frame, jump_s)])
    run = play(part, bundle, tmp_path, faults, speed=0)
    at = assert_safe(run, part, tmp_path / "raw", bundle, by_local_time=False)
    assert len(at) > 100
    assert at.max() <= FAULT_S + AGE_S
    late = Counter(d.reason for c, d, _ in run.decisions if part.seconds(c.ts_ns) > FAULT_S + AGE_S)
    print(late)
    assert late[Reason.DATA_AGE] > 500


@pytest.mark.long
@pytest.mark.parametrize("jump_s", [JUMP_S, -JUMP_S])
def test_exchange_times_that_jump_are_too_far_from_ours(part, bundle, tmp_path, jump_s):
    faults = During(part, FAULT_S, FAULT_S + 10, lambda n, frame: [dated(frame, jump_s)])
    run = play(part, bundle, tmp_path, faults, speed=0)
    at = assert_safe(run, part, tmp_path / "raw", bundle)
    print(at[(at > FAULT_S - 1) & (at < FAULT_S + 17)])
    assert_allowed_but(at, FAULT_S + 0.2, FAULT_S + 9.9)
    assert blind(run, part) == []


@pytest.mark.long
@pytest.mark.parametrize("jump_s", [JUMP_S, -JUMP_S])
def test_a_wall_clock_that_was_set_between_two_starts_denies_for_good(part, bundle, tmp_path, jump_s):
    """The saved state knows how far the old clock was from the exchange's."""
    lines, cut = part.path.read_bytes().splitlines(keepends=True), part.line(FAULT_S) - 1
    allowed = []
    for name, some in (("before", lines[:cut]), ("after", [moved(line, jump_s) for line in lines[cut:]])):
        (tmp_path / name).write_bytes(b"".join(some))
        with (
            serving(tmp_path / name, speed=0, snapshot_wait_s=5) as server,
            following(server, bundle, tmp_path, every=True, state=tmp_path / "state.npz") as run,
        ):
            run.shadow.join(500)
        assert run.shadow.error is None
        assert bool(run.shadow.resumed) == (name == "after")
        allowed.append(len(run.allowed()))
    assert allowed[0] > 100
    assert allowed[1] <= 10  # none but in the first second
    assert run.view.by_reason[Reason.DATA_AGE] > 500
    assert run.view.health() == (True, [])


@pytest.mark.parametrize("jump_s", [JUMP_S, -JUMP_S])
def test_a_wall_clock_that_is_set_moves_nothing(monkeypatch, jump_s):
    clock, real = SteadyClock(), time.time_ns
    before = clock()
    monkeypatch.setattr(time, "time_ns", lambda: real() + round(jump_s * 1e9))
    assert 0 <= clock() - before < 1e9


def test_nothing_else_of_a_live_process_reads_the_wall_clock():
    files = {path.name for path in Path(service.__file__).parent.glob("*.py") if "time.time" in path.read_text()}
    assert files == {"steady_clock.py", "recorder.py"}  # the latter in an example


# --------------------------------------------------------------------------------------------------------------- disk


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


@pytest.mark.long
def test_a_full_disk_holds_up_no_decision_and_loses_nothing(part, bundle, tmp_path, monkeypatch):
    """Recording, decisions and state: all of it for 30 s."""
    disk, state, kept = Disk(), tmp_path / "state.npz", []
    write_table, savez = pq.write_table, np.savez

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

    monkeypatch.setattr(recorder, "os", disk)
    monkeypatch.setattr(decision_log.pq, "write_table", write_some)
    monkeypatch.setattr(saved.np, "savez", save_some)
    end = part.line(FAULT_S + 30)

    def do(n, frame):
        if n in (first, end):
            disk.full = n == first
            kept.append((disk.refused, state.read_bytes()))
        return [frame]

    first = part.line(FAULT_S)
    run = play(part, bundle, tmp_path, During(part, FAULT_S, FAULT_S + 31, do), state=state, save_s=0.1)
    at = assert_safe(run, part, tmp_path / "raw", bundle)
    assert [said(*decision) for decision in run.decisions] == batch(part.path, bundle, every=1)[1]
    assert (at > FAULT_S).sum() > 100
    print(disk.refused, run.reasons)
    assert disk.refused >= 3
    assert "The recorder failed: [Errno N] No space left on device; recording into" in str(run.reasons)
    assert "Decisions are not being written: [Errno N] No space left on device." in run.reasons

    assert run.shadow._recorder.lost == run.shadow._gate.lost == 0
    logged = [pq.read_table(file) for file in sorted((tmp_path / "decisions").glob("*/*.parquet"))]
    ids = Counter(id_ for table in logged for id_ in table["id"].to_pylist())
    assert len(ids) == ids.total() == len(run.decisions)
    assert sum(sum(table["allow"].to_pylist()) for table in logged) == len(at)
    assert list(tmp_path.rglob(".*")) == []

    (_, before), (_, after) = kept
    assert before == after  # the state of before the fault
    for content in (after, state.read_bytes()):
        (tmp_path / "some.npz").write_bytes(content)
        window = FeatureWindow(instrument=instrument("binance_usdm", "ETHUSDT"))
        load_state(tmp_path / "some.npz", window, SignalDetector("ETHUSDT", window.instrument.tick))
    assert window.as_of_ns == run.market[-1]["t_ns"]
