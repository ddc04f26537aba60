"""What a night decides about the releases: back, up, a candidate into the shadow, or nothing; and that it says why."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date

import pytest

from feature_repo.errors import InputError
from flows.day_trades import DayTrade, keep_trades, kept_trades
from flows.promotion import decide_releases
from runtime.bundle import read_release
from runtime.release_change import change
from runtime.release_state import state
from tests.reports.make_promotable import passing
from tests.runtime.gate_builders import bundle_folder
from tests.runtime.release_folders import EVIDENCE, NOT, PAYS

DAY, NEXT = date(2026, 1, 7), date(2026, 1, 8)
DAY_NS, HOUR_NS = 1_767_744_000_000_000_000, 3_600_000_000_000
NOW_NS = DAY_NS + 30 * HOUR_NS
RUN = passing()["run"]["run_id"]


@pytest.fixture
def place(tmp_path):
    """Two candidates of the run whose metrics lie in out."""
    for k, tag in enumerate(("one", "two")):
        of = {"rollout": None, "metrics": {"run_id": RUN}}
        bundle_folder(tmp_path / "releases", tag, of=of, buckets=EVIDENCE, bias=2.0 + k)
    write(tmp_path / "out", passing())
    return tmp_path


def write(out, metrics):
    out.mkdir(exist_ok=True)
    (out / "metrics.json").write_text(json.dumps(metrics))


def trades(n, bps, *, bucket=PAYS, day_ns=DAY_NS, usd=5_000.0):
    """n trades in the first hours of a day; results alternate about their mean."""
    return [
        DayTrade(day_ns + k * 10**9, day_ns + k * 10**9 + 10**8, str(bucket), bps + (1 if k % 2 else -1), usd)
        for k in range(n)
    ]


def decide(place, **more):
    given = {"candidate": None, "day": None, "trades": None, "drift_status": "OK", "alert": lambda _: None}
    return decide_releases(place / "releases", place / "out", **({"now_ns": NOW_NS} | given | more))


def serve(place, stage, tag="one"):
    """A model that came through the shadow."""
    releases = place / "releases"
    change(releases, "passed", at_ns=1, why="a test", tag=tag)
    if stage != "shadow":
        change(releases, "operator_small_live", at_ns=2, why="a test", tag=tag)
    return state(releases)


def test_a_candidate_that_passes_every_rule_goes_into_the_shadow(place):
    got = decide(place, candidate="two", drift_status="OK")
    assert got.promotion.promoted
    assert (got.before, got.after) == ("nothing", "two.shadow (shadow)")
    assert state(place / "releases").base == "two"
    told = json.loads((place / "out" / "promotion.json").read_text())
    assert (told["promoted"], told["tag"], told["at_ns"]) == (True, "two", NOW_NS)
    assert "two.shadow" in (place / "out" / "index.html").read_text()


def test_the_same_night_again_changes_nothing(place):
    decide(place, candidate="two")
    before = (place / "releases" / "history.jsonl").read_bytes()
    again = decide(place, candidate="two")
    assert again.before == again.after == "two.shadow (shadow)"
    assert (place / "releases" / "history.jsonl").read_bytes() == before
    assert "serves already" in " ".join(again.told)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("kpi", "overfitting"),
        ("drift", "drift"),
        ("no drift report", "drift"),
        ("other run", "another run"),
        ("no file", "metrics.json"),
        ("simulated", "SIMULATED"),
    ],
)
def test_what_does_not_pass_stays_a_candidate_with_the_reason(place, what, said):
    metrics, drift = passing(), "OK"
    if what == "kpi":
        for arm in metrics["kpis"]:
            for row in arm["rows"]:
                if row["key"] == "pbo":
                    row.update(value=0.9, status="FAIL")
    elif what == "drift":
        drift = "ALERT"
    elif what == "no drift report":
        drift = None
    elif what == "other run":
        metrics["run"]["run_id"] = "another"
    elif what == "simulated":
        metrics["simulated"] = True
    write(place / "out", metrics)
    if what == "no file":
        (place / "out" / "metrics.json").unlink()
    got = decide(place, candidate="two", drift_status=drift)
    assert got.after == "nothing"
    assert "stays a candidate" in " ".join(got.told)
    assert said.lower() in " ".join([*got.told, *got.promotion.reasons]).lower()
    assert state(place / "releases") is None


def test_a_live_release_is_not_replaced_by_itself(place):
    serve(place, "small_live")
    got = decide(place, candidate="two")
    assert got.promotion.promoted
    assert got.after == got.before == "one.small-live (small_live)"
    assert "waits" in got.told[-1]


def test_a_release_in_the_shadow_is(place):
    serve(place, "shadow")
    assert decide(place, candidate="two").after == "two.shadow (shadow)"


# --- the day of what serves


def test_a_negative_day_takes_a_live_release_back_and_is_told(place):
    serve(place, "small_live")
    told = []
    got = decide(place, day=DAY, trades=trades(40, -20.0), alert=told.append)
    assert got.after == "one.shadow (shadow)"
    assert "negative day" in got.rolled_back
    assert told[0]["event"] == "rolled back"
    assert state(place / "releases").rolled_back
    # Nobody but an operator brings it up again.
    assert "only an operator" in " ".join(decide(place, candidate="one").told)


def test_a_drawdown_does_so_too(place):
    """6 % of 100,000 USD at a fifth of the size: 2,500 bps of 10,000 USD three times."""
    serve(place, "small_live")
    lost = [replace(t, full_usd=50_000.0) for t in trades(3, -2_500.0)]
    got = decide(place, day=DAY, trades=lost)
    assert "drawdown of 7.5 %" in got.rolled_back


def test_a_few_losses_are_a_negative_day_once_it_is_over(place):
    serve(place, "small_live")
    got = decide(place, day=DAY, trades=trades(5, -20.0))
    assert "negative day, over 5 trades" in got.rolled_back


def test_trades_count_in_the_order_in_which_they_ended(place):
    """-4 %, +9 % and -4 % of the equity: never 6 % below the peak, unless both losses came first."""
    serve(place, "small_live")
    first, last, between = (
        replace(trade, net_bps=bps, full_usd=50_000.0, t_end_ns=DAY_NS + end_h * HOUR_NS)
        for trade, bps, end_h in zip(trades(3, 0.0), (-4_000.0, -4_000.0, 9_000.0), (1, 3, 2), strict=True)
    )
    assert decide(place, day=DAY, trades=[first, last, between]).rolled_back is None
    early = replace(last, t_end_ns=first.t_end_ns + 1)
    assert "drawdown of 8.0 %" in decide(place, day=DAY, trades=[first, early, between]).rolled_back


def test_the_same_loss_in_a_bucket_that_may_not_trade_is_none(place):
    serve(place, "small_live")
    got = decide(place, day=DAY, trades=trades(40, -20.0, bucket=NOT))
    assert got.rolled_back is None
    assert got.after == got.before


def test_a_release_in_the_shadow_has_nothing_to_lose(place):
    serve(place, "shadow")
    got = decide(place, day=DAY, trades=trades(40, -20.0))
    assert got.rolled_back is None
    assert got.after == "one.shadow (shadow)"


def test_steps_are_made_by_the_trades_of_all_days_so_far(place):
    serve(place, "shadow")
    assert decide(place, day=DAY, trades=trades(60, 5.0)).after == "one.shadow (shadow)"
    more = trades(60, 5.0, day_ns=DAY_NS + 24 * HOUR_NS)
    got = decide(place, day=NEXT, trades=more)
    assert got.after == "one.small-live (small_live)"
    assert "120 trades in the shadow" in got.told[-2]
    # The same day again adds nothing to what is known.
    assert len(list(kept_trades(place / "releases", "one"))) == 120


def test_what_the_shadow_traded_is_not_held_against_what_is_live_now(place):
    """Nothing was lost by it; and a night that is run again after its step must not undo it."""
    serve(place, "shadow")
    up = decide(place, day=DAY, trades=trades(100, 30.0))
    assert up.after == "one.small-live (small_live)"
    before_the_step = trades(40, -20.0, day_ns=NOW_NS - 5 * HOUR_NS)
    got = decide(place, day=NEXT, trades=before_the_step, now_ns=NOW_NS + HOUR_NS)
    assert (got.rolled_back, got.after) == (None, up.after)
    since = [replace(t, full_usd=150_000.0) for t in trades(1, -2_500.0, day_ns=NOW_NS + HOUR_NS)]
    assert "drawdown" in decide(place, day=NEXT, trades=since, now_ns=NOW_NS + 20 * HOUR_NS).rolled_back


def test_without_a_release_to_go_back_to_everything_stops(place):
    releases = place / "releases"
    change(releases, "operator_small_live", at_ns=1, why="a test", tag="one")
    got = decide(place, day=DAY, trades=trades(40, -20.0))
    assert "stopped" in got.after
    assert (releases / "KILL").exists()


def test_damaged_trades_are_named(place):
    path = keep_trades(place / "releases", "one", DAY, trades(1, 1.0))
    path.write_text("[{")
    with pytest.raises(InputError, match=r"is no list of trades"):
        list(kept_trades(place / "releases", "one"))


def test_the_run_is_in_the_manifest(place):
    assert read_release(place / "releases" / "two").manifest.metrics["run_id"] == RUN
