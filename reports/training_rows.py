"""Section "training" of metrics.json: what the walk-forward says of model, members and baselines, in one shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["BASELINES", "QUALITY_FIELDS", "training_dict", "unbeaten_line"]

QUALITY_FIELDS = (
    "n",
    "base_rate",
    "auc_pr",
    "brier",
    "brier_base",
    "brier_reliability",
    "brier_resolution",
    "brier_uncertainty",
    "brier_within",
    "log_loss",
    "ece",
    "bins",
)
_EMPTY = {"n": 0, "bins": ()}
BASELINES = ("logistic", "boosting", "base")
_SPANS = ("train_start_ns", "train_end_ns", "test_start_ns", "test_end_ns")
_IMPORTANCE = ("channel", "permutation", "permutation_std", "ablation", "logistic_ablation")
_CHECKS = ("channels", "skill", "shuffled")


def training_dict(found: Mapping | None) -> dict[str, object] | None:
    """The section, from the plain numbers of a walk-forward.

    A figure that the training does not give is None; a fold without a model has a reason and spans, and no figures.

    Parameters
    ----------
    found : "model", "members", baselines, "folds", "model_name", "beats_logistic"; None when nothing was trained
    """
    if found is None:
        return None
    folds = [_fold(f) for f in found.get("folds", ())]
    fitted = [f for f in folds if f["fit"]]
    ensembles = [{"fold": f["k"], **f["fit"]["ensemble"]} for f in fitted if f["fit"].get("ensemble")]
    out = {
        "model": found.get("model_name") or "model",
        "members": list(found.get("members") or ()),
        "pooled": _figures(found),
        "folds": folds,
        "ensemble": ensembles[-1] if ensembles else None,
        "leak": [
            {"fold": f["k"], **{name: f["fit"]["leak"].get(name) for name in _CHECKS}}
            for f in fitted
            if f["fit"].get("leak")
        ],
        "beats_logistic": found.get("beats_logistic"),
    }
    return {**out, "first_line": _first_line(out)}


def unbeaten_line(training: Mapping | None) -> str:
    """What a reader must see first: that no net beats the logistic baseline; empty otherwise."""
    return str(training["first_line"]) if training and training["beats_logistic"] is False else ""


def _fold(fold: Mapping) -> dict[str, object]:
    spans = {name: fold[name] for name in _SPANS if fold.get(name) is not None}
    rows = fold.get("importance") or ()
    return {
        "k": fold["k"],
        "reason": fold.get("reason"),
        **{name: fold.get(name) or 0 for name in ("n_train", "n_test")},
        **spans,
        "figures": _figures(fold),
        "importance": [{name: row.get(name) for name in _IMPORTANCE} for row in rows],
        "fit": fold.get("fit"),
    }


def _figures(found: Mapping) -> dict[str, dict[str, object]]:
    """By name: the model, its members, the baselines. A member that is a baseline is shown once, as that."""
    members = {name: q for name, q in (found.get("members") or {}).items() if name not in BASELINES}
    named = {"model": found.get("model"), **members, **{name: found.get(name) for name in BASELINES}}
    return {name: {f: q.get(f, _EMPTY.get(f)) for f in QUALITY_FIELDS} for name, q in named.items() if q}


def _first_line(training: Mapping) -> str:
    figures, model = training["pooled"], training["model"]
    names = {"model": f"model ({model})"} | {m: f"{m} alone" for m in training["members"] if m not in BASELINES}
    scores = {names[k]: figures[k]["brier"] for k in names if k in figures and figures[k]["brier"] is not None}
    theirs = {k: figures[k]["brier"] for k in BASELINES if k in figures}
    if names["model"] not in scores:
        return _nothing(training["folds"])
    n = f"n = {figures['model']['n']:,}"
    beats, logistic = training["beats_logistic"], theirs.get("logistic")
    if beats is None or logistic is None:
        against = ", ".join(f"{_TITLE[k]} {v:.4f}" for k, v in theirs.items() if v is not None and k != model)
        return f"Out of sample the Brier score of {names['model']} is {scores[names['model']]:.4f}; {against} ({n})."
    best = min(scores, key=lambda name: scores[name])
    if beats:
        return f"Out of sample {best} beats the logistic baseline: Brier {scores[best]:.4f} to {logistic:.4f} ({n})."
    told = ", ".join(f"{name} {score:.4f}" for name, score in scores.items())
    return f"Out of sample no net beats the logistic baseline (Brier {logistic:.4f}): {told} ({n})."


_TITLE = {"logistic": "logistic baseline", "boosting": "gradient boosting", "base": "base rate"}


def _nothing(folds: Sequence[Mapping]) -> str:
    why = next((str(f["reason"]) for f in folds if f["reason"]), "no fold")
    return f"No net was judged out of sample: {why.rstrip('.')}."
