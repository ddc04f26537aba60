"""What a shadow run can be told is refused by name where it cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from feature_repo.errors import InputError
from feature_repo.fees import FEE_TIERS
from flows.parameters import ShadowParameters
from flows.steps import fee_of


@pytest.mark.parametrize("venue", FEE_TIERS)
def test_every_tier_of_every_venue_can_be_named_for_a_recording(venue):
    for tier in FEE_TIERS[venue]:
        named = ShadowParameters(tape=Path("a.gz"), fee_tier=tier.name).fee_tier
        assert fee_of(venue, named) == tier


def test_a_simulated_run_takes_the_tiers_of_its_venue():
    names = [tier.name for tier in FEE_TIERS["simulated"]]
    assert [ShadowParameters(fee_tier=name).fee_tier for name in names] == names
    assert "supreme_vip" not in names
    with pytest.raises(ValidationError, match=f"one of: {', '.join(names)} "):
        ShadowParameters(fee_tier="supreme_vip")


def test_a_tier_of_no_venue_is_refused_before_the_recording_is_read():
    with pytest.raises(ValidationError, match=r"one of: regular, .*supreme_vip"):
        ShadowParameters(tape=Path("a.gz"), fee_tier="free")


def test_a_tier_of_another_venue_is_refused_once_the_venue_is_known():
    with pytest.raises(InputError, match="unknown fee tier 'vip9' on bybit"):
        fee_of("bybit", "vip9")


def test_the_order_latency_is_one_of_two():
    assert ShadowParameters().order_latency == "constant"
    assert ShadowParameters(order_latency="tape").order_latency == "tape"
    with pytest.raises(ValidationError, match="order_latency"):
        ShadowParameters(order_latency="none")


def test_a_simulated_month_is_the_longest():
    assert ShadowParameters(hours=24 * 62).hours == 1488
    with pytest.raises(ValidationError, match="hours"):
        ShadowParameters(hours=24 * 62 + 1)
