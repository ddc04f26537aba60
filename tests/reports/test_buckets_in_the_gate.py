"""The gate puts a candidate into the bucket that the report judged it in, and goes by the multiplier it found there."""

from __future__ import annotations

import math

import numpy as np

from feature_repo.fields import CHANNELS
from reports.buckets import bucket_rows, buckets_csv, fit_edges
from reports.records import FACTS_DTYPE, candidate_facts
from runtime.buckets import Bucket, BucketEdges, Shares, read_buckets
from runtime.candidate import SigType
from runtime.decision import Reason
from runtime.gate import MetaFilter
from tests.reports.make import REGULAR, arm, decisions
from tests.runtime.gate_builders import TS, bundle_folder, candidate, market_row

N = 4_000


def market(rng):
    """Signal types, sides, sessions and market states, with ties on the edges."""
    sig_type, side, session = rng.integers(0, 5, N), rng.choice([-1, 1], N), rng.random(N) < 0.3
    ofi_z = np.round(rng.normal(0, 2, N), 1).astype(np.float32)
    spread = rng.choice([0.05, 0.1, 0.15, 0.2], N)
    depth = np.round(rng.lognormal(13, 0.5, N), -4)
    return sig_type, side, session, ofi_z, spread, depth


def test_each_candidate_is_in_the_bucket_that_it_was_counted_in():
    rng = np.random.default_rng(4)
    sig_type, side, session, ofi_z, spread, depth = market(rng)
    facts = candidate_facts(np.full(N, 30.0), ofi_z, spread, depth, side, np.full(N, 0.5))
    edges = fit_edges(facts[: N // 2])
    d = decisions([Reason.ALLOW] * N, sig=sig_type, session=session)
    judged = arm(d, rng.normal(np.where(facts["ofi_z"] > 0, 4, -4), 10), facts=facts, model=True)
    rows = bucket_rows(judged, edges, simulated=True)
    cells = {(r.sig_type, r.ofi_z, r.spread, r.depth, r.session): r for r in rows}
    table = read_buckets(buckets_csv(rows), fee_tier=REGULAR.name, name="rows")
    shares = Shares(table, edges, "B", 1.0)
    counts: dict[tuple, int] = {}
    for i in range(N):
        state = (int(sig_type[i]), bool(session[i]), float(ofi_z[i]) * int(side[i]), float(spread[i]), float(depth[i]))
        bucket = shares.bucket(*state)
        counts[bucket[1:]] = counts.get(bucket[1:], 0) + 1
        assert shares.multiplier(*state) == cells[bucket[1:]].multiplier
    assert counts == {key: r.n for key, r in cells.items() if key[1] != "all"}
    assert len(table.shares) == len(cells)
    assert {r.multiplier for r in rows} >= {0.0, 0.2}


def test_unknown_states_and_unknown_edges_are_for_the_parent_only():
    rng = np.random.default_rng(5)
    facts = np.zeros(300, FACTS_DTYPE)
    facts["ofi_z"], facts["spread_bps"], facts["depth"] = rng.normal(size=300), 0.1, rng.random(300)
    facts["ofi_z"][::3], facts["depth"][1::3] = math.nan, math.inf
    edges = BucketEdges((-0.4, 0.4), (0.1, 0.1), (0.3, 0.6), 9)
    for used in (edges, None, BucketEdges((math.nan, math.nan), (0.1, 0.1), (0.3, 0.6), 9)):
        judged = arm(decisions([Reason.ALLOW] * 300), 1.0, facts=facts)
        rows = bucket_rows(judged, used, simulated=True)
        shares = Shares(read_buckets(buckets_csv([]), fee_tier=REGULAR.name, name="none"), used, "B", 1.0)
        cells = [shares.bucket(0, False, *map(float, (f["ofi_z"], f["spread_bps"], f["depth"]))) for f in facts]
        assert sum(r.n for r in rows if r.ofi_z != "all") == sum(c.ofi_z != "all" for c in cells)


def test_the_whole_way_through_the_gate(tmp_path):
    """From a window and a market row, as the matrix takes its facts from the table."""
    rng = np.random.default_rng(6)
    edges = BucketEdges((-1.0, 1.0), (0.04, 0.06), (0.9e6, 1.1e6), 9)
    gate = MetaFilter.load(bundle_folder(tmp_path, of={"edges": edges, "rollout": None}), shadow=True)
    for _ in range(200):
        x = rng.normal(0, 2, (64, len(CHANNELS))).astype(np.float32)
        row = market_row(spread_bps=rng.choice([0.04, 0.05, 0.061]), depth_top5=float(rng.uniform(0.5e6, 1.5e6)))
        c = candidate(side=int(rng.choice([-1, 1])), sig_type=SigType(int(rng.integers(5))))
        facts = candidate_facts(
            np.array([c.exp_reward_bps]), x[-1:, CHANNELS.index("ofi_z")], row["spread_bps"][None],
            row["depth_top5"][None], np.array([c.side]), np.array([c.est_slip_bps]),
        )  # fmt: skip
        session = x[-1, CHANNELS.index("session_flag")] > 0
        d = decisions([Reason.ALLOW], sig=int(c.sig_type), session=session)
        *_, own = bucket_rows(arm(d, 1.0, facts=facts), edges, simulated=True)
        given = gate.bucket_of(c, x, float(row["spread_bps"]), float(row["depth_top5"]))
        assert given == Bucket("B", own.sig_type, own.ofi_z, own.spread, own.depth, own.session)
        assert c.ts_ns == TS
