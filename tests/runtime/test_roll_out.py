"""A gate orders what the roll-out of its release allows in the candidate's market state; below small live nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from feature_repo.errors import InputError
from feature_repo.fields import CHANNELS
from runtime import MetaFilter, Reason
from runtime.buckets import Bucket, BucketEdges, BucketTable, Share, Shares
from runtime.bundle import load_bundle
from runtime.candidate import SigType
from runtime.decision_log import LoggedGate, SeenWindow, find_decision
from runtime.explain import explain
from runtime.release_change import change

from .gate_builders import LOT, TS, buckets_csv, bundle_folder, candidate, market_row, rolled_out, window
from .release_folders import candidates

OFI, SESSION = CHANNELS.index("ofi_z"), CHANNELS.index("session_flag")
EDGES = BucketEdges((-1.0, 1.0), (0.04, 0.06), (0.9e6, 1.1e6), 9)
MULTIPLIERS = {
    "B/momentum/all/all/all/other": 0.4,
    "B/momentum/all/all/all/handover": 0.0,
    "B/momentum/high/mid/mid/other": 1.0,
    "B/momentum/low/mid/mid/other": 0.0,
    "B/momentum/high/mid/mid/handover": 0.2,
    "A/momentum/all/all/all/other": 0.6,
}
FULL = 10_000 * (0.8807970881462097 - 0.65)


def staged(root, stage="scaled", **of):
    of = {"rollout": stage and rolled_out("tiny", stage), "edges": EDGES, **of}
    return bundle_folder(root, of=of, buckets=buckets_csv(MULTIPLIERS))


def seen(ofi=0.0, handover=0.0):
    x = window()
    x[:-1, OFI], x[:-1, SESSION] = 5.0, 1.0 - handover  # rows before the last one do not count
    x[-1, OFI], x[-1, SESSION] = ofi, handover
    return x


def answer(gate, *, ofi=0.0, handover=0.0, row=None, **of):
    return gate.decide(candidate(**of), TS, seen(ofi, handover), market_row(**(row or {})))


@pytest.mark.parametrize("stage", [None, "shadow"])
def test_below_small_live_nothing_is_ordered(tmp_path, stage):
    gate = MetaFilter.load(staged(tmp_path, stage))
    d = answer(gate, ofi=2.0)
    assert (d.allow, d.size, d.reason) == (False, 0.0, Reason.NOT_ROLLED_OUT)
    assert d.p == pytest.approx(0.8808, abs=1e-4)  # P is known, and a shadow is judged by it


def test_a_candidate_orders_nothing_whatever_rows_it_holds(tmp_path):
    rows = load_bundle(staged(tmp_path / "a")).buckets
    bundle = load_bundle(staged(tmp_path / "b", None))
    assert bundle.buckets.shares == {}
    assert answer(MetaFilter(replace(bundle, buckets=rows)), ofi=2.0).reason is Reason.NOT_ROLLED_OUT


@pytest.mark.parametrize(
    ("asked", "multiplier"),
    [
        ({"ofi": 2.0}, 1.0),
        ({"ofi": -2.0}, 0.0),
        ({"ofi": -2.0, "side": -1}, 1.0),  # in the direction of the candidate
        ({"ofi": 0.0}, 0.4),  # no row of its own: its parent
        ({"ofi": 2.0, "row": {"spread_bps": 0.07}}, 0.4),
        ({"ofi": 2.0, "row": {"depth_top5": 1.2e6}}, 0.4),
        ({"ofi": 2.0, "handover": 1.0}, 0.2),
        ({"ofi": 0.0, "handover": 1.0}, 0.0),
        ({"ofi": 2.0, "sig_type": SigType.REVERSION}, 0.0),  # no row, and no parent
        ({"ofi": 1.0}, 0.4),  # on the edge: below it
        ({"ofi": float(np.nextafter(np.float32(1), np.float32(2)))}, 1.0),
    ],
)
def test_the_size_is_that_share_of_the_full_one(tmp_path, asked, multiplier):
    d = answer(MetaFilter.load(staged(tmp_path)), **asked)
    if multiplier == 0:
        assert (d.allow, d.size, d.reason) == (False, 0.0, Reason.NOT_ROLLED_OUT)
    else:
        assert d.reason is Reason.ALLOW
        assert 0 <= FULL * multiplier - d.size < LOT * 2_000 + 1e-6


def test_small_live_is_a_fifth_whatever_the_buckets_say(tmp_path):
    gate = MetaFilter.load(staged(tmp_path, "small_live"))
    sizes = [answer(gate, ofi=ofi).size for ofi in (2.0, 0.0)]
    assert sizes == [pytest.approx(FULL * 0.2, abs=LOT * 2_000)] * 2


def test_without_edges_a_candidate_goes_by_its_parent(tmp_path):
    for edges in (None, replace(EDGES, depth=(math.nan, math.nan))):
        d = answer(MetaFilter.load(staged(tmp_path, edges=edges)), ofi=2.0)
        assert d.size == pytest.approx(FULL * 0.4, abs=LOT * 2_000)


def test_another_profile_goes_by_its_own_rows_and_a_variant_by_its_letters(tmp_path):
    folder = staged(tmp_path)
    assert answer(MetaFilter.load(folder, profile="A"), ofi=2.0).size == pytest.approx(
        10_000 * (0.8808 - 0.7) * 0.6, abs=LOT * 2_000
    )
    assert answer(MetaFilter.load(folder, profile="C"), ofi=2.0).reason is Reason.NOT_ROLLED_OUT
    table = BucketTable({Bucket("C", "momentum", *["all"] * 3, "other"): Share(1.0)})
    letter = MetaFilter(replace(load_bundle(folder), buckets=table), profile="C6")
    assert answer(letter).allow


@pytest.mark.parametrize("stage", [None, "shadow", "small_live", "scaled"])
def test_in_shadow_mode_everything_is_as_if_rolled_out_in_full(tmp_path, stage):
    gate = MetaFilter.load(staged(tmp_path, stage), shadow=True)
    for ofi in (-2.0, 0.0, 2.0):
        d = answer(gate, ofi=ofi, handover=1.0)
        assert d.size == pytest.approx(FULL, abs=LOT * 2_000)


@pytest.mark.parametrize("shadow", [1, "yes", None, np.True_])
def test_shadow_mode_is_never_got_by_accident(tmp_path, shadow):
    with pytest.raises(InputError, match="shadow ="):
        MetaFilter.load(staged(tmp_path), shadow=shadow)


def test_a_weak_p_is_the_reason_before_the_roll_out_and_a_small_size_after_it(tmp_path):
    gate = MetaFilter.load(staged(tmp_path, None), profile="B")
    gate.tau = 0.9
    assert answer(gate).reason is Reason.P_BELOW_TAU
    small = MetaFilter.load(staged(tmp_path), base_size=20.0)  # 4.6 USD in full, 1.8 here, and a lot is 2
    assert answer(small, ofi=2.0).allow
    assert answer(small, ofi=0.0).reason is Reason.SIZE_TOO_SMALL


def test_a_window_of_no_numbers_has_no_bucket_but_its_parent():
    table = BucketTable({Bucket("B", "momentum", *["all"] * 3, "other"): Share(0.6)})
    shares = Shares(table, EDGES, "B", 1.0)
    for bad in (math.nan, math.inf, -math.inf):
        for k in range(3):
            state = [0.0, 0.05, 1e6]
            state[k] = bad
            assert shares.multiplier(0, False, *state) == 0.6
            assert shares.bucket(0, False, *state).ofi_z == "all"


# ---------------------------------------------------------------- the ladder and the gate


def test_what_a_bot_may_order_grows_with_the_ladder(tmp_path):
    releases = candidates(tmp_path, "one", buckets=buckets_csv({"B/momentum/all/all/all/other": 0.8}))
    got, now = [], None
    events = ["passed", "step", *["step"] * 4, "drawdown"]
    for k, event in enumerate(events):
        now = change(
            releases, event, at_ns=k, why="", tag="one" if event == "passed" else None,
            multipliers={b: m + 0.2 for b, m in now.multipliers.items()} if k >= 2 and event == "step" else None,
        )  # fmt: skip
        got.append(answer(MetaFilter.load(releases / "current")).size / FULL)
    assert got == [0.0, *(pytest.approx(m, abs=0.002) for m in (0.2, 0.4, 0.6, 0.8, 1.0)), 0.0]


# ---------------------------------------------------------------- log and explanation


class Held:
    found = None

    def snapshot_at(self, t_ns):
        return self.found


def test_log_and_explanation_say_bucket_and_multiplier_and_replay_bit_for_bit(tmp_path):
    staged(tmp_path / "releases")
    for shadow in (False, True):
        for ofi, multiplier in ((2.0, 1.0), (0.0, 0.4), (-2.0, 0.0)):
            held = Held()
            held.found = (seen(ofi), market_row())
            source = SeenWindow(held)
            log = tmp_path / f"{shadow}{ofi}"
            gate = MetaFilter.load(tmp_path / "releases" / "tiny", source=source, shadow=shadow)
            with LoggedGate(gate, source, log) as logged:
                d = logged.allow(candidate(), TS)
            row = find_decision(log, "last")
            state = {2.0: "high", 0.0: "mid", -2.0: "low"}[ofi]
            assert (row.bucket, row.shadow) == (f"B/momentum/{state}/mid/mid/other", shadow)
            assert row.multiplier == (1.0 if shadow else multiplier)
            found = explain(row, tmp_path / "releases")
            assert found.same is True
            assert found.again.size == d.size
            (check,) = (r for r in found.rows if r.reason is Reason.NOT_ROLLED_OUT)
            assert check.passed is (shadow or multiplier > 0)
            assert check.value == f"x {row.multiplier:g} in {row.bucket}" + (", shadow" if shadow else "")
            assert check.wanted == "> 0; stage scaled"


def test_a_decision_without_a_window_has_no_bucket(tmp_path):
    held = Held()
    source = SeenWindow(held)
    with LoggedGate(MetaFilter.load(staged(tmp_path), source=source), source, tmp_path / "log") as gate:
        gate.allow(candidate(), TS)
    row = find_decision(tmp_path / "log", "last")
    assert (row.bucket, row.multiplier) == (None, None)
    assert explain(row, tmp_path).same is True
