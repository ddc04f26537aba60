"""The fee ladders: literal rates, their order, and what is said where costs are missing."""

from __future__ import annotations

from itertools import pairwise

import pytest

from feature_repo.errors import InputError
from feature_repo.fees import FEE_TIERS, FeeTier, fee_tier, fee_tiers, headline_tiers


def _rates(venue):
    return [(t.name, t.maker_bps, t.taker_bps) for t in FEE_TIERS[venue]]


def test_binance_usdm_literal():
    assert _rates("binance_usdm") == [
        ("regular", 2.0, 5.0),
        ("vip1", 1.6, 4.0),
        ("vip2", 1.4, 3.5),
        ("vip3", 1.2, 3.2),
        ("vip4", 1.0, 3.0),
        ("vip5", 0.8, 2.7),
        ("vip6", 0.6, 2.5),
        ("vip7", 0.4, 2.2),
        ("vip8", 0.2, 2.0),
        ("vip9", 0.0, 1.7),
    ]


def test_bybit_and_okx_spot_literal():
    assert _rates("bybit")[1] == ("vip1", 1.8, 4.0)
    assert _rates("bybit")[-2:] == [("vip5", 1.0, 3.2), ("supreme_vip", 0.0, 3.0)]
    assert _rates("bybit_spot")[1] == ("vip1", 6.75, 8.0)
    assert _rates("bybit_spot")[-1] == ("supreme_vip", 3.0, 4.5)
    assert _rates("okx_spot")[5:] == [
        ("vip5", 0.0, 4.0), ("vip6", -0.2, 3.0), ("vip7", -0.5, 2.5), ("vip8", -0.5, 2.0),
    ]  # fmt: skip


@pytest.mark.parametrize("venue", FEE_TIERS)
def test_a_ladder_starts_with_the_regular_tier_and_no_step_is_dearer(venue):
    tiers = fee_tiers(venue)
    assert tiers[0].name == "regular"
    assert len({t.name for t in tiers}) == len(tiers)
    for dear, cheap in pairwise(tiers):
        assert cheap.maker_bps <= dear.maker_bps
        assert cheap.taker_bps <= dear.taker_bps
        assert cheap != FeeTier(cheap.name, dear.maker_bps, dear.taker_bps)
    for tier in tiers:
        # A round trip costs something: a taker never pays for a maker's rebate in full.
        assert -1.0 <= tier.maker_bps <= tier.taker_bps <= 10.0
        assert tier.maker_bps + tier.taker_bps > 0.0


def test_the_headline_is_the_first_and_the_last_tier():
    assert headline_tiers("binance_usdm") == (FeeTier("regular", 2.0, 5.0), FeeTier("vip9", 0.0, 1.7))
    assert headline_tiers("okx_swap") == FEE_TIERS["okx_swap"]


def test_the_simulated_venue_charges_what_binance_does():
    assert fee_tiers("simulated") == fee_tiers("binance_usdm")


def test_every_tier_is_found_by_its_name():
    assert all(fee_tier(venue, tier.name) is tier for venue, tiers in FEE_TIERS.items() for tier in tiers)


@pytest.mark.parametrize("ask", [fee_tiers, headline_tiers, lambda venue: fee_tier(venue, "regular")])
def test_missing_costs_are_one_clear_error(ask):
    with pytest.raises(InputError, match=r"no fees are known for venue 'kraken'\. Expected one of: binance_usdm, .*"):
        ask("kraken")


def test_an_unknown_tier_names_those_there_are():
    with pytest.raises(InputError, match=r"unknown fee tier 'vip12' on bybit.*one of: regular, vip1, .*supreme_vip"):
        fee_tier("bybit", "vip12")
