"""What the gate gathers stands in its own place, and what it hands to the graph belongs to one question alone."""

from __future__ import annotations

import math
import threading
from dataclasses import replace

import numpy as np
import pytest

from feature_repo.fields import CHANNELS, MARKET_DTYPE
from feature_repo.instruments import SIMULATED_SYMBOL
from runtime import MetaFilter, Reason
from runtime.bundle import load_bundle
from runtime.candidate import Entry, SigType, Tier
from runtime.context import fee_bps
from runtime.gate import GuardsOnly
from runtime.guards import GuardInputs

from .gate_builders import FEE, LOT, TICK, TS, bundle_folder, candidate, market_row, window

OF_ROW = {
    "data_age_ms": "data_age_ms",
    "spread_bps": "spread_bps",
    "spread_median_bps": "spread_median_bps",
    "depth": "depth_top5",
    "depth_median": "depth_median",
    "bid": "bid",
    "ask": "ask",
    "mid": "mid",
    "window_t_ns": "t_ns",
    "window_valid": "valid",
}


@pytest.fixture
def guards():
    return GuardsOnly(fee=FEE, symbol=SIMULATED_SYMBOL, tick=TICK, lot=LOT)


@pytest.fixture
def gate(tmp_path):
    return MetaFilter.load(bundle_folder(tmp_path, bias=1.0, ofi=1.0))


def test_each_value_stands_under_its_own_name(guards):
    row = np.zeros(1, MARKET_DTYPE)
    for i, name in enumerate(MARKET_DTYPE.names):
        row[name] = 100 + i
    c = candidate(
        ts_ns=1, expiry_ns=2, price=3.0, tier=Tier.B, sig_type=SigType.RECLAIM, reclaimed=True,
        exp_reward_bps=4.0, R_bps=5.0, est_slip_bps=6.0, entry=Entry.MAKER,
    )  # fmt: skip
    got = guards.inputs(replace(c, symbol="other"), 7, window(), row[0])._asdict()
    want = {name: row[column][0].item() for name, column in OF_ROW.items()}
    want |= {"candidate_sound": True, "symbol": "other", "gate_symbol": SIMULATED_SYMBOL, "ts_ns": 1, "expiry_ns": 2}
    want |= {"now_ns": 7, "price": 3.0, "tier": Tier.B, "sig_type": SigType.RECLAIM, "reclaimed": True}
    want |= {"exp_reward_bps": 4.0, "R_bps": 5.0, "est_slip_bps": 6.0, "fee_bps": fee_bps(c, FEE), "tick": TICK}
    want |= {"profile": guards.profile, "store_answered": True, "window_finite": True}
    assert got == want
    assert [type(v) for v in got.values()] == [type(want[k]) for k in got]


def test_without_a_window_its_part_is_that_of_none(guards):
    for x, row in ((None, None), (window()[:-1], market_row()), (window(), None)):
        inputs = guards.inputs(candidate(), TS, x, row)
        assert (inputs.store_answered, inputs.window_valid, inputs.window_finite, inputs.window_t_ns) == (
            True,
            False,
            False,
            -1,
        )
        assert all(math.isnan(getattr(inputs, name)) for name in OF_ROW if not name.startswith("window"))


def test_what_a_window_says_is_of_one_length():
    question = GuardInputs(*range(16))
    assert question.with_window(tuple(range(12)))[16:] == tuple(range(12))
    for n in (11, 13):
        with pytest.raises(TypeError):
            question.with_window(tuple(range(n)))


def windows(n: int) -> list[np.ndarray]:
    made = [window() for _ in range(n)]
    for i, x in enumerate(made):
        x[-1, CHANNELS.index("ofi_z")] = i / 10 - 1
    return made


def test_many_threads_are_answered_as_one_is(gate):
    questions = [(candidate(side=side), TS, x, market_row()) for x in windows(20) for side in (1, -1)]
    want = [gate.decide(*q) for q in questions]
    assert len({d.p for d in want}) == 21
    wrong, together = [], threading.Barrier(4)

    def ask(first: int) -> None:
        together.wait()
        for i in range(400):
            at = (first + i) % len(questions)
            if gate.decide(*questions[at]) != want[at]:
                wrong.append(at)

    threads = [threading.Thread(target=ask, args=(7 * k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_question_within_a_question_has_inputs_of_its_own(gate, monkeypatch):
    low, high = windows(30)[0], windows(30)[-1]
    want, plain, nested = gate.decide(candidate(), TS, low, market_row()), type(gate._bundle).predict, []

    def predict(self, x, ctx):
        if not nested:
            nested.append(None)
            nested.append(gate.decide(candidate(), TS, high, market_row()))
        return plain(self, x, ctx)

    monkeypatch.setattr(type(gate._bundle), "predict", predict)
    assert gate.decide(candidate(), TS, low, market_row()) == want
    monkeypatch.undo()
    assert nested[1] == gate.decide(candidate(), TS, high, market_row())
    assert len(gate._free) == 2


def test_inputs_are_put_back_when_the_graph_fails(gate, monkeypatch):
    monkeypatch.setattr(type(gate._bundle), "predict", lambda self, x, ctx: 1 / 0)
    for _ in range(5):
        assert gate.decide(candidate(), TS, window(), market_row()).reason is Reason.MODEL_ERROR
    assert len(gate._free) == 1
    monkeypatch.undo()
    assert gate.decide(candidate(), TS, window(), market_row()).reason is Reason.ALLOW


def test_one_bundle_in_two_gates(tmp_path):
    bundle = load_bundle(bundle_folder(tmp_path, bias=1.0, ofi=1.0))
    gates = [MetaFilter(bundle), MetaFilter(bundle, profile="A"), MetaFilter(replace(bundle))]
    for x in windows(10):
        assert len({g.decide(candidate(), TS, x, market_row()).p for g in gates}) == 1
