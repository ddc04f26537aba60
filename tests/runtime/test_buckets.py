"""buckets.csv says what a release may order, and a new step changes its own rows only; damage: test_bundle.py."""

from __future__ import annotations

import pytest

from feature_repo.errors import InputError
from runtime.buckets import Bucket, Share, read_buckets, restaged_csv

from .gate_builders import FEE, buckets_csv

HIGH, PARENT = "B/momentum/high/mid/mid/other", "B/momentum/all/all/all/other"
TEXT = buckets_csv({HIGH: 0.4, PARENT: 0.2})


def read(text):
    return read_buckets(text, fee_tier=FEE.name, name="buckets.csv")


def test_a_row_is_found_by_its_bucket_and_a_bucket_without_one_by_its_parent():
    table = read(TEXT)
    assert table.share_of(Bucket.parse(HIGH)) == Share(0.4)
    assert table.share_of(Bucket.parse("B/momentum/low/mid/mid/other")) == Share(0.2)
    assert table.share_of(Bucket.parse("B/momentum/low/mid/mid/handover")) == Share(0.0)
    assert table.row_of(Bucket.parse("A/momentum/high/mid/mid/other")) is None


@pytest.mark.parametrize(
    ("column", "other"), [("fee_tier", "vip9"), ("model", "false"), ("exit", "runner"), ("sig_type", "all")]
)
def test_rows_of_other_arms_do_not_count(column, other):
    header, first, *rest = TEXT.splitlines()
    cells = first.split(",")
    cells[header.split(",").index(column)] = other
    cells[-1] = "no number"
    assert Bucket.parse(HIGH) not in read("\n".join([header, ",".join(cells), *rest])).shares


@pytest.mark.parametrize("since", ["-1", "x", str(2**63)])
def test_a_time_that_is_none_is_refused(since):
    header, first, second = TEXT.splitlines()
    with pytest.raises(InputError, match="multiplier"):
        read("\n".join([f"{header},since_ns", f"{first},{since}", f"{second},"]))


@pytest.mark.parametrize("blank", [(), (1,), (1, 2), (3,)])
def test_a_new_step_changes_its_own_rows_only(blank):
    """Whatever blank lines a person has left between them."""
    other = TEXT.splitlines()[1].replace(FEE.name, "vip9")
    lines = [*TEXT.splitlines(), other]
    for at in reversed(blank):
        lines.insert(at, "")
    text = "\n".join(lines) + "\n"
    again = restaged_csv(text, {Bucket.parse(HIGH): Share(0.6, 7)}, fee_tier=FEE.name, name="buckets.csv")
    assert read(again).shares == {Bucket.parse(HIGH): Share(0.6, 7), Bucket.parse(PARENT): Share(0.2, 0)}
    assert f"{other}," in again.splitlines()
    twice = restaged_csv(again, {Bucket.parse(PARENT): Share(0.4, 9)}, fee_tier=FEE.name, name="buckets.csv")
    assert read(twice).shares == {Bucket.parse(HIGH): Share(0.6, 7), Bucket.parse(PARENT): Share(0.4, 9)}


@pytest.mark.parametrize("text", ["", "B/momentum", HIGH + "/more", HIGH.replace("high", "tall"), "B//a/b/c/d"])
def test_what_names_no_bucket_is_told(text):
    with pytest.raises(InputError, match="the bucket"):
        Bucket.parse(text)
