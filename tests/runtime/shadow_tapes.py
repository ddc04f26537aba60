"""Tapes for a shadow run, and what its parts make of one: from candidates to trades."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from feature_repo.build import build_features
from feature_repo.events import (
    BUY,
    DEPTH,
    DEPTH_SNAPSHOT,
    EVENT_DTYPE,
    EXCH,
    LOCAL,
    SELL,
    TRADE,
)
from feature_repo.instruments import INSTRUMENTS, FeeTier
from feature_repo.market.hft import to_hftbacktest
from feature_repo.market.tape import Tape
from feature_repo.table import FeatureTable
from meta_models.labels import INVALID, label_candidates
from reports.funnel import funnel
from reports.records import EXITS, ArmInput
from runtime.arms import candidate_orders, decide_all, rows_of_orders
from runtime.candidate import Candidate, Entry, SigType, Tier
from runtime.gate import GuardsOnly
from runtime.shadow import blind_spans
from runtime.shadow_types import NO_DATA
from runtime.signals import find_candidates

from .shadow_run import trades_of

__all__ = [
    "ETH",
    "FEE",
    "INF",
    "MS",
    "NAN",
    "PRICES",
    "S",
    "Seen",
    "calm",
    "one_no_data",
    "own",
    "same",
    "says_nothing",
    "shadow",
]

MS, S = 1_000_000, 1_000_000_000
ETH = INSTRUMENTS[("binance_usdm", "ETHUSDT")]
FEE = FeeTier("test", 0.0, 1.7)
NAN, INF = math.nan, math.inf
PRICES = ("entry_px", "exit_px", "gross_bps", "net_bps")


@dataclass(frozen=True)
class Seen:
    """What the parts of a shadow run make of one tape."""

    table: FeatureTable
    candidates: list[Candidate]
    labels: np.ndarray
    decisions: np.ndarray
    trades: np.ndarray  # each candidate on its own
    end_ns: int

    @property
    def ts(self) -> np.ndarray:
        return np.array([c.ts_ns for c in self.candidates], np.int64)

    @property
    def arm(self) -> ArmInput:
        """As the report gets it; every allowed one is tried on its own."""
        alone = dict.fromkeys(EXITS, self.trades)
        taken = dict.fromkeys(EXITS, self.trades[self.decisions["allow"]])
        return ArmInput("C", False, FEE, self.decisions, alone, taken)


def shadow(events, candidates=None) -> Seen:
    """Candidates (or a person's own), labels, decisions without a model, and the candidate book."""
    tape = Tape(ETH.venue, ETH.symbol, events, {})
    table = build_features(tape)
    if candidates is None:
        candidates = find_candidates(table)
    ts = np.array([c.ts_ns for c in candidates], np.int64)
    labels = label_candidates(
        table.quotes, tape.of_kind(TRADE), candidates, FEE, instrument=ETH, end_ns=tape.span_ns[1]
    )
    x, found = table.windows(ts)
    # A window that is not there has no row either; which one stands in for it must not matter.
    market = np.zeros(len(ts), table.market.dtype)
    there = np.isin(ts, table.t_ns)
    market[there] = table.market[np.searchsorted(table.t_ns, ts[there])]
    gate = GuardsOnly("C", fee=FEE, symbol=ETH.symbol, tick=ETH.tick, lot=ETH.lot)
    decisions = decide_all([gate] * len(ts), candidates, x, found, market, np.ones(len(ts), bool))
    orders, rows = candidate_orders(candidates, np.full(len(ts), 10_000.0))
    blind = blind_spans(table.quotes)
    alone = trades_of(to_hftbacktest(tape), ETH, orders, fee=FEE, one_at_a_time=False, blind=blind)
    return Seen(table, candidates, labels, decisions, rows_of_orders(alone, rows, candidates), tape.span_ns[1])


def own(*ts_ns: int) -> list[Candidate]:
    """A person's entries at these times, taker and maker in turn."""
    return [
        Candidate(
            ts_ns=t,
            symbol=ETH.symbol,
            side=1,
            sig_type=SigType.MOMENTUM,
            tier=Tier.A,
            price=2000.0,
            R_bps=20.0,
            exp_reward_bps=18.0,
            est_slip_bps=0.5,
            entry=Entry(k % 2),
            expiry_ns=t + S,
        )
        for k, t in enumerate(ts_ns)
    ]


def calm(seconds=90.0, sides=(BUY, SELL), start=1_767_571_200 * S) -> np.ndarray:
    """Five levels a side, told again ten times a second; their sizes go to and fro, their prices do not move.

    The first message is a snapshot.
    """
    rows = [
        (
            (DEPTH if k else DEPTH_SNAPSHOT) | side | LOCAL | EXCH,
            *(start + k * 100 * MS, start + (k * 100 + 5) * MS),
            *(px, 50.0 + k % 2, 0, 0, 0.0),
        )
        for k in range(int(seconds * 10))
        for side in sides
        for px in ((2000.0 - 0.01 * n) if side == BUY else (2000.01 + 0.01 * n) for n in range(5))
    ]
    return np.array(rows, EVENT_DTYPE)


def same(a, b) -> bool:
    """Equal to the last bit; a NaN equals a NaN."""
    a, b = (v.tolist() if isinstance(v, np.ndarray) else v for v in (a, b))
    return repr(a) == repr(b)


def says_nothing(labels, trades):
    """No label and no trade: stated outcomes, and not one number to take for a result."""
    assert (labels["outcome"] == INVALID).all()
    assert (labels["y"] == -1).all()
    assert (labels["weight"] == 0).all()
    assert all(np.isnan(labels[name]).all() for name in PRICES)
    assert (trades["status"] == NO_DATA).all()
    assert (trades["outcome"] == 4).all()
    assert all(np.isnan(trades[name]).all() for name in (*PRICES, "fee_bps", "slip_bps", "funding_bps"))


def one_no_data(arm: ArmInput) -> int:
    """What the report counts as allowed, but without data."""
    return funnel(arm)[-1].no_data
