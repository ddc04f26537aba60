"""The gate answers as the plain form of the decision does: same reason, and the same bits of every number."""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import replace
from itertools import cycle
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper

from feature_repo.constants import WINDOW_NS
from feature_repo.instruments import SIMULATED_SYMBOL, FeeTier, instrument
from runtime import Decision, MetaFilter, Reason
from runtime.buckets import BucketEdges, read_buckets
from runtime.bundle import Bundle, load_bundle, write_bundle
from runtime.candidate import Entry, SigType, Tier
from runtime.gate import GuardsOnly
from runtime.payoff import Payoff
from runtime.profiles import profile_of

from ..oracles_gate import GateFacts, plain_decision
from .fuzz import Damage
from .gate_builders import (
    FEE,
    LOT,
    TICK,
    TS,
    buckets_csv,
    candidate,
    graph,
    manifest,
    market_row,
    rolled_out,
    window,
)

VIP = FeeTier("vip", 0.5, 2.5)
OUTSIDE = {Reason.KILL_SWITCH, Reason.STORE_ERROR, Reason.INTERNAL_ERROR, Reason.MODEL_ERROR}


PAIRS = ((-0.5, 1.0), (0.03, 0.05), (0.9e6, 1.2e6))
EDGES = BucketEdges(*PAIRS, 9)
PLAIN = {
    f"{kind}/{'/'.join(states)}/{session}": m
    for (kind, states, session), m in zip(
        [
            (kind, states, session)
            for kind in ("momentum", "divergence", "liquidation", "reversion")  # no reclaim: not even its parent
            for states in (("all",) * 3, ("low", "mid", "mid"), ("mid", "mid", "mid"), ("high", "mid", "high"))
            for session in ("other", "handover")
        ],
        cycle((0.6, 0.0, 0.2, 1.0, 0.4, 0.8, 0.0, 0.6, 0.2)),
        strict=False,
    )
}
"""Buckets with a row of their own, and parents for the others."""
SOME = read_buckets(buckets_csv({f"B/{b}": m for b, m in PLAIN.items()}), fee_tier=FEE.name, name="some")


class Source:
    """Gives, or raises, what it holds."""

    found: Any = None

    def snapshot_at(self, t_ns: int) -> Any:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


class Plausible:
    """``next()`` gives a question that a sound caller may ask: about half of them pass every guard."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._of_candidate = (
            lambda r: {"tier": Tier(int(r.integers(3)))},
            lambda r: {"sig_type": SigType(int(r.integers(5))), "reclaimed": bool(r.integers(2))},
            lambda r: {"price": 2000.0 + float(r.normal(0, 12))},
            lambda r: {"price": np.float32(2000 + r.normal(0, 12)), "R_bps": np.float64(r.uniform(10, 60))},
            lambda r: {"exp_reward_bps": float(r.uniform(18, 45)), "R_bps": float(r.uniform(0.2, 60))},
            lambda r: {"est_slip_bps": float(r.choice([0.0, 0.1, 4.99, 5.01, 7.5, 8.0, np.inf]))},
            lambda r: {"exp_reward_bps": 400.0, "est_slip_bps": float(r.uniform(6, 9))},
            lambda r: {"R_bps": float(r.choice([0.0, -1.0, np.nan, 0.2, 0.273, 30.0])), "price": 2000},
            lambda r: {"expiry_ns": TS + int(r.integers(-1, 2))},
            lambda r: {"ts_ns": np.int64(TS + WINDOW_NS * int(r.integers(-1, 2)))},
        )
        self._of_row = (
            lambda r: {"spread_bps": float(r.uniform(0, 0.1))},
            lambda r: {"spread_median_bps": float(r.uniform(0, 0.1))},
            lambda r: {"depth_top5": float(r.uniform(0.5e6, 2e6)), "depth_median": float(r.uniform(0.5e6, 1.5e6))},
            lambda r: {"data_age_ms": float(r.choice([-1000.5, -3.0, 0.0, 999.9, 1000.0, 1000.1]))},
            lambda r: {"mid": 2000 + float(r.choice([1e-4, 1e-2, -1e-4]))},
            lambda r: {"valid": bool(r.integers(2)), "t_ns": TS + WINDOW_NS * int(r.integers(-1, 2))},
        )

    def __next__(self) -> tuple[Any, int, np.ndarray, np.void]:
        r = self._rng
        scale = float(10.0 ** r.uniform(-1, 1)) if r.random() < 0.95 else 1e11
        x = (r.normal(size=window().shape) * scale).astype(np.float32)
        shape = r.integers(4)
        if shape == 0:
            x = np.asfortranarray(x)
        elif shape == 1:
            x = np.repeat(x, 2, axis=0)[::2]
        of_candidate = {
            "side": int(r.choice([1, -1])),
            "entry": Entry(int(r.integers(2))),
            "sig_type": SigType(int(r.choice([0, 1, 2, 4]))),
            "exp_reward_bps": float(r.uniform(25, 200)),
        }
        of_row: dict[str, Any] = {}
        for made, choices in ((of_candidate, self._of_candidate), (of_row, self._of_row)):
            for _ in range(r.choice(4, p=[0.65, 0.15, 0.1, 0.1])):  # several at once tell in which order they are seen
                made.update(choices[r.integers(len(choices))](r))
        row = market_row(**of_row)
        if r.random() < 0.2:
            row = np.array(row)  # a 0-d array does, too
        return (
            candidate(**of_candidate),
            TS + int(r.choice([0, 2_000_000, 10**9, 10**9 + 1], p=[0.4, 0.5, 0.05, 0.05])),
            x,
            row,
        )


def random_bundle(folder, seed: int) -> Bundle:
    """A tiny graph in which every number of the window and of the context moves P."""
    rng, model = np.random.default_rng(seed), graph(bias=0.8)
    for tensor in model.graph.initializer:
        if tensor.name in ("wx", "wc"):
            weights = rng.normal(size=tuple(tensor.dims)) * (0.02 if tensor.name == "wx" else 0.05)
            tensor.CopyFrom(numpy_helper.from_array(weights.astype(np.float32), tensor.name))
    return load_bundle(
        write_bundle(
            folder / "tiny",
            onnx_bytes=model.SerializeToString(),
            manifest=manifest(),
            buckets_csv=buckets_csv(),
        )
    )


def facts(gate: MetaFilter | GuardsOnly, profile: str, fee: FeeTier, bundle: Bundle | None = None) -> GateFacts:
    """What the plain form has to know; of a gate without a model nothing comes from the gate itself."""
    known = instrument("simulated", SIMULATED_SYMBOL)
    plain = GateFacts(
        symbol=SIMULATED_SYMBOL,
        tick=known.tick,
        lot=known.lot,
        face_value=known.face_value,
        min_notional=known.min_notional,
        base_size=gate.base_size,
        fee=fee,
        profile=profile_of(profile),
        T=64,
    )
    if bundle is None:
        return plain
    paid = bundle.manifest.payoff
    plain = replace(plain, session=bundle.session, model_fee=bundle.manifest.fee_tier)
    plain = replace(plain, tau=bundle.manifest.taus[profile[0]], breakeven_guard=gate.breakeven_guard)
    return plain if paid is None else replace(plain, target_R=paid.target_R, miss_R=paid.miss_R)


@pytest.fixture(scope="module")
def arms(tmp_path_factory):
    bundle = random_bundle(tmp_path_factory.mktemp("releases"), seed=3)
    paid = replace(bundle, manifest=replace(bundle.manifest, payoff=Payoff(0.92, -0.33)))
    staged = replace(bundle, manifest=replace(bundle.manifest, edges=EDGES), buckets=SOME)
    small = replace(staged, manifest=replace(staged.manifest, rollout=rolled_out("tiny", "small_live")))
    known = instrument("simulated", SIMULATED_SYMBOL)
    assert (known.tick, known.lot) == (TICK, LOT)
    guards = GuardsOnly.on(known, "C", fee=FEE)
    guards.source = Source()
    tiny = MetaFilter(bundle, base_size=20.0, source=Source())
    priced = MetaFilter(paid, profile="C6", fee=VIP, source=Source())
    stepped, fifth = (MetaFilter(b, source=Source()) for b in (staged, small))
    free = MetaFilter(paid, profile="A", fee=VIP, breakeven_guard=False, source=Source())
    return [
        (guards, facts(guards, "C", FEE)),
        (tiny, facts(tiny, "B", FEE, bundle)),
        (priced, facts(priced, "C6", VIP, paid)),
        (free, facts(free, "A", VIP, paid)),
        (stepped, replace(facts(stepped, "B", FEE, bundle), edges=PAIRS, multipliers=PLAIN)),
        (fifth, replace(facts(fifth, "B", FEE, bundle), edges=PAIRS, multipliers=PLAIN, cap=0.2)),
    ]


def bits(reason: str, p: float, size: float, p_breakeven: float) -> tuple[str, bytes]:
    return reason, struct.pack("<3d", p, size, p_breakeven)


def answered(d: Decision) -> tuple[str, bytes]:
    assert d.allow is (d.reason is Reason.ALLOW)
    return bits(d.reason.value, d.p, d.size, d.p_breakeven)


@pytest.mark.slow
def test_plausible_questions_are_answered_as_the_plain_form_does(arms):
    questions, seen, sides = Plausible(seed=11), Counter(), set()
    for _ in range(1_200):
        c, now_ns, x, row = next(questions)
        kept = x.copy()
        for gate, plain in arms:
            gate.source.found = (x, row)
            want = bits(*plain_decision(plain, c, now_ns, (x, row)))
            given = gate.decide(c, now_ns, x, row)
            assert answered(given) == want
            assert answered(gate.allow(c, now_ns)) == want
            seen[given.reason] += 1
            sides.add((given.allow, c.side))
        np.testing.assert_array_equal(x, kept)  # the caller's window is left alone
    assert len(sides) == 4
    assert seen[Reason.ALLOW] > 500, seen
    assert set(seen) >= set(Reason) - OUTSIDE - {Reason.BAD_CANDIDATE, Reason.WRONG_SYMBOL}, seen


def test_damaged_questions_are_answered_as_the_plain_form_does(arms):
    damage, seen = Damage(seed=5), Counter()
    for _ in range(2_500):
        _, (c, now_ns, x, row) = next(damage)
        for gate, plain in arms[:2]:
            want = plain_decision(plain, c, now_ns, (x, row))
            assert answered(gate.decide(c, now_ns, x, row)) == bits(*want), (c, now_ns, x, row)
            gate.source.found = (x, row)
            assert answered(gate.allow(c, now_ns)) == bits(*want), (c, now_ns, x, row)
            seen[want[0]] += 1
    assert {"bad_candidate", "wrong_symbol", "expired", "no_window", "internal_error"} <= set(seen)


@pytest.mark.parametrize("found", [None, OSError("gone"), (1, 2, 3), 5, (None, None), [window(), market_row()]])
def test_whatever_a_source_gives(arms, found):
    for gate, plain in arms:
        gate.source.found = found
        for c in (
            candidate(),
            candidate(symbol="other"),
            candidate(expiry_ns=TS - 1),
            candidate(symbol="other", expiry_ns=TS - 1),
            candidate(symbol="other", price=10**400),
            candidate(R_bps=0.0),
            None,
        ):
            assert answered(gate.allow(c, TS)) == bits(*plain_decision(plain, c, TS, found))
