"""What the drift report says of a day: nothing of one that is as the training span, and the fault by name otherwise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from feature_repo.fields import CHANNELS
from reports.drift import ALERT, LIMITS, NA, OK, WARN, Decided, DriftCheck, Quality, Rows, drift_checks
from reports.drift.check import graded, worst
from reports.drift.features import feature_drift
from reports.drift.model import model_checks, probability_check, rolling
from reports.drift.trading import cost_checks, data_checks, latency_checks, rejection_checks
from reports.drift_file import GROUPS
from reports.records import REASONS
from runtime.decision import Reason
from runtime.quality import brier
from tests.reports import make
from tests.reports.drift_plants import CHANNEL_PLANTS, MODEL_PLANTS, planted
from tests.reports.make_drift import CVD, OFI, drift_input, with_channel

pytestmark = pytest.mark.slow  # Evidently alone takes seconds to load

UNCHANGED = range(6)


@pytest.fixture(scope="module")
def day():
    return drift_input(1)


@pytest.fixture(scope="module")
def said(day):
    return drift_checks(day)


def features_of(inputs):
    return {c.name: c for c in feature_drift(inputs, LIMITS).checks}


def by_name(checks):
    return {c.name: c for c in checks}


def test_days_that_are_made_as_the_one_before_are_no_alert():
    """A made-up market, six seeds: one is let pass. Simulated markets are measured by drift_measured."""
    found = [worst(feature_drift(drift_input(seed, n=2_000), LIMITS).checks) for seed in UNCHANGED]
    assert found.count(ALERT) <= 1, found


def test_every_check_is_there_in_the_order_of_the_groups(said):
    checks = said
    assert [c.group for c in checks] == sorted((c.group for c in checks), key=GROUPS.index)
    assert {c.group for c in checks} == set(GROUPS)
    assert [c.name for c in checks[:24]] == list(CHANNELS)
    assert len({(c.group, c.name) for c in checks}) == len(checks)
    assert not [c for c in checks if c.status == ALERT]


@pytest.mark.parametrize("plant", CHANNEL_PLANTS)
@pytest.mark.parametrize("name", ["ofi_z", "spread_bps", "microprice_dev_bps"])
def test_a_spoiled_channel_is_an_alert_that_names_it(day, plant, name):
    found = feature_drift(planted(day, CHANNELS.index(name), plant), LIMITS).checks
    loud = {c.name for c in found if c.status == ALERT}
    assert {name, f"{name} with the others"} & loud
    others = loud - {name, f"{name} with the others", "signed channels together", "channels at candidate times"}
    assert not others


def test_a_sign_flip_shows_only_in_how_channels_go_together(day):
    found = features_of(planted(day, OFI, "sign flipped"))
    assert found["ofi_z"].status == OK
    assert found["ofi_z with the others"].status == ALERT
    assert "-0." in found["ofi_z with the others"].note
    assert not [n for n in found if n.endswith("with the others") and not n.startswith("ofi_z ")]


def test_two_channels_that_turned_round_are_both_named(day):
    found = features_of(planted(planted(day, OFI, "sign flipped"), CVD, "sign flipped"))
    assert {found["ofi_z with the others"].status, found["cvd_z with the others"].status} == {ALERT}


def test_a_rare_channel_that_fell_silent_is_told_by_what_was_due(day):
    found = features_of(with_channel(day, CHANNELS.index("liq_imbalance"), np.zeros_like))["liq_imbalance"]
    assert found.status == ALERT
    assert "always 0 on this day" in found.note


def test_a_channel_that_always_was_still_is_no_more_than_a_warning(day):
    c = CHANNELS.index("funding_bps")
    X = day.reference.X.copy()
    X[:, c] = 1.0
    still = replace(day, reference=replace(day.reference, X=X))
    assert features_of(still)["funding_bps"].status == WARN
    now = with_channel(still, c, np.ones_like)
    assert features_of(now)["funding_bps"].status == OK


def test_one_day_knows_less_of_the_next_than_a_month_does():
    assert LIMITS.factors(1.0) == (1.5, 2.25)
    assert LIMITS.factors(20.0) == pytest.approx((1.025, 1.3))


def test_a_slow_channel_sets_itself_a_wide_limit(day):
    slow = features_of(planted(day, CHANNELS.index("funding_bps"), "shifted by 1 deviation"))["funding_bps"]
    fast = features_of(planted(day, OFI, "shifted by 1 deviation"))["ofi_z"]
    assert fast.status == ALERT
    assert slow.value > 0.5
    assert slow.status != ALERT


def test_at_candidate_times_a_channel_may_go_as_far_as_it_did_over_all_rows(day):
    """Candidates that all come where a channel is quiet do not narrow its limit."""
    c = CHANNELS.index("spread_bps")
    over_all = feature_drift(day, LIMITS).distances[c].farthest
    quiet = day.reference_decided.X.copy()
    quiet[:, c] = day.reference.X[:, c].mean() + 0.01 * np.arange(len(quiet)) % 0.5
    still = replace(day, reference_decided=replace(day.reference_decided, X=quiet))
    moved = with_channel(still, c, lambda x: np.resize(quiet[:, c], len(x)) + 3 * quiet[:, c].std())
    now = replace(moved, current=day.current)
    wide = features_of(replace(now, reference=_louder(day.reference, c)))["channels at candidate times"]
    narrow = features_of(now)["channels at candidate times"]
    assert over_all < 1.0
    assert (narrow.status, "spread_bps" in narrow.note) == (ALERT, True)
    assert wide.status != ALERT or "spread_bps" not in wide.note


def _louder(rows, c):
    """The same with a channel that climbs all day."""
    X = rows.X.copy()
    X[:, c] += np.linspace(0, 20, len(X)) * X[:, c].std()
    return replace(rows, X=X)


def test_what_lies_within_the_floors_is_ok_however_quiet_the_training_span_was(day):
    """White noise: its pieces lie within a few hundredths of each other."""
    rng, X = np.random.default_rng(2), day.reference.X.copy()
    X[:, OFI] = rng.normal(size=len(X))
    quiet = replace(day, reference=replace(day.reference, X=X))
    same = rng.permutation(X[:, OFI]) + 0.11 * X[:, OFI].std()
    found = features_of(with_channel(quiet, OFI, lambda x: same[: len(x)]))["ofi_z"]
    assert found.value == pytest.approx(0.11, abs=1e-3)
    assert found.status == OK
    assert found.threshold == "WARN > 0.15, ALERT > 0.3"


def aside(inputs):
    """All but the channels."""
    of = [probability_check(inputs, LIMITS)[0], *model_checks(inputs, LIMITS)]
    return [*of, *(c for f in (cost_checks, rejection_checks, latency_checks, data_checks) for c in f(inputs, LIMITS))]


CAUGHT_BY = {
    "P + 0.1": {"P at candidate time"},
    "P - 0.1": {"P at candidate time"},
    "labels flipped": {"AUC-PR", "log loss", "ECE"},
    "P of another candidate": {"AUC-PR", "log loss", "ECE"},
    "20 % invalid rows": {"invalid windows"},
    "costs x 3": {"cost share, all candidates", "cost share, allowed"},
}


@pytest.mark.parametrize("plant", MODEL_PLANTS)
def test_a_spoiled_model_or_day_is_an_alert_where_it_belongs(day, plant):
    assert CAUGHT_BY[plant] <= {c.name for c in aside(MODEL_PLANTS[plant](day)) if c.status == ALERT}


def test_the_days_labels_do_not_judge_p_and_its_p_not_the_channels(day):
    """Each plant stays in its group."""
    flipped = {c.group for c in aside(MODEL_PLANTS["labels flipped"](day)) if c.status == ALERT}
    assert flipped == {"classification", "calibration"}
    assert {c.group for c in aside(MODEL_PLANTS["20 % invalid rows"](day)) if c.status == ALERT} == {"data"}


def test_rolling_figures_are_those_of_the_latest_labels(day):
    windows = rolling(day.decided, LIMITS)
    known = day.decided.rows(day.decided.labelled)
    last = slice(len(known.p) - LIMITS.rolling_labels, None)
    assert windows.brier[-1] == pytest.approx(brier(known.p[last], known.y[last]))
    assert windows.t_ns[-1] == known.ts_ns[-1]
    assert len(windows.t_ns) == (len(known.p) - LIMITS.rolling_labels) // LIMITS.rolling_step + 1


def test_a_gate_that_denies_everything_is_seen(day):
    denied = replace(
        day.decided, reason=np.full(len(day.decided.p), REASONS.index(Reason.P_BELOW_TAU), np.int16),
        allow=np.zeros(len(day.decided.p), bool),
    )  # fmt: skip
    found = by_name(
        [*rejection_checks(replace(day, decided=denied), LIMITS), *cost_checks(replace(day, decided=denied), LIMITS)]
    )
    assert found["rejection rate, profile B"].status == ALERT
    assert found["rejection rate, profile B"].value == 1.0
    assert found["cost share, allowed"].status == NA


def test_one_answer_by_error_is_an_alert(day):
    reason = day.decided.reason.copy()
    reason[3] = REASONS.index(Reason.MODEL_ERROR)
    decided = replace(day.decided, reason=reason, allow=reason == REASONS.index(Reason.ALLOW))
    found = by_name(rejection_checks(replace(day, decided=decided), LIMITS))["answers by error"]
    assert (found.status, found.value, found.note) == (ALERT, 1, "1 model_error")


@pytest.mark.parametrize(
    ("ms", "status"), [([5.0] * 100, OK), ([13.0] * 100, WARN), ([5.0] * 90 + [40.0] * 10, ALERT), ([5.0] * 19, NA)]
)
def test_latency_is_judged_against_the_budget_of_its_type(day, ms, status):
    timed = replace(day, latency=make.e2e_rows(ms), latency_note="as told")
    found = by_name(latency_checks(timed, LIMITS))["P95 momentum, ms"]
    assert found.status == status
    assert found.note == ("as told" if status != NA else "19 decisions, 20 are needed")


def test_latency_that_nobody_timed_is_not_judged_and_says_why(day):
    assert {(c.status, c.note) for c in latency_checks(day, LIMITS)} == {(NA, "no decision was timed")}


@pytest.mark.parametrize(
    ("quality", "name", "status"),
    [
        (Quality(864_000, 864_000, 10_000, 0, 0), "invalid windows", WARN),
        (Quality(864_000, 400_000, 0, 0, 0), "share of the day's windows", WARN),
        (Quality(864_000, 864_000, 0, 1, 0), "values that are not finite", ALERT),
        (Quality(864_000, 864_000, 0, 0, 30), "gaps of the feed", WARN),
        (Quality(864_000, 864_000, 0, 0, 90), "gaps of the feed", ALERT),
        (Quality(864_000, 864_000, 0, 0, None), "gaps of the feed", NA),
        (Quality(864_000, 0, 0, 0, 0), "invalid windows", NA),
    ],
)
def test_the_state_of_the_days_data(day, quality, name, status):
    assert by_name(data_checks(replace(day, quality=quality), LIMITS))[name].status == status


def test_a_day_that_was_trained_on_says_so(day):
    found = by_name(data_checks(replace(day, in_training=0.4), LIMITS))[
        "share of the day that the release was fitted on"
    ]
    assert found.status == WARN
    assert "IN SAMPLE" in found.note


def test_without_rows_or_candidates_the_checks_are_na_with_the_reason(day):
    bare = by_name(drift_checks(replace(day, current=Rows.none(), decided=Decided.none())))
    assert bare["ofi_z"].status == NA
    assert "0 valid rows of the day" in bare["ofi_z"].note
    for name in ("P at candidate time", "AUC-PR", "ECE", "cost share, all candidates", "rejection rate, profile B"):
        assert bare[name].status == NA
        assert bare[name].note
    assert bare["share of the day's windows"].status == OK


def test_a_short_training_span_is_na_and_no_guess(day):
    few = Rows(day.reference.t_ns[:300], day.reference.X[:300])
    assert "at least 1,000" in features_of(replace(day, reference=few))["ofi_z"].note
    near = Rows(day.reference.t_ns[0] + np.arange(2_000), day.reference.X[:2_000])
    assert "too short" in features_of(replace(day, reference=near))["ofi_z"].note


def test_a_value_that_is_no_number_is_never_ok():
    assert graded(float("nan"), 1.0, 2.0) == ALERT
    assert graded(float("inf"), 1.0, 2.0, below=True) == ALERT
    assert [graded(v, 1.0, 2.0) for v in (1.0, 1.5, 2.0, 2.5)] == [OK, WARN, WARN, ALERT]
    assert [graded(v, 2.0, 1.0, below=True) for v in (2.0, 1.5, 1.0, 0.5)] == [OK, WARN, WARN, ALERT]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"group": "weather"}, "a check of group 'weather' with status 'OK'"),
        ({"status": "FINE"}, "with status 'FINE'"),
        ({"value": float("nan")}, "the value is nan; None where there is none"),
        ({"value": float("inf")}, "the value is inf"),
    ],
)
def test_a_check_has_a_known_group_and_status_and_a_number_or_none(change, says):
    given = {"group": GROUPS[0], "name": "ofi_z", "status": OK, "value": 0.1, "threshold": "< 1", "n": 3} | change
    with pytest.raises(ValueError, match=says):
        DriftCheck(**given)


def test_rows_and_candidates_are_whole_and_in_time_order(day):
    t, X = day.current.t_ns, day.current.X
    for times, rows, says in (
        (t[:-1], X, "beside 2999 times"),
        (t, X[:, 1:], r"want \[n, 24\]"),
        (t[::-1], X, "order"),
    ):
        with pytest.raises(ValueError, match=says):
            Rows(times, rows)
    for change, says in (
        ({"p": day.decided.p[:-1]}, r"800 candidates but \{'p': 799\}"),
        ({"ts_ns": day.decided.ts_ns[::-1]}, "candidates are not in time order"),
    ):
        with pytest.raises(ValueError, match=says):
            replace(day.decided, **change)


def test_the_worst_of_no_checks_is_na():
    assert worst([]) == NA
