"""What the flows over whole markets share: which day is judged, which release is the newest, which go together."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path
from threading import Thread

import pytest

from flows.by_market import MarketParameters, judged_day, newest_candidate
from flows.days import MadeDay
from flows.fan_out import Outcome
from flows.market_steps import DayRows, MarketMade, one_at_a_time
from flows.markets import Market
from flows.nightly import NightlyParameters
from flows.outcomes import end_with
from flows.prepare import contracts, prepare
from flows.promote import PromoteParameters, _drift_status
from flows.watch import DriftParameters, Watched, _alarm, _told, _watched_tag, watch
from runtime.release_change import change
from tests.runtime.gate_builders import bundle_folder

pytestmark = pytest.mark.slow  # Prefect is loaded


def market(*days: str, symbol="ETHUSDT", venue="binance_usdm") -> MarketMade:
    rows = tuple(DayRows(day, 10, 10, 1, 1) for day in days or ("2026-01-05",))
    return MarketMade(venue, symbol, False, "tape", "features", "labels", "regular", 1, rows, True)


def test_the_day_that_is_judged_is_the_last_one_that_is_over():
    """A recording that goes on has two hours of the day on which the night runs at 02:00."""
    made = market("2026-01-05", "2026-01-06", "2026-01-07")
    assert judged_day(made, None, today=date(2026, 1, 7)) == date(2026, 1, 6)
    assert judged_day(made, None, today=date(2026, 1, 8)) == date(2026, 1, 7)
    assert judged_day(made, date(2026, 1, 5), today=date(2026, 1, 8)) == date(2026, 1, 5)
    assert judged_day(market("2026-01-07"), None, today=date(2026, 1, 7)) == date(2026, 1, 7)


def release(root: Path, tag: str, at_s: int, **of) -> None:
    facts = {"rollout": None, "venue": "binance_usdm", "symbol": "ETHUSDT"} | of
    os.utime(bundle_folder(root, tag, of=facts) / "manifest.json", (at_s, at_s))


def test_the_newest_candidate_is_one_of_the_contract_that_was_never_rolled_out(tmp_path):
    made = market()
    assert newest_candidate(tmp_path / "nowhere", made) is None
    release(tmp_path, "old", 100)
    release(tmp_path, "new", 200)
    release(tmp_path, "other-symbol", 300, symbol="BTCUSDT")
    release(tmp_path, "other-venue", 300, venue="bybit")
    release(tmp_path, "damaged", 300)
    (tmp_path / "damaged" / "model.onnx").write_bytes(b"")
    change(tmp_path, "operator_promote", at_ns=1, why="a test", tag="old")
    os.utime(tmp_path / "old.shadow" / "manifest.json", (400, 400))
    assert newest_candidate(tmp_path, made) == "new"
    assert newest_candidate(tmp_path, market(symbol="SOLUSDT")) is None


def test_drift_looks_at_what_serves_or_else_at_the_newest_candidate_of_the_contract(tmp_path):
    release(tmp_path, "mine", 100)
    release(tmp_path, "other", 200, symbol="BTCUSDT")
    assert _watched_tag(tmp_path, market()) == "mine"
    assert _watched_tag(tmp_path, market(symbol="SOLUSDT")) is None
    change(tmp_path, "operator_promote", at_ns=1, why="a test", tag="mine")
    assert _watched_tag(tmp_path, market()) == "current"
    (tmp_path / "current").unlink()
    (tmp_path / "current").symlink_to("gone")
    assert _watched_tag(tmp_path, market()) == "current"  # which cannot be read, and the night says so


def test_simulated_data_promote_nothing_unless_it_is_asked_for():
    assert not PromoteParameters().allow_simulated
    assert not NightlyParameters().allow_simulated


def test_several_markets_have_a_folder_each():
    one = MarketParameters(markets=[Market()])
    two = MarketParameters(markets=[Market(), Market(source=Path("raw"))])
    assert one.place(one.out, market()) == Path("reports")
    assert two.place(two.out, market()) == Path("reports/ETHUSDT")


@pytest.fixture
def ingested(monkeypatch):
    """A day of each contract that is asked for."""

    def day(venue, symbol):
        return [MadeDay(venue, symbol, "2026-01-05", "tape", "key", 1, 0, False, (), True)]

    monkeypatch.setattr("flows.prepare.made_days", day)


def test_a_symbol_on_two_venues_is_not_built_twice(ingested):
    """The store knows a window by its symbol and time: one market would be trained on the other's."""
    usdm, spot, btc = (
        Market(source=Path(name), symbol=symbol, venue=venue)
        for name, venue, symbol in (
            ("a", "binance_usdm", "ETHUSDT"),
            ("b", "binance_spot", "ETHUSDT"),
            ("c", "binance_spot", "BTCUSDT"),
        )
    )
    found, refused = contracts(MarketParameters(markets=[usdm, spot, btc]))
    assert list(found) == [("binance_usdm", "ETHUSDT"), ("binance_spot", "BTCUSDT")]
    assert [o.ok for o in refused] == [False]
    assert "ETHUSDT (binance_spot) beside ETHUSDT (binance_usdm). Expected one venue a symbol" in refused[0].error
    again = contracts(MarketParameters(markets=[usdm, usdm]))
    assert (list(again[0]), again[1]) == ([("binance_usdm", "ETHUSDT")], []), "of one contract in two folders, all days"


def test_a_simulated_market_has_the_days_that_it_was_asked_for(monkeypatch):
    there = [
        MadeDay("simulated", "ETHUSDT-SIM", f"2026-01-{d:02}", "tape", "key", 1, 0, True, (), True) for d in range(5, 9)
    ]
    monkeypatch.setattr("flows.prepare.made_days", lambda *_: there)
    (days,) = contracts(MarketParameters(simulated_days=2))[0].values()
    assert [d.day for d in days] == ["2026-01-05", "2026-01-06"]


def watched(status: str) -> Outcome[str, Watched]:
    flagged = ("spread_bps: ALERT, moved", "depth: WARN, moved")
    return Outcome("ETHUSDT", Watched("ETHUSDT", "v", False, "2026-01-05", "tag", status, "page", flagged), None)


@pytest.mark.parametrize(("status", "ended"), [("OK", "COMPLETED"), ("WARN", "COMPLETED"), ("ALERT", "FAILED")])
def test_an_alert_fails_the_flow_with_what_moved(status, ended):
    done = end_with([_alarm(watched("OK")), _alarm(watched(status))], "markets without an alert", _told)
    assert done.type.value == ended
    if status == "ALERT":
        assert "1 of 2 markets without an alert" in done.message
        assert "ALERT on 2026-01-05 (spread_bps): find out why" in done.message


def test_a_market_without_a_release_yet_has_nothing_to_be_compared_with_and_does_not_fail(tmp_path):
    out = tmp_path / "out"
    asked = DriftParameters(day=date(2026, 1, 5), releases=tmp_path, out=out)
    told = watch.fn(market(), asked)
    assert (told.status, told.release, told.path) == ("N/A", "", "")
    done = end_with([_alarm(Outcome("ETHUSDT", told, None))], "markets without an alert", _told)
    assert done.is_completed()
    assert done.message == (
        "1 of 1 markets without an alert (ETHUSDT: N/A on 2026-01-05, no release to compare with yet)"
    )
    assert not out.exists()


def test_a_flow_names_what_failed_and_what_was_done():
    outcomes = [Outcome("a", 1, None), *(Outcome(f"b{k}", None, "no") for k in range(7))]
    ended = end_with(outcomes, "made", lambda v: f"came to {v}")
    assert ended.is_failed()
    assert ended.message.startswith("1 of 8 made (a: came to 1). Failed: b0: no; b1: no;")
    assert ended.message.endswith("and 2 more")
    assert end_with(outcomes[:1], "made").is_completed()


def test_a_drift_report_that_cannot_be_read_is_none(tmp_path):
    place = tmp_path / "drift" / "ETHUSDT" / "2026-01-05"
    place.mkdir(parents=True)
    day = date(2026, 1, 5)
    assert _drift_status(tmp_path, "ETHUSDT", day) is None
    for text in ("{", "[]", "{}"):
        (place / "drift.json").write_text(text)
        assert _drift_status(tmp_path, "ETHUSDT", day) is None
    (place / "drift.json").write_text('{"status": "ALERT"}')
    assert _drift_status(tmp_path, "ETHUSDT", day) == "ALERT"
    assert _drift_status(tmp_path, "ETHUSDT", date(2026, 1, 6)) is None


def test_features_are_not_made_anew_under_a_training_that_reads_them(monkeypatch, tmp_path):
    monkeypatch.setenv("OFI_META_DATA", str(tmp_path))
    order = []
    monkeypatch.setattr("flows.prepare.make_market", lambda days, **_: order.append(days))
    hourly = {name: Thread(target=prepare.fn, args=((("simulated", name), [name]), {})) for name in ("HELD", "FREE")}
    with one_at_a_time("simulated", "HELD"):
        for thread in hourly.values():
            thread.start()
        hourly["FREE"].join(30)
        hourly["HELD"].join(0.3)
        order.append("the training ends")
    hourly["HELD"].join(30)
    assert order == [["FREE"], "the training ends", ["HELD"]]
