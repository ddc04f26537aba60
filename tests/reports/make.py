"""Arms made by hand for the tests of the reports."""

from __future__ import annotations

import numpy as np

from feature_repo.constants import SECOND_NS
from feature_repo.instruments import FeeTier
from reports.records import EXITS, FACTS_DTYPE, REASONS, ArmInput, RunFacts
from runtime.decision import Reason
from runtime.profiles import PROFILES

REGULAR = FeeTier("regular", 2.0, 5.0)
VIP9 = FeeTier("vip9", 0.0, 1.7)
START = 1_767_571_200 * SECOND_NS  # 2026-01-05 00:00 UTC
DAY_S = 86_400

# Written out here, so that these tests need no backtester; test_records holds them against runtime's own.
DECISION_DTYPE = np.dtype(
    [
        ("ts_ns", "i8"),
        ("side", "i1"),
        ("sig_type", "i1"),
        ("tier", "i1"),
        ("session", "?"),
        ("allow", "?"),
        ("reason", "i2"),
        *((name, "f8") for name in ("p", "size", "p_breakeven", "latency_us")),
    ]
)
_PRICES = ("entry_px", "exit_px", "qty")
_BPS = ("gross_bps", "slip_bps", "fee_bps", "funding_bps", "net_bps")
TRADE_DTYPE = np.dtype(
    [
        ("status", "i1"),
        ("outcome", "i1"),
        ("t_fill_ns", "i8"),
        ("t_end_ns", "i8"),
        *((name, "f8") for name in (*_PRICES, *_BPS)),
    ]
)


def code(reason: Reason) -> int:
    return REASONS.index(reason)


def decisions(reasons, sig=0, tier=0, *, gap_s=30, session=False, p=np.nan, size=10_000.0, latency_us=800.0):
    """DECISION_DTYPE from a list of reasons; the rest broadcasts."""
    d = np.zeros(len(reasons), DECISION_DTYPE)
    d["ts_ns"] = START + np.arange(len(d)) * gap_s * SECOND_NS
    d["side"] = 1
    d["reason"] = [code(r) for r in reasons]
    d["allow"] = d["reason"] == code(Reason.ALLOW)
    d["sig_type"], d["tier"], d["session"], d["p"] = sig, tier, session, p
    d["size"] = np.where(d["allow"], size, 0.0)
    d["p_breakeven"], d["latency_us"] = 0.6, latency_us
    return d


def trades(net, *, status=0, fee=3.0, slip=0.5, funding=0.0, outcome=0, t_ns=None):
    """TRADE_DTYPE with the given net bps; gross is what makes the sum right."""
    net = np.atleast_1d(np.asarray(net, float))
    t = np.zeros(len(net), TRADE_DTYPE)
    t["status"], t["outcome"] = status, outcome
    t["net_bps"], t["fee_bps"], t["slip_bps"], t["funding_bps"] = net, fee, slip, funding
    t["gross_bps"] = t["net_bps"] + t["fee_bps"] + t["slip_bps"] + t["funding_bps"]
    t["t_fill_ns"] = (START + np.arange(len(t)) * 30 * SECOND_NS) if t_ns is None else t_ns
    t["t_end_ns"] = t["t_fill_ns"] + SECOND_NS
    return t


def e2e_rows(ms, sig=0, *, asked=True):
    """Latency rows with the fields that the report reads, from milliseconds."""
    rows = np.zeros(len(ms), [("sig_type", "i1"), ("asked", "?"), ("e2e_us", "f8")])
    rows["e2e_us"], rows["sig_type"], rows["asked"] = np.asarray(ms, float) * 1e3, sig, asked
    return rows


def arm(d, net, *, profile="B", model=False, fee=REGULAR, facts=None, status=None, reward=20.0, est_slip=0.7, **more):
    """An arm whose candidates earn ``net`` [N] each; ``status`` [M] is that of the portfolio's rows."""
    net = np.broadcast_to(np.asarray(net, float), (len(d),))
    book = trades(net, t_ns=d["ts_ns"], **more)
    portfolio = book[d["allow"]].copy()
    if status is not None:
        portfolio["status"] = status
    if facts is None:
        facts = np.zeros(len(d), FACTS_DTYPE)
        facts["exp_reward_bps"], facts["est_slip_bps"] = reward, est_slip
    return ArmInput(profile, model, fee, d, dict.fromkeys(EXITS, book), dict.fromkeys(EXITS, portfolio), facts)


def run_facts(**more) -> RunFacts:
    given = {
        "venue": "binance_usdm",
        "symbol": "ETHUSDT",
        "simulated": False,
        "tape": "tape.parquet",
        "span_ns": (START, START + 30 * DAY_S * SECOND_NS),
        "fee_tier_given": "regular",
        "tick_bps": 0.03,
        "seed": 7,
        "label_outcomes": (40, 50, 10, 3, 1),
    }
    return RunFacts(**{**given, **more})


def rich_world(n=3000, seed=3, *, simulated=True, edge=6.0, days=1.0, tiers=(REGULAR, VIP9), profiles="ABC"):
    """Arms of each fee tier and profile, with and without a model that sees a planted edge; and its forecasts."""
    rng = np.random.default_rng(seed)
    ts = START + np.sort(rng.integers(0, int(days * DAY_S) * 10, n)) * (SECOND_NS // 10)
    sig, tier = rng.integers(0, 5, n), rng.integers(0, 3, n)
    quality = rng.normal(size=n)
    p = 1.0 / (1.0 + np.exp(-(0.2 + quality)))
    y = rng.random(n) < p
    facts = np.zeros(n, FACTS_DTYPE)
    facts["exp_reward_bps"], facts["est_slip_bps"] = rng.uniform(10, 40, n), 0.6
    facts["ofi_z"], facts["spread_bps"], facts["depth"] = (
        rng.gamma(4, 0.7, n),
        rng.gamma(2, 0.1, n),
        rng.gamma(9, 1e5, n),
    )
    gross = {"label": np.where(y, 9.0, -11.0) + edge * quality + 3.0}
    gross["runner"] = gross["label"] * np.where(gross["label"] > 0, 1.6, 1.0)
    guard = rng.random(n)
    arms = []
    for fee in tiers:
        for profile in profiles:
            tau = PROFILES[profile[:1]].tau
            for model in (False, True):
                reason = np.full(n, code(Reason.ALLOW))
                if model:
                    reason[p <= tau] = code(Reason.P_BELOW_TAU)
                reason[guard < 0.35] = code(Reason.EV)
                reason[guard < 0.28] = code(Reason.SLIPPAGE)
                reason[guard < 0.20] = code(Reason.DEPTH)
                reason[guard < 0.10] = code(Reason.SPREAD)
                reason[tier > "ABC".index(profile[0])] = code(Reason.TIER)
                d = decisions([REASONS[r] for r in reason], sig, tier)
                d["ts_ns"], d["session"] = ts, rng.random(n) < 0.7
                d["p"] = np.where(
                    np.isin(d["reason"], [code(Reason.ALLOW), code(Reason.P_BELOW_TAU)]) & model, p, np.nan
                )
                books = {
                    e: trades(g - 2 * fee.taker_bps - 0.8, fee=2 * fee.taker_bps, slip=0.8, t_ns=ts)
                    for e, g in gross.items()
                }
                portfolio = {e: b[d["allow"]].copy() for e, b in books.items()}
                for b in portfolio.values():
                    b["status"] = np.where(np.diff(b["t_fill_ns"], prepend=0) < 20 * SECOND_NS, 2, 0)
                arms.append(ArmInput(profile, model, fee, d, books, portfolio, facts))
    return arms, p, y, sig, facts
