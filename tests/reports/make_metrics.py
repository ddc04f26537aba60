"""A whole metrics.json made by hand, every section filled; numbers are plain functions of the arm's place."""

from __future__ import annotations

from reports.buckets import BucketRow
from reports.funnel import STAGES
from tests.reports.make_training import START, TIERS, bounds, fold_result, selection_dict, training_dict

TYPES = ("momentum", "divergence", "liquidation", "reclaim", "reversion")
PROFILES = ("A", "B", "C", "C6")
LADDER = (("regular", 2.0, 5.0), ("vip1", 1.6, 4.0), ("vip5", 0.8, 2.7), ("vip9", 0.0, 1.7))
KPI_KEYS = (
    "ir_stressed", "ir_day", "win_rate_momentum", "payoff_momentum", "win_rate_divergence", "cost_share", "rejection",
    "handover", "ece", "dsr", "pbo",
)  # fmt: skip
BANNER = "SIMULATED DATA with a planted edge: says nothing about a real market"


def type_dict(sig, k=0, trades=120):
    return {
        "sig_type": sig, "trades": trades, "fill_rate": 0.8, "win_rate": 0.45, "payoff": 1.31, "gross_bps": 7.5 + k,
        "fee_bps": 5.0, "slip_bps": 0.9, "est_slip_bps": 0.7, "funding_bps": 0.01, "net_bps": 1.59 + k,
        "cost_share": 0.37, "handover_share": 0.62,
    }  # fmt: skip


def exit_dict(k=0.0, trades=612):
    """Statistics of one exit; ``k`` shifts the result in bps."""
    return {
        "trades": trades, "unfilled": 40, "busy": 75, "no_data": 0,
        "few": "" if trades >= 500 else f"{trades} of 500 trades",
        "fill_rate": 0.94, "win_rate": 0.47, "payoff": 1.28, "gross_bps": 7.25 + k, "fee_bps": 5.5, "slip_bps": 0.91,
        "est_slip_bps": 0.73, "funding_bps": 0.02, "net_bps": bounds(0.82 + k), "ir_trade": bounds(0.071, 0.05),
        "stressed_bps": bounds(-2.395 + k), "ir_stressed": bounds(-0.204, 0.06), "max_drawdown_bps": 845.2,
        "max_drawdown_pct": 0.8, "cost_share": 0.38, "handover_trades_share": 0.31, "divergence_trades": 90,
        "handover_share": 0.66, "ir_day": bounds(2.34, 1.1), "ir_day_stressed": bounds(-1.25, 1.2), "days": 30,
        "few_days": "", "sized_bps": 0.95 + k, "sized_pnl": 512.5, "timeout_share": 0.1, "candidate_trades": 700,
        "candidate_bps": 1.1, "by_type": [type_dict(sig, k) for sig in TYPES],
    }  # fmt: skip


def arm_dict(tier=TIERS[0], profile="B", model=True, *, k=0.0, trades=612, na=None):
    head = {
        "fee_tier": tier[0], "profile": profile, "model": model, "maker_bps": tier[1], "taker_bps": tier[2], "na": na,
    }  # fmt: skip
    if na:
        return {**head, "candidates": 0, "allowed": 0}
    reasons = {"allow": 700, "tier": 900, "spread": 150, "depth": 450, "reclaim": 50, "slippage": 125, "ev": 500}
    if model:
        reasons |= {"allow": 300, "p_below_tau": 400}
    judged = {r: n for r, n in reasons.items() if r != "tier"}
    total = sum(judged.values())
    return {
        **head, "candidates": total, "allowed": reasons["allow"], "rejection": 0.47, "rejection_total": 0.65,
        "passed_liquidity": 1325, "reasons": reasons,
        "reason_rates": {r: n / total for r, n in judged.items() if r != "allow"},
        "allowed_below_breakeven": 0.1, "mean_size": 9000.0,
        "exits": {"label": exit_dict(k, trades), "runner": exit_dict(k + 0.5, trades)},
    }  # fmt: skip


def funnel_dict(arm):
    key = {name: arm[name] for name in ("fee_tier", "profile", "model")}
    ends = {"filled_runner": 50, "busy": 7, "unfilled": 4, "no_data": 0}
    rows = [
        {"sig_type": sig, **{s: 900 - 100 * i for i, s in enumerate(STAGES)}, **ends} for sig in (*TYPES, "all")
    ]  # fmt: skip
    return {**key, "na": arm["na"], "rows": [] if arm["na"] else rows}


def kpi_dict(key, title, status, value, *, measured=False):
    return {
        "key": key, "title": title, "status": status, "value": value, "threshold": ">= 0", "n": 612, "note": "",
        "measured": measured,
    }  # fmt: skip


def tier_dict(tier, model, k):
    return {
        "fee_tier": tier[0], "maker_bps": tier[1], "taker_bps": tier[2], "model": model, "na": None, "trades": 612,
        "few": "", "net_bps": bounds(0.82 + k), "ir_trade": {"label": bounds(0.05, 0.04), "runner": bounds(0.08, 0.04)},
        "ir_day": bounds(1.9), "verdict": "NO-GO", "reasons": ["The data is simulated.", "Too few days."],
    }  # fmt: skip


def point(knob, value, *, net=1.0, half=0.8, label="", tier="regular", model=True, trades=612, filled=0.97):
    return {
        "knob": knob, "value": value, "label": label, "fee_tier": tier, "profile": "B", "model": model,
        "trades": trades, "net_bps": bounds(net, half), "filled_share": filled, "pnl_usd": 1250.5,
    }  # fmt: skip


def sensitivity_points():
    out = []
    for model in (False, True):
        lift = 1.5 if model else -0.5
        for tier, _, taker in TIERS:
            more = {"model": model, "tier": tier}
            net = lift + 2 * (5.0 - taker)
            for i, tau in enumerate((0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8)):
                if model:
                    out.append(
                        point("tau", tau, net=net - 1 + 0.6 * i, half=0.4 + 0.25 * i, trades=1200 - 180 * i, **more)
                    )
            for ms in (1, 5, 10, 20, 50, 100, 200):
                out.append(point("latency_ms", float(ms), net=net - 0.006 * ms, trades=812 - ms, **more))
            out.append(point("latency_ms", None, net=net - 0.1, label="tape's feed latency", **more))
            for usd in (1e3, 3e3, 1e4, 3e4, 1e5, 3e5):
                out.append(point("base_size_usd", usd, net=net - usd / 8e4, filled=min(1.0, 2e5 / usd), **more))
        for taker in (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 7.5):
            out.append(point("fee_bps", taker, net=lift + 10 - 2 * taker, model=model, tier=""))
    return out


def latency_dict(model=True):
    edges = [float(f"{10 ** (k / 8):.4g}") for k in range(-8, 25)]
    at = 12 if model else 6
    counts = [max(0, 400 - 90 * abs(i - at)) + (3 if i == at + 8 else 0) for i in range(len(edges) - 1)]
    by_type = {
        sig: {
            "n": 120, "p50_ms": 3.125, "p95_ms": 6.5, "p99_ms": 12.25, "budget_ms": budget, "share_in_budget": 0.998,
        }
        for sig, budget in zip(TYPES, (15.0, 50.0, 15.0, 30.0, 50.0), strict=True)
    }  # fmt: skip
    return {
        "profile": "B", "model": model, "by_type": by_type, "histogram": {"edges_ms": edges, "counts": counts},
    }  # fmt: skip


def metrics(*, simulated=True, arms=None, **more):
    """metrics.json with every section; ``more`` replaces sections."""
    if arms is None:
        arms = [
            arm_dict(
                tier, profile, model, k=1.5 * model - 2.0 * (tier is TIERS[0]), trades=612 - 120 * (profile == "A")
            )
            for tier in TIERS
            for profile in PROFILES
            for model in (False, True)
        ]
    headline = [f"{a['fee_tier']} B model" for a in arms if a["profile"] == "B" and a["model"]]
    kpi_rows = [
        kpi_dict("trades", "shadow trades", "PASS", 612.0),
        kpi_dict("ir_trade", "after-cost IR a trade", "FAIL", -0.012),
        *(kpi_dict(key, key, "PASS", 0.5) for key in KPI_KEYS),
        kpi_dict("e2e_p95", "end-to-end latency P95", "N/A", None, measured=True),
    ]
    run = [a for a in arms if not a["na"]]
    keys = [{name: a[name] for name in ("fee_tier", "profile", "model")} for a in run]
    return {
        "schema": "ofi-meta/metrics/3",
        "simulated": simulated,
        "banner": BANNER if simulated else None,
        "verdict": {
            "word": "NO-GO", "go": False, "reasons": ["Too little data.", "No fee tier was named."],
            "judged_exit": "runner", "headline": headline,
        },
        "run": {
            "venue": "binance_usdm", "symbol": "ETHUSDT", "tape": "tape.parquet",
            "span_ns": [START, START + 86_400_000_000_000], "tick_bps": 0.03, "fee_tier_given": None, "seed": 7,
            "run_id": "abcdef0123456789", "tape_sha256": "00ff" * 16, "code_version": "0.3.0",
            "candidates_found": dict.fromkeys(TYPES, 400),
            "folds": [{"k": 0, "model": True, "reason": ""}], "notes": ["A note."], "trials": 16,
        },
        "labels": {
            "outcomes": {"target": 40, "stop": 50, "timeout": 10, "unfilled": 3, "invalid": 1}, "timeout_share": 0.1,
            "note": "",
        },
        "matrix": arms,
        "funnel": [funnel_dict(a) for a in arms],
        "kpis": [{**key, "exit": e, "rows": kpi_rows} for key in keys for e in ("label", "runner")],
        "model_vs_none": [
            {
                "fee_tier": tier[0], "profile": profile, "exit": e, "difference": bounds(0.4, 0.3),
                "model_mean": bounds(1.2), "none_mean": bounds(-0.8), "blocks": 140, "candidates": 1975,
                "model_trades": 300, "none_trades": 700, "model_beats_none": False,
            }
            for tier in TIERS for profile in PROFILES for e in ("label", "runner")
        ],
        "tiers": [tier_dict(t, m, 1.5 * m - 0.8 * t[2]) for t in LADDER for m in (False, True)],
        "sensitivity": {"note": "Profile B at regular fees.", "points": sensitivity_points()},
        "calibration": {
            "reason_na": "no model: 3 labels", "n": 0, "base_rate": None, "brier": None, "brier_base": None,
            "ece": None, "ece_plain": None, "bins": [], "histogram": [0] * 20, "by_type": [],
        },
        "transfer": [],
        "training": training_dict(),
        "fold_results": [
            fold_result(fold, tier, model, exit_)
            for tier in TIERS for model in (False, True) for exit_ in ("label", "runner") for fold in range(3)
        ],
        "selection": selection_dict(),
        "buckets": {"file": "buckets.csv", "rows": 60, "buckets": 50, "with_enough_trades": 12, "positive": 3},
        "measured": {
            "reproducible": False, "note": "depends on the machine", "stage_s": {"tape": 1.25, "shadow matrix": 30.5},
            "latency": [latency_dict(False), latency_dict(True)],
            "kpis": [
                {**key, **kpi_dict("e2e_p95", "end-to-end latency P95", "PASS", 6.5, measured=True)}
                for key in keys
            ],
        },
        **more,
    }  # fmt: skip


def without_new_sections():
    """What a run writes that computed no ladder, no sensitivity, trained no model and timed nothing."""
    bare = metrics(
        tiers=[], sensitivity={"note": "", "points": []}, training=None, fold_results=[],
        selection=selection_dict(reason="too short"),
    )  # fmt: skip
    bare["measured"]["latency"] = []
    bare["measured"]["kpis"] = []
    return bare


def nothing_was_run():
    """No arm could be run."""
    arms = [arm_dict(TIERS[0], "B", m, na="no labels: 3 of 200 needed") for m in (False, True)]
    bare = metrics(
        arms=arms, model_vs_none=[], tiers=[], sensitivity={"note": "", "points": []}, training=None, fold_results=[],
        selection={"pbo": [], "spa": [], "trials": 0},
    )  # fmt: skip
    bare["measured"]["latency"] = []
    return bare


def bucket(sig="momentum", states=("low", "mid", "high"), session="other", *, n=90, ir=0.2, model=True, **more):
    """A row of buckets.csv; states "all" is a parent."""
    given = {
        "simulated": False, "fee_tier": "regular", "profile": "B", "model": model, "exit": "label", "sig_type": sig,
        "ofi_z": states[0], "spread": states[1], "depth": states[2], "session": session, "n": n,
        "mean_net_bps": 10 * ir, "ir_trade": ir, "shrunk_bps": 8 * ir, "lower80_bps": 6 * ir, "p_value": 0.01,
        "positive": n >= 30 and ir > 0.3, "judged_by": "bucket" if n >= 30 else "parent", "multiplier": 0.0, "note": "",
    }  # fmt: skip
    return BucketRow(**{**given, **more})


def bucket_grid():
    """Every bucket of two arms, some with few trades, some missing."""
    out = []
    for model in (False, True):
        for s, sig in enumerate(TYPES):
            for h, session in enumerate(("other", "handover")):
                out.append(bucket(sig, ("all",) * 3, session, n=700 - 90 * s, ir=0.05 * s - 0.1, model=model))
                for i in range(27):
                    cell = tuple(("low", "mid", "high")[i // d % 3] for d in (9, 3, 1))
                    n = (37 * i + 11 * s + 53 * h) % 140
                    if n > 6:
                        out.append(
                            bucket(
                                sig, cell, session, n=n, ir=(i - 13) / 30 + 0.04 * s - 0.1 + 0.1 * model, model=model
                            )
                        )
    return out
