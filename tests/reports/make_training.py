"""The sections "training", "fold_results" and "selection" of metrics.json, made by hand."""

from __future__ import annotations

TIERS = (("regular", 2.0, 5.0), ("vip9", 0.0, 1.7))
START = 1_767_571_200 * 1_000_000_000


def bounds(value, half=1.5):
    """An interval as metrics.json has it; ``half`` None: no bounds."""
    return {
        "value": value,
        "low": None if half is None else round(value - half, 6),
        "high": None if half is None else round(value + half, 6),
    }


def quality_dict(brier=0.236, n=900, base=0.45):
    """Figures of one forecast; the parts of the Brier score add up to it."""
    bins = [{"n": n // 15, "p_mean": round(0.2 + 0.04 * i, 3), "y_rate": round(0.21 + 0.04 * i, 3)} for i in range(15)]
    uncertainty = round(base * (1 - base), 6)
    resolution = round(uncertainty + 0.003 - brier, 6)
    return {
        "n": n, "base_rate": base, "auc_pr": 0.51, "brier": brier, "brier_base": uncertainty, "log_loss": 0.665,
        "ece": 0.021, "brier_reliability": round(0.002 - min(resolution, 0.0), 6),
        "brier_resolution": max(resolution, 0.0), "brier_uncertainty": uncertainty, "brier_within": 0.001, "bins": bins,
    }  # fmt: skip


def figures_dict(shift=0.0, n=900):
    scores = {
        "model": 0.236, "tcn": 0.2371, "transformer": 0.2385, "lstm": 0.2379, "logistic": 0.2405, "boosting": 0.2412,
        "base": 0.2475,
    }  # fmt: skip
    return {name: quality_dict(round(b + shift, 6), n) for name, b in scores.items()}


def training_fold(k, reason=None):
    """One fold; without a model where a reason is given."""
    if reason:
        return {
            "k": k, "reason": reason, "n_train": 12, "n_test": 300, "figures": {}, "importance": [], "fit": None,
        }  # fmt: skip
    start = START + k * 21_600_000_000_000
    return {
        "k": k, "reason": None, "n_train": 900 + 700 * k, "n_test": 960, "train_start_ns": START,
        "train_end_ns": start + 21_000_000_000_000, "test_start_ns": start + 21_600_000_000_000,
        "test_end_ns": start + 43_200_000_000_000, "figures": figures_dict(0.001 * k),
        "importance": [
            {
                "channel": name, "permutation": 0.004 - 0.001 * i, "permutation_std": 0.0005,
                "ablation": 0.003 - 0.001 * i, "logistic_ablation": 0.001 - 0.0005 * i,
            }
            for i, name in enumerate(("ofi_z", "cvd_z", "spread_bps", "session_flag"))
        ],
        "fit": {
            "epochs": 12, "stopped_by_time": False, "leak": leak_dict(), "ensemble": ensemble_dict(),
            "thresholds": thresholds_dict(),
        },
    }  # fmt: skip


def leak_dict():
    return {
        "channels": {
            "limit": 0.91, "lone_limit": 0.79, "lone_share_limit": 0.2,
            "highest": {"channel": "ofi_z", "view": "newest", "auc": 0.61},
            "channels": {"ofi_z": {"auc": 0.61, "share": 0.04}, "cvd_z": {"auc": 0.58, "share": 0.01}},
        },
        "skill": {
            "limit": 0.94, "auc": 0.66, "highest": {"channel": "ofi_z", "view": "mean", "auc": 0.6},
        },
        "shuffled": {
            "auc": 0.63, "shuffled_mean": 0.501, "shuffled_std": 0.02, "shuffled_max": 0.54, "permutations": 50,
            "p_value": 0.02, "no_skill": False,
        },
    }  # fmt: skip


def ensemble_dict():
    return {
        "combiner": "average", "chosen": "platt",
        "brier": {
            "average+platt": 0.2361, "average+isotonic": 0.2366, "logistic+platt": 0.2369, "logistic+isotonic": 0.2377,
            "base": 0.2475,
        },
        "gain": {
            "average+isotonic": 0.0005, "logistic+platt": 0.0008, "logistic+isotonic": 0.0016, "base": 0.0114,
        },
    }  # fmt: skip


def thresholds_dict():
    return {
        "target_R": 0.92, "miss_R": -0.13, "n_target": 410, "n_miss": 490, "taus": {"A": 0.41, "B": 0.314, "C": 0.219},
    }  # fmt: skip


def training_dict(beats=True, *, folds=None):
    """The training of a stack of three nets over three folds."""
    line = "Out of sample model (stack) beats the logistic baseline: Brier 0.2360 to 0.2405 (n = 2,700)."
    if not beats:
        line = (
            "Out of sample no net beats the logistic baseline (Brier 0.2405): model (stack) 0.2460, tcn alone 0.2471, "
            "transformer alone 0.2485, lstm alone 0.2479 (n = 2,700)."
        )
    return {
        "model": "stack", "members": ["tcn", "transformer", "lstm"],
        "pooled": figures_dict(0.0 if beats else 0.01, 2700) | {"logistic": quality_dict(0.2405, 2700)},
        "folds": [training_fold(k) for k in range(3)] if folds is None else folds,
        "ensemble": {"fold": 2, **ensemble_dict()}, "leak": [{"fold": k, **leak_dict()} for k in range(3)],
        "beats_logistic": beats, "first_line": line,
    }  # fmt: skip


def fold_result(fold, tier=TIERS[0], model=True, exit_="runner", profile="B"):
    trades = 15 if fold == 0 else 150
    return {
        "fold": fold, "fee_tier": tier[0], "profile": profile, "model": model, "exit": exit_, "candidates": 650,
        "allowed": 180, "trades": trades, "net_bps": bounds(0.4 + model - fold, None if trades < 20 else 1.5),
        "ir_trade": bounds(0.05, None if trades < 20 else 0.06),
    }  # fmt: skip


def selection_dict(reason=None):
    """Tests that know how many strategies were tried: one PBO a fee tier, two SPA tests a tier and exit."""
    pbo = [
        {
            "fee_tier": tier[0], "value": None if reason else 0.11, "n_strategies": 16, "n_blocks": 108,
            "splits": 0 if reason else 12_870, "reason_na": reason or "",
        }
        for tier in TIERS
    ]  # fmt: skip
    spa = [
        {
            "fee_tier": tier[0], "exit": exit_, "benchmark": benchmark,
            **dict.fromkeys(("p_lower", "p_consistent", "p_upper"), None if reason else 0.034),
            "n_strategies": 4 if benchmark == "no model" else 8, "n_blocks": 108, "reason_na": reason or "",
        }
        for tier in TIERS for exit_ in ("label", "runner") for benchmark in ("no model", "no trade")
    ]  # fmt: skip
    return {"pbo": pbo, "spa": spa, "trials": 16}


def walked(*, beats=True, model="stack", reasons=(None, None, None)):
    """What a walk-forward hands over: figures pooled and by fold, in the shape of its own metrics."""

    def split(figures):
        members = {name: figures.pop(name) for name in ("tcn", "transformer", "lstm")}
        return {"model": figures.pop("model"), "members": members, **figures}

    folds = []
    for k, reason in enumerate(reasons):
        fold = training_fold(k, reason)
        figures = fold.pop("figures")
        folds.append({"k": k, "reason": reason, "n_train": 12, "n_test": 300} if reason else fold | split(figures))
    pooled = figures_dict(0.0 if beats else 0.01, 2700) | {"logistic": quality_dict(0.2405, 2700)}
    return {**split(pooled), "model_name": model, "beats_logistic": beats, "folds": folds, "notes": ["A note."]}
