"""The section "selection": which strategies enter, in which blocks, against what."""

from __future__ import annotations

import numpy as np
import pytest

from feature_repo.constants import JUDGE, SECOND_NS
from reports.overfitting import pbo
from reports.records import EXITS, ArmInput
from reports.selection import BENCHMARKS, overfitting_by_tier, selection_dict, strategies_of
from reports.superiority import superior
from runtime.decision import Reason
from tests.reports.make import REGULAR, START, VIP9, arm, decisions

ALLOW, EV = Reason.ALLOW, Reason.EV
BLOCK_NS = JUDGE.block_s * SECOND_NS


def _world(n=200, seed=0, fee=REGULAR, profiles="AB", edge=2.0):
    """One candidate a block; the model denies half of the losers."""
    rng = np.random.default_rng(seed)
    out = []
    for profile in profiles:
        net = rng.normal(0.0, 5.0, n)
        asked = np.where((net < 0) & (rng.random(n) < 0.5), EV, ALLOW)
        for model in (False, True):
            d = decisions(asked.tolist() if model else [ALLOW] * n, gap_s=JUDGE.block_s)
            out.append(arm(d, net + edge * (profile == "B"), profile=profile, model=model, fee=fee))
    return out


def _spa(arms):
    return selection_dict(arms, overfitting_by_tier(arms, []), 0, draws=200)["spa"]


def test_results_are_summed_by_the_candidates_block_literally():
    d = decisions([ALLOW, EV, ALLOW, ALLOW, ALLOW])
    d["ts_ns"] = START + np.array([0, 1, 599, 600, 3 * 600]) * SECOND_NS
    got = strategies_of([arm(d, [1.0, 50.0, 2.0, 4.0, 8.0], status=[0, 0, 2, 0])])
    assert got.keys == (("B", False, "label"), ("B", False, "runner"))
    # Blocks 0, 1 and 3 hold candidates, block 2 none; the third order found a position open.
    assert got.net_bps[:, 0].tolist() == [3.0, 0.0, 8.0]
    assert got.trades.tolist() == [3, 3]


def test_arms_share_their_blocks_and_those_that_were_not_run_have_none():
    one, two = decisions([ALLOW] * 2, gap_s=600), decisions([EV] * 3, gap_s=600)
    na = ArmInput("A", True, REGULAR, reason_na="12 labels")
    got = strategies_of([arm(one, 1.0), na, arm(two, 1.0, profile="C")])
    assert [k[:2] for k in got.keys[::2]] == [("B", False), ("C", False)]
    assert got.net_bps.T.tolist() == [[1.0, 1.0, 0.0]] * 2 + [[0.0] * 3] * 2
    assert strategies_of([na]).net_bps.shape == (0, 0)


def test_pbo_is_of_the_strategies_of_one_tier():
    arms, dear = _world(), _world(fee=VIP9, seed=1)
    ladder = [*_world(profiles="B"), *dear[2:]]
    found = overfitting_by_tier([*arms], ladder)
    assert list(found) == ["regular", "vip9"]
    s = strategies_of(arms)
    assert found["regular"] == pbo(s.net_bps, s.trades)
    assert found["regular"].n_strategies == 4  # both exits earn the same here
    assert found["vip9"].n_strategies == 2  # the ladder's, where only that has the tier


def test_every_tier_exit_and_benchmark_has_its_test():
    arms = [*_world(), *_world(fee=VIP9)]
    got = selection_dict(arms, overfitting_by_tier(arms, []), 12, draws=50)
    assert [(r["fee_tier"], r["exit"], r["benchmark"]) for r in got["spa"]] == [
        (fee, e, b) for fee in ("regular", "vip9") for e in EXITS for b in BENCHMARKS
    ]
    assert [r["fee_tier"] for r in got["pbo"]] == ["regular", "vip9"]
    assert got["trials"] == 12


def test_the_benchmark_of_a_model_is_its_own_profile_without_it():
    arms = _world()
    s = strategies_of(arms)
    net = {k[:2]: s.net_bps[:, i] for i, k in enumerate(s.keys) if k[2] == "label"}
    none, trade = _spa(arms)[:2]
    gains = np.stack([net[p, True] - net[p, False] for p in "AB"], axis=1)
    assert none["p_consistent"] == superior(gains, reps=200).p_consistent
    assert none["n_strategies"] == 2
    every = np.stack(list(net.values()), axis=1)
    assert trade["p_consistent"] == superior(every, reps=200).p_consistent
    assert trade["n_strategies"] == 4
    assert none["p_consistent"] < 0.05  # half of the losses are gone
    swapped = [
        arm(a.decisions, a.candidate_book["label"]["net_bps"], profile=a.profile, model=not a.model) for a in arms
    ]
    assert _spa(swapped)[0]["p_upper"] > 0.9


@pytest.mark.parametrize("reason_na", ["", "12 labels of 200"])
def test_without_a_comparison_the_reason_is_told(reason_na):
    d = decisions([ALLOW] * 100, gap_s=600)
    rare = decisions([ALLOW] * 29 + [EV] * 71, gap_s=600)
    model = ArmInput("B", True, REGULAR, reason_na=reason_na) if reason_na else arm(rare, 1.0, model=True)
    none, trade = _spa([arm(d, 1.0), model])[:2]
    assert none["reason_na"] == "no profile has 30 trades with the model and without it"
    assert trade["reason_na"] == "no strategy differs from the benchmark"  # the same in every block


def test_nothing_was_run():
    assert selection_dict([], {}, 0) == {"pbo": [], "spa": [], "trials": 0}
