"""Nights from beginning to end: simulated days to a decision, and a promoted release that loses to its rollback."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client

from flows.markets import Market
from flows.nightly import NIGHT, NightlyParameters, nightly_flow, part
from flows.promote import PromoteParameters
from flows.retrain import RetrainParameters
from runtime.ladder import Event, State
from runtime.release_change import change
from runtime.release_state import state

pytestmark = pytest.mark.slow  # the flows bring the trainer's libraries

QUIET = Market(rate=20)
"""A market with few rows: its days are made in a second."""


def artifacts() -> dict[str, str]:
    """The newest text or table of each key."""
    with get_client(sync_client=True) as client:
        found = client.request("POST", "/artifacts/latest/filter", json={}).json()
    return {a["key"]: a["data"] if isinstance(a["data"], str) else json.dumps(a["data"]) for a in found}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("night")


@pytest.fixture(scope="module", autouse=True)
def _data(place, prefect):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OFI_META_DATA", str(place / "data"))
        yield


def night(place: Path, *markets: Market, days: int, but: tuple[str, ...] = (), **more):
    """A whole night, or its flows one by one without some of them."""
    told = NightlyParameters(
        markets=list(markets) or [QUIET],
        simulated_days=days,
        fee_tier="vip9",
        model="logistic",
        folds=1,
        max_candidates=1_500,
        timed=0,
        out=place / "reports",
        releases=place / "releases",
        models=place / "models",
        **more,
    )
    if not but:
        return nightly_flow(told, return_state=True)
    return [step(part(told, kind), return_state=True) for step, kind in NIGHT if step.name not in but]


@pytest.mark.long
def test_nights_end_in_a_decision_and_a_release_that_loses_is_taken_back(place):
    """Two markets, of which one cannot be read: it is named, and the other goes on."""
    missing = Market(source=place / "nowhere", symbol="ETHUSDT", venue="binance_usdm")
    releases, out = place / "releases" / "ETHUSDT-SIM", place / "reports" / "ETHUSDT-SIM"
    # The first night: a candidate, no promotion.
    ended = night(place, QUIET, missing, days=1)
    assert ended.is_failed()
    assert "1 of 2 days ingested" in ended.message
    assert "nowhere does not exist" in ended.message
    assert "no day of ETHUSDT on binance_usdm was ingested" in ended.message
    assert state(releases) is None
    told = json.loads((out / "promotion.json").read_text())
    assert not told["promoted"]
    assert any("SIMULATED" in reason or "simulated" in reason for reason in told["reasons"])
    candidate, shown = told["tag"], artifacts()
    assert {"ingest", "features", "retrain", "drift", "promote", "nightly"} <= shown.keys()
    assert "SIMULATED" in shown["matrix-ethusdt-sim"]
    assert "stays a candidate" in shown["promotion-ethusdt-sim"]
    assert "drift/ETHUSDT-SIM/2026-01-05/index.html" in (out / "index.html").read_text()

    # A person brings it up. What the market pays for then turns: the second day is of one without an edge.
    change(releases, Event.OPERATOR_PROMOTE, at_ns=1, why="a rehearsal", tag=candidate)
    change(releases, Event.OPERATOR_SMALL_LIVE, at_ns=2, why="a rehearsal", tag=candidate)
    live = state(releases)
    assert live.state is State.SMALL_LIVE
    assert max(live.multipliers.values()) == 0.2
    night(place, Market(rate=20, edge=0.0), missing, days=2, first_day=date(2026, 1, 6), but=("retrain",))
    told = artifacts()["promotion-ethusdt-sim"]
    after = state(releases)
    assert after.tag == f"{candidate}.shadow", told
    assert after.rolled_back
    assert "went back to" in told
    assert f"{candidate}.shadow" in (out / "index.html").read_text()


def test_the_parameters_of_a_night_reach_each_of_its_flows():
    night_of = NightlyParameters(fee_tier="vip9", model="lstm", allow_simulated=True, last_days=4)
    assert part(night_of, RetrainParameters).model == "lstm"
    assert part(night_of, PromoteParameters).allow_simulated
    for _, kind in NIGHT:
        assert part(night_of, kind).last_days == 4
