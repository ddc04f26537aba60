"""The gate end to end on a tiny graph: every reason, sizing, both arms, and nothing damaged gets through."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from feature_repo.constants import WINDOW_NS
from feature_repo.errors import InputError
from feature_repo.fields import CHANNELS
from feature_repo.instruments import SIMULATED_SYMBOL, FeeTier
from runtime import MetaFilter, Reason
from runtime.bundle import load_bundle
from runtime.candidate import SigType, Tier
from runtime.context import context_row
from runtime.gate import GuardsOnly
from runtime.payoff import Payoff
from runtime.sizing import round_to_lot, size_usd

from .gate_builders import FEE, LOT, TICK, TS, bundle_folder, candidate, market_row, window

NAN, INF = math.nan, math.inf
P = 1 / (1 + math.exp(-2.0))  # of the tiny graph: 0.8808


class Source:
    """Gives what it holds, and counts how often it was asked."""

    def __init__(self, found: Any = ()) -> None:
        self.found = (window(), market_row()) if found == () else found
        self.asked: list[int] = []

    def snapshot_at(self, t_ns: int) -> Any:
        self.asked.append(t_ns)
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return bundle_folder(tmp_path_factory.mktemp("releases"))


@pytest.fixture
def gate(folder):
    return MetaFilter.load(folder, source=Source())


def guards_only(**changes: Any) -> GuardsOnly:
    return GuardsOnly(
        **({"fee": FEE, "symbol": SIMULATED_SYMBOL, "tick": TICK, "lot": LOT, "source": Source()} | changes)
    )


# ---------------------------------------------------------------- allowing


def test_allows_and_sizes(gate):
    allow, p, size = gate.allow(candidate(), TS)
    assert allow is True
    assert p == pytest.approx(P, abs=1e-6)
    assert size == pytest.approx(10_000 * (p - 0.65), abs=LOT * 2000)
    assert size <= 10_000 * (p - 0.65)
    assert (size / 2000 / LOT) == pytest.approx(round(size / 2000 / LOT), abs=1e-9)
    d = gate.allow(candidate(), TS)
    assert d.reason is Reason.ALLOW
    assert d.p_breakeven == pytest.approx((1.1 * 40 / 0.9 + 10.525) / (2 * 40 / 0.9))
    assert d.latency_us > 0
    assert gate.source.asked == [TS, TS]


def test_decide_equals_allow_and_latency_is_not_part_of_it(gate):
    assert gate.decide(candidate(), TS, window(), market_row()) == gate.allow(candidate(), TS)
    assert gate.decide(None, TS, window(), market_row()) == gate.allow(None, TS)


def test_the_window_is_aligned_to_the_side(tmp_path):
    folder = bundle_folder(tmp_path, bias=1.0, ofi=1.0)
    gate, x = MetaFilter.load(folder), window()
    x[-1, CHANNELS.index("ofi_z")] = 1.5
    up = gate.decide(candidate(), TS, x, market_row())
    down = gate.decide(candidate(side=-1), TS, x, market_row())
    assert (up.p, down.p) == (
        pytest.approx(1 / (1 + math.exp(-2.5)), abs=1e-6),
        pytest.approx(1 / (1 + math.exp(0.5)), abs=1e-6),
    )
    assert (up.reason, down.reason) == (Reason.ALLOW, Reason.P_BELOW_TAU)
    np.testing.assert_array_equal(x[-1, 0], np.float32(1.5))  # the caller's window is left alone


def test_profiles_and_their_taus(folder):
    gates = {name: MetaFilter.load(folder, profile=name) for name in "ABC"}
    assert {n: g.tau for n, g in gates.items()} == {"A": 0.70, "B": 0.65, "C": 0.60}
    for tier, taken in ((Tier.A, "ABC"), (Tier.B, "BC"), (Tier.C, "C")):
        got = "".join(n for n, g in gates.items() if g.decide(candidate(tier=tier), TS, window(), market_row()).allow)
        assert got == taken


@pytest.fixture
def fitted(folder):
    """A bundle whose training span knew mostly time-outs."""
    bundle = load_bundle(folder)
    taus = {"A": 0.45, "B": 0.35, "C": 0.25}
    return replace(bundle, manifest=replace(bundle.manifest, taus=taus, payoff=Payoff(0.92, -0.13)))


def test_a_bundle_that_knows_its_payoffs_allows_nothing_that_does_not_earn_its_own_cost(fitted, monkeypatch):
    thin = candidate(R_bps=24.0, exp_reward_bps=22.0)  # breaks even at (10.525 / 24 + 0.13) / 1.05
    for p, guarded, free in ((0.53, False, True), (0.55, True, True), (0.34, False, False)):
        monkeypatch.setattr(type(fitted), "predict", lambda self, x, ctx, p=p: np.float32([p]))
        d = MetaFilter(fitted).decide(thin, TS, window(), market_row())
        assert (d.allow, d.p_breakeven) == (guarded, pytest.approx(0.54147, abs=1e-5))
        assert MetaFilter(fitted, breakeven_guard=False).decide(thin, TS, window(), market_row()).allow is free


def test_nothing_is_above_a_break_even_that_is_not_known(fitted):
    assert math.isnan(MetaFilter(fitted).floor(NAN))
    assert MetaFilter(fitted, breakeven_guard=False).floor(NAN) == 0.35


def test_thresholds_and_break_even_are_the_bundles(fitted):
    d = MetaFilter(fitted, profile="B").decide(candidate(), TS, window(), market_row())
    assert d.size == pytest.approx(10_000 * (d.p - 0.35), abs=LOT * 2000)
    assert d.p_breakeven == pytest.approx((10.525 + 0.13 * 40 / 0.9) / (1.05 * 40 / 0.9))


def test_the_fee_is_the_bundles_unless_given(folder):
    weak = candidate(exp_reward_bps=15.0, R_bps=16.0)  # pays 2 x (3.4 + 0.525) but not 2 x 10.525
    assert MetaFilter.load(folder).decide(weak, TS, window(), market_row()).reason is Reason.EV
    vip = MetaFilter.load(folder, fee=FeeTier("vip9", 0.0, 1.7))
    assert vip.decide(weak, TS, window(), market_row()).allow


def test_the_model_is_asked_only_when_every_guard_passes(folder, monkeypatch):
    gate, asked = MetaFilter.load(folder), []
    monkeypatch.setattr(type(gate._bundle), "predict", lambda self, x, ctx: asked.append(1) or np.float32([0.9]))
    assert math.isnan(gate.decide(candidate(tier=Tier.C), TS, window(), market_row()).p)
    assert asked == []
    assert gate.decide(candidate(), TS, window(), market_row()).allow
    assert asked == [1]


def test_the_source_is_not_asked_in_vain(gate):
    for bad in (candidate(symbol="BTCUSDT"), candidate(side=2), None):
        gate.allow(bad, TS)
    gate.allow(candidate(), TS + 2_000_000_000)
    assert gate.source.asked == []


def test_breakeven_guard(tmp_path):
    folder = bundle_folder(tmp_path, bias=0.8)  # P = 0.69
    thin = candidate(R_bps=24.0, exp_reward_bps=22.0)  # break-even at 0.769
    assert MetaFilter.load(folder).decide(thin, TS, window(), market_row()).allow
    d = MetaFilter.load(folder, breakeven_guard=True).decide(thin, TS, window(), market_row())
    assert (d.reason, d.p_breakeven) == (Reason.P_BELOW_TAU, pytest.approx(0.76927, abs=1e-5))


# ---------------------------------------------------------------- every reason, alone


def without_model(folder, monkeypatch, answer):
    gate = MetaFilter.load(folder, source=Source())

    def predict(self, x, ctx):
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(type(gate._bundle), "predict", predict)
    return gate


DENIALS = [
    (Reason.BAD_CANDIDATE, {"side": 0}, {}, TS),
    (Reason.BAD_CANDIDATE, {"side": True}, {}, TS),
    (Reason.BAD_CANDIDATE, {"sig_type": 0}, {}, TS),
    (Reason.BAD_CANDIDATE, {"price": NAN}, {}, TS),
    (Reason.BAD_CANDIDATE, {"est_slip_bps": NAN}, {}, TS),
    (Reason.BAD_CANDIDATE, {"est_slip_bps": -1.0}, {}, TS),
    (Reason.BAD_CANDIDATE, {"exp_reward_bps": INF}, {}, TS),
    (Reason.BAD_CANDIDATE, {"reclaimed": "yes"}, {}, TS),
    (Reason.WRONG_SYMBOL, {"symbol": "ETHUSDT"}, {}, TS),
    (Reason.EXPIRED, {}, {}, TS + 1_000_000_001),
    (Reason.EXPIRED, {}, {}, TS - 1),
    (Reason.NO_WINDOW, {}, {"valid": False}, TS),
    (Reason.STALE, {}, {"t_ns": TS - WINDOW_NS}, TS),
    (Reason.STALE, {}, {"t_ns": TS + WINDOW_NS}, TS),
    (Reason.NOT_FINITE, {}, {"bid": NAN}, TS),
    (Reason.PRICE, {"price": 2100.0}, {}, TS),
    (Reason.DATA_AGE, {}, {"data_age_ms": 1_001.0}, TS),
    (Reason.TIER, {"tier": Tier.C}, {}, TS),
    (Reason.SPREAD, {}, {"spread_median_bps": 0.03}, TS),
    (Reason.DEPTH, {}, {"depth_top5": 9e5}, TS),
    (Reason.RECLAIM, {"sig_type": SigType.RECLAIM}, {}, TS),
    (Reason.REWARD_UNKNOWN, {"exp_reward_bps": NAN, "R_bps": NAN}, {}, TS),
    (Reason.SLIPPAGE, {"est_slip_bps": INF}, {}, TS),
    (Reason.MIN_STOP, {"R_bps": 0.27}, {}, TS),
    (Reason.EV, {"exp_reward_bps": 21.0}, {}, TS),
]


@pytest.mark.parametrize(("reason", "of_candidate", "of_row", "now_ns"), DENIALS)
@pytest.mark.parametrize("arm", ["model", "no model"])
def test_denies_with_its_reason(gate, reason, of_candidate, of_row, now_ns, arm):
    judge = gate if arm == "model" else guards_only()
    judge.source.found = (window(), market_row(**of_row))
    d = judge.allow(candidate(**of_candidate), now_ns)
    assert (d.allow, d.size, d.reason) == (False, 0.0, reason)
    assert math.isnan(d.p)


@pytest.mark.parametrize("value", [NAN, INF, -INF, 1e20])
def test_a_damaged_window_is_not_finite(gate, value):
    x = window()
    x[13, 7] = value
    assert gate.decide(candidate(), TS, x, market_row()).reason is Reason.NOT_FINITE


@pytest.mark.parametrize(
    "found",
    [
        None,
        (None, None),
        (window()[:-1], market_row()),
        (window().astype(np.float64), market_row()),
        (window().tolist(), market_row()),
        (window(), None),
        (window(), market_row().item()),
        (window(), np.zeros(1, [("t_ns", "i8")])[0]),
        (window()[None], market_row()),
    ],
)
def test_no_usable_window(gate, found):
    gate.source.found = found
    assert gate.allow(candidate(), TS).reason is Reason.NO_WINDOW


def test_no_source_is_no_window(folder):
    assert MetaFilter.load(folder).allow(candidate(), TS).reason is Reason.NO_WINDOW


@pytest.mark.parametrize("found", [OSError("gone"), RuntimeError(), (1, 2, 3), 5])
def test_store_errors(gate, found):
    gate.source.found = found
    assert gate.allow(candidate(), TS).reason is Reason.STORE_ERROR
    assert gate.last_error


@pytest.mark.parametrize(
    "answer",
    [
        RuntimeError("graph"),
        np.float32([NAN]),
        np.float32([1.01]),
        np.float32([-0.01]),
        np.float32([INF]),
        np.float32([0.9, 0.9]),
        np.float32([]),
        None,
        "0.9",
        np.array([None]),
    ],
)
def test_model_errors(folder, monkeypatch, answer):
    d = without_model(folder, monkeypatch, answer).allow(candidate(), TS)
    assert (d.allow, d.size, d.reason) == (False, 0.0, Reason.MODEL_ERROR)
    assert math.isnan(d.p)


def test_p_at_tau_is_denied_and_kept(folder, monkeypatch):
    gate = without_model(folder, monkeypatch, np.array([0.65]))
    d = gate.allow(candidate(), TS)
    assert (d.allow, d.p, d.size, d.reason) == (False, 0.65, 0.0, Reason.P_BELOW_TAU)


def test_below_one_lot_is_too_small(folder, monkeypatch):
    gate = without_model(folder, monkeypatch, np.array([0.65 + 1.99 / 10_000]))  # a lot is 2 USD
    assert gate.allow(candidate(), TS).reason is Reason.SIZE_TOO_SMALL
    gate = without_model(folder, monkeypatch, np.array([0.65 + 2.01 / 10_000]))
    assert gate.allow(candidate(), TS).size == pytest.approx(2.0)


def test_an_exception_inside_denies(folder, monkeypatch):
    gate = MetaFilter.load(folder, source=Source())
    monkeypatch.setattr("runtime.gate.decide", lambda inputs: 1 / 0)
    d = gate.allow(candidate(), TS)
    assert (d.allow, d.size, d.reason, gate.last_error) == (
        False,
        0.0,
        Reason.INTERNAL_ERROR,
        "ZeroDivisionError: division by zero",
    )
    monkeypatch.undo()
    assert gate.allow(candidate(), TS).allow  # and the next one is judged again


def test_every_reason_is_reached_here():
    elsewhere = {
        Reason.ALLOW,
        Reason.INTERNAL_ERROR,
        Reason.KILL_SWITCH,  # test_kill_switch.py
        Reason.STORE_ERROR,
        Reason.MODEL_ERROR,
        Reason.P_BELOW_TAU,
        Reason.NOT_ROLLED_OUT,  # test_roll_out.py
        Reason.SIZE_TOO_SMALL,
    }
    assert {r for r, *_ in DENIALS} | elsewhere == set(Reason)


# ---------------------------------------------------------------- the arm without a model


def test_guards_only_takes_the_base_size_and_asks_nobody():
    d = guards_only().allow(candidate(), TS)
    assert (d.allow, d.size, d.reason) == (True, 10_000.0, Reason.ALLOW)
    assert math.isnan(d.p)
    assert guards_only(base_size=1.99).allow(candidate(), TS).reason is Reason.SIZE_TOO_SMALL


def test_guards_only_is_no_metafilter():
    assert not isinstance(guards_only(), MetaFilter)
    assert not issubclass(MetaFilter, GuardsOnly)
    with pytest.raises(InputError):
        MetaFilter.load("/nowhere")
    with pytest.raises(TypeError):
        MetaFilter.load(None)


@pytest.mark.parametrize(
    "wrong",
    [{"profile": "D"}, {"tick": 0.0}, {"lot": NAN}, {"base_size": -1.0}, {"fee": FeeTier("x", NAN, 5.0)}],
)
def test_a_gate_is_not_made_of_nonsense(wrong):
    with pytest.raises(InputError):
        guards_only(**wrong)


# ---------------------------------------------------------------- sizing


@pytest.mark.parametrize(
    ("notional", "price", "lot", "size"),
    [
        (10_000.0, 2000.0, 0.001, 10_000.0),
        (2.0, 2000.0, 0.001, 2.0),
        (1.999, 2000.0, 0.001, 0.0),
        (10_000.0, 3000.0, 0.001, 9_999.0),
        (NAN, 2000.0, 0.001, 0.0),
        (-1.0, 2000.0, 0.001, 0.0),
        (INF, 2000.0, 0.001, 0.0),
        (1.0, 0.0, 0.001, 0.0),
    ],
)
def test_round_to_lot(notional, price, lot, size):
    assert round_to_lot(notional, price, lot) == pytest.approx(size)


def test_size_usd():
    assert size_usd(10_000, 0.8, 0.65) == pytest.approx(1500)
    assert size_usd(10_000, 0.5, 0.65) == 0
    assert size_usd(10_000, NAN, 0.65) == 0


def test_p_is_the_same_in_one_and_in_many(folder):
    bundle, rng = load_bundle(folder), np.random.default_rng(0)
    gate, x = MetaFilter.load(folder), rng.normal(size=(64, 24)).astype(np.float32)
    ctx = context_row(candidate(), market_row(), FEE)
    many = bundle.predict(np.repeat(x[None], 32, 0), np.repeat(ctx[None], 32, 0))
    assert np.abs(many - gate.decide(candidate(), TS, x, market_row()).p).max() <= 1e-6
