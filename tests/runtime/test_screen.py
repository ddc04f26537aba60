"""A person sees at one glance what the process does, on any terminal and in any log."""

from __future__ import annotations

import io
import math
import re
from dataclasses import replace

import pytest
from rich.console import Console

from runtime.candidate import SigType
from runtime.decision import Reason
from runtime.live.page import NO_ORDERS, render
from runtime.live.screen import Screen, plain_line

from .test_vitals import CANDIDATE, NOW, SECOND, decision, empty, running, troubled


def replaying():
    vitals = running(replay=True, simulated=True, source="in process")
    vitals.feed(connected={})
    return vitals


def crowded():
    """Numbers as wide as they may get, six routes, every reason, names longer than their place."""
    vitals = running(release="a-tag-that-is-much-longer-than-anybody-would-want-it-to-be-but-a-user-may-choose-it")
    vitals.feed(
        connected={f"route-{k}": k > 1 for k in range(6)},
        reconnects=1_234_567,
        gaps=7_654_321,
        snapshots=999_999_999,
        snapshot_failures=123_456_789,
        clock_offset_ns=-12_345_678_901,
        messages={"depth": 10**12},
        last_message_ns=NOW,
    )
    vitals.book(False, NOW - 100_000 * SECOND)
    vitals.recorder(lines=10**13, lost=10**10, now_ns=NOW, error="x" * 300)
    vitals.pushed(123_456.7)
    vitals.push_failed("[bold]not markup[/] \x1b[31m Verbindung verweigert: übermäßig viele " + "y" * 300)
    for reason in Reason:
        for sig_type in SigType:
            candidate = replace(CANDIDATE, sig_type=sig_type, price=123_456.789, ts_ns=10**30)
            vitals.decided(candidate, decision(reason, 1.0), 123_456.7, 12.34)
    return vitals


STATES = {"starting": empty, "running": running, "trouble": troubled, "replay": replaying, "crowded": crowded}


def drawn(vitals, width: int, **options) -> list[str]:
    view = vitals.snapshot(NOW)
    console = Console(width=width, record=True, file=io.StringIO(), legacy_windows=False)
    console.print(render(view, view.health(), **options))
    return console.export_text().splitlines()


@pytest.mark.parametrize("width", [80, 100, 120])
@pytest.mark.parametrize("state", STATES)
def test_every_state_fits_its_screen(state, width):
    lines = drawn(STATES[state](), width)
    assert len(lines) <= 30
    assert max(map(len, lines)) <= width
    framed = [line for line in lines if line[0] in "│┌└"]
    assert all(len(line) == width and line[-1] in "│┐┘" for line in framed)
    first = next(k for k, line in enumerate(lines) if line[0] == "┌")
    assert lines[first:] == framed  # nothing has slipped in between the frames
    assert sum(NO_ORDERS in line for line in lines) == 1


@pytest.mark.parametrize("width", [20, 60, 300])
@pytest.mark.parametrize("state", STATES)
def test_no_width_is_an_error(state, width):
    assert max(map(len, drawn(STATES[state](), width))) <= width


@pytest.mark.parametrize("width", [80, 120])
def test_a_running_process(width):
    text = "\n".join(drawn(running(), width))
    for words in (
        "ETHUSDT binance_usdm",
        "2026-08-01 12:00:00 UTC",
        "release eth-1",
        "profile B, windows from: online store",
        " HEALTHY ",
        "12 s ago",
        "500 /s",
        "-1.23 ms",
        "123,456 lines",
        "40 asked, 10 allowed (25.0%)",
        "cost: P50 25%, P95 25% of the reward",
    ):
        assert words in text
    for pattern in (
        r"public +connected",
        r"book +valid",
        r"gaps +2 ",
        r"reconnects +1 ",
        r"last push +3\.1 ms",
        r"p_below_tau +10 +25\.0% +█+",
        r"P 0 [ ▁▂▃▄▅▆▇█]{20} 1 mean 0\.463 n 20",
        r"E2E, ms +n +P50 +P95 +P99 +budget +within",
        r"momentum +8 +18\.5 +34\.2 +35\.6 +15 +37\.5%",
        r"divergence +8 +19\.5 +35\.2 +36\.6 +50 +100%",
    ):
        assert re.search(pattern, text), pattern
    assert "REPLAY" not in text
    assert "SIMULATED" not in text


def test_the_last_decisions_are_shown_newest_first_and_allowed_ones_stand_out():
    lines = drawn(running(), 80)
    rows = [line for line in lines if re.match(r"│ \d\d:\d\d:\d\d", line)]
    times = [line[2:12] for line in rows]
    assert times[0] == "11:59:59.0"
    assert times == sorted(times, reverse=True)
    allowed = [line for line in rows if "ALLOW" in line]
    assert allowed
    assert all("1,250" in line for line in allowed)
    assert not any("1,250" in line for line in rows if line not in allowed)

    view = running().snapshot(NOW)
    console = Console(width=80, force_terminal=True, color_system="standard", file=io.StringIO(), legacy_windows=False)
    console.print(render(view, view.health()))
    styled = [line for line in console.file.getvalue().splitlines() if re.search(r"\b\d\d:\d\d:\d\d\.\d", line)]
    assert all(("\x1b[1;32m" in line) == ("ALLOW" in line) for line in styled)


@pytest.mark.parametrize(("height", "rows"), [(20, 0), (24, 1), (30, 7), (35, 12), (60, 12)])
def test_a_taller_screen_shows_more_decisions(height, rows):
    lines = drawn(running(), 80, height=height)
    assert sum(bool(re.match(r"│ \d\d:\d\d:\d\d", line)) for line in lines) == rows
    assert len(lines) <= height


def test_a_process_that_starts():
    text = "\n".join(drawn(empty(), 80))
    assert " STARTING " in text
    assert "- no message has come yet." in text
    assert "no release: guards only" in text
    assert "No candidate has come yet." in text
    assert "NOT HEALTHY" not in text


def test_trouble_names_its_reasons_and_counts_the_rest():
    lines = drawn(troubled(), 80)
    assert " NOT HEALTHY " in lines[2]
    assert [line.rstrip() for line in lines[3:8]] == [
        "- No connection: the route market is down.",
        "- The book has not been valid for 100 s.",
        "- 31 recorded lines are lost, the last 3 s ago.",
        "- The recorder failed: [Errno 28] No space left on device.",
        "- and 3 more",
    ]
    text = "\n".join(lines)
    for pattern in (r"market +DOWN", r"book +INVALID 100 s", r"snapshots +3, 2 failed", r"lost +31 lines", "FAILED"):
        assert re.search(pattern, text), pattern


def test_a_single_reason_is_told_in_full_on_as_many_lines_as_it_takes():
    vitals = running()
    vitals.logged("no space left in the folder that the decisions are written to, which is " + "long/" * 18)
    text = "".join(line[2:].rstrip() for line in drawn(vitals, 80)[3:7])
    assert text.count("long/") == 18


def test_a_replay_says_so():
    lines = drawn(replaying(), 80)
    assert "REPLAY" in lines[0]
    assert "SIMULATED" in lines[0]
    assert any("none, replay" in line for line in lines)


def test_what_others_wrote_is_not_taken_for_markup():
    vitals = running()
    vitals.push_failed("[bold]not markup[/nothing]")
    assert any("[bold]not markup[/nothing]" in line for line in drawn(vitals, 80))


@pytest.mark.parametrize("state", STATES)
def test_a_terminal_that_knows_only_ascii(state):
    raw = io.BytesIO()
    view = STATES[state]().snapshot(NOW)
    console = Console(width=80, file=io.TextIOWrapper(raw, "ascii"), force_terminal=True, legacy_windows=False)
    console.print(render(view, view.health()))
    console.file.flush()
    assert raw.getvalue().isascii()
    assert b"momentum" in raw.getvalue()


def test_a_log_that_knows_only_ascii():
    raw, vitals = io.BytesIO(), running()
    vitals.push_failed("déconnecté")
    with Screen(Console(file=io.TextIOWrapper(raw, "ascii"))) as screen:
        view = vitals.snapshot(NOW)
        screen.update(view, view.health())
        screen.console.file.flush()
    assert b"the online store: d?connect?;" in raw.getvalue()


def test_elsewhere_than_on_a_terminal_there_is_a_line_every_ten_seconds():
    file, vitals = io.StringIO(), running()
    with Screen(Console(file=file, width=80)) as screen:
        for k in range(251):
            view = vitals.snapshot(NOW + k * SECOND // 10)
            screen.update(view, view.health())
    lines = file.getvalue().splitlines()
    assert [line[:20] for line in lines] == [f"2026-08-01T12:00:{s}Z" for s in ("00", "10", "20")]
    assert "\x1b" not in file.getvalue()
    assert all(NO_ORDERS in line for line in lines)
    assert "; not healthy: No message for 10 s; " in lines[1]


def test_a_clock_set_back_does_not_silence_the_log():
    file, vitals = io.StringIO(), running()
    with Screen(Console(file=file)) as screen:
        for now_ns in (NOW, NOW - 3_600 * SECOND, NOW - 3_599 * SECOND):
            view = vitals.snapshot(now_ns)
            screen.update(view, view.health())
    assert len(file.getvalue().splitlines()) == 2


def test_the_line_of_a_log():
    view = running().snapshot(NOW)
    assert plain_line(view, view.health()) == (
        "2026-08-01T12:00:00Z ETHUSDT binance_usdm; release eth-1, profile B; healthy; feed age 0.0 ms, "
        "messages 500 /s, book valid, gaps 2, reconnects 1; 40 decisions, 10 allowed, mean P 0.463; "
        "E2E P95 36.2 of 15 ms (liquidation); 123,456 lines recorded, 0 lost; orders are only printed, never placed"
    )


@pytest.mark.parametrize("state", STATES)
def test_a_line_is_one_line_in_every_state(state):
    view = STATES[state]().snapshot(NOW)
    line = plain_line(view, view.health())
    assert line.isprintable()
    assert ("REPLAY" in line, "SIMULATED" in line) == (view.replay, view.simulated)


@pytest.mark.parametrize("state", STATES)
def test_on_a_terminal_it_is_drawn_in_place(state):
    file, vitals = io.StringIO(), STATES[state]()
    console = Console(file=file, force_terminal=True, width=100, height=40, legacy_windows=False)
    with Screen(console) as screen:
        for k in range(3):
            view = vitals.snapshot(NOW + k)
            screen.update(view, view.health())
        screen.console.print("an allowed entry")
    text = file.getvalue()
    assert "an allowed entry" in text
    assert "ETHUSDT" in text
    assert text.endswith("\x1b[?25h")  # the cursor is back


def test_a_p_of_nothing_is_a_dash():
    vitals = running()
    vitals.decided(replace(CANDIDATE, price=0.012345), decision(Reason.EV, math.nan), None)
    row = next(line for line in drawn(vitals, 80) if re.match(r"│ \d\d:\d\d:\d\d", line))
    assert row.split()[1:] == ["12:00:00.0", "momentum", "buy", "0.012345", "-", "ev", "-", "-", "│"]
