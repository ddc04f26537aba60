"""The rehearsal of a decision: it goes the whole way, and nothing of it stays."""

from __future__ import annotations

import pytest

from feature_repo.instruments import SIMULATED_SYMBOL, FeeTier, instrument
from runtime.decision import Reason
from runtime.gate import GuardsOnly, MetaFilter
from runtime.rehearsal import rehearsal
from tests.runtime.gate_builders import bundle_folder, candidate, market_row, window


class Watched:
    """A gate that keeps its answers."""

    def __init__(self, gate):
        self._gate, self.answers = gate, []

    def __getattr__(self, name):
        return getattr(self._gate, name)

    def decide(self, *question):
        self.answers.append(self._gate.decide(*question))
        return self.answers[-1]


@pytest.mark.parametrize("profile", ["A", "B", "C"])
def test_it_passes_every_guard_and_asks_the_graph(tmp_path, profile):
    gate = Watched(MetaFilter.load(bundle_folder(tmp_path), profile=profile))
    rehearsal(gate)()
    (answer,) = gate.answers
    assert 0 <= answer.p <= 1
    assert gate.last_error is None


@pytest.mark.parametrize(("venue", "symbol"), [("simulated", SIMULATED_SYMBOL), ("binance_usdm", "SOLUSDT")])
@pytest.mark.parametrize("T", [20, 64])
def test_without_a_model_too_whatever_the_tick(venue, symbol, T):
    guards = Watched(GuardsOnly.on(instrument(venue, symbol), "A", fee=FeeTier("regular", 2.0, 5.0), T=T))
    rehearsal(guards)()
    assert guards.answers[0].reason in (Reason.ALLOW, Reason.SIZE_TOO_SMALL)


def test_the_next_decision_is_the_same_after_it(tmp_path):
    gate = MetaFilter.load(bundle_folder(tmp_path))
    alone = MetaFilter.load(bundle_folder(tmp_path))
    asked, x, row = candidate(), window(), market_row()
    rehearsal(gate)()
    assert gate.decide(asked, asked.ts_ns, x, row) == alone.decide(asked, asked.ts_ns, x, row)
