"""Clocks that jump: ours, the exchange's and the wall's. Data that seem old, or from the future, are not acted on."""

from __future__ import annotations

import re
import time
from collections import Counter
from pathlib import Path

import pytest

from runtime.decision import Reason
from runtime.live import service
from runtime.live.replay_server import serving
from runtime.live.steady_clock import SteadyClock

from .live_faults import AGE_S, DIGITS, FAULT_S, JUMP_S, During, assert_allowed_but, blind, play, stamped
from .live_run import assert_safe, following

pytest_plugins = ("tests.runtime.live_recordings", "tests.runtime.live_market_time")
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("as_often_in_market_time")]


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
            serving(tmp_path / name, speed=0) as server,
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
    began_ns, before = time.monotonic_ns(), clock()
    monkeypatch.setattr(time, "time_ns", lambda: real() + round(jump_s * 1e9))
    moved_ns = clock() - before
    assert 0 <= moved_ns < time.monotonic_ns() - began_ns + 1e9


def test_nothing_else_of_a_live_process_reads_the_wall_clock():
    files = {path.name for path in Path(service.__file__).parent.glob("*.py") if "time.time" in path.read_text()}
    assert files == {"steady_clock.py", "recorder.py"}  # the latter in an example
