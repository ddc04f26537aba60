"""What a damaged metrics.json lacks is said in the reason, and what cannot be trusted is not judged at all."""

from __future__ import annotations

import pytest

from reports.promotion import judge_promotion
from tests.reports import make_promotable as made


def judged(change):
    metrics = made.passing()
    change(metrics)
    return judge_promotion(metrics)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda m: made.kpi(m, "trades").update(n=812.5), "trades: n is 812.5, a count is needed"),
        (lambda m: made.kpi(m, "trades").update(n=-1), "trades: n is -1, a count is needed"),
        (lambda m: made.timed(m).clear(), "no signal type was timed"),
        (
            lambda m: m["verdict"].update(go=False, word="NO-GO", reasons=[3]),
            "verdict: reasons is no list of sentences",
        ),
    ],
)
def test_the_reason_says_what_is_wrong_with_the_file(change, says):
    (why,) = judged(change).reasons
    assert says in why


def test_a_file_of_another_schema_is_judged_by_its_schema_alone():
    got = judged(made.FAILING["schema"])
    assert {r.key: r.status for r in got.rules if r.status != "N/A"} == {"schema": "FAIL"}
    assert {r.note for r in got.rules if r.blocks} == {
        "the file has schema 'ofi-meta/metrics/2', this version reads ofi-meta/metrics/3"
    }
