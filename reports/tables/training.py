"""What was learned, judged out of sample: the folds, the members, and the baselines beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from reports.training_rows import BASELINES

from .cell import DASH, Table, number

__all__ = [
    "decomposition_table",
    "fold_name",
    "fold_summary",
    "fold_table",
    "forecast_names",
    "member_table",
    "no_model_reason",
    "skill",
]

_BASELINE_TITLE = {"logistic": "logistic", "boosting": "boosting", "base": "base rate"}
_POOLED = "pooled"


def no_model_reason(metrics: Mapping) -> str:
    """Why there is nothing to show of a training; empty when there is something."""
    training = metrics.get("training")
    if not training:
        reason = (metrics.get("calibration") or {}).get("reason_na") or "no model was trained"
        return reason.removeprefix("no model: ")
    if any(fold["figures"] for fold in training["folds"]):
        return ""
    return next((fold["reason"] for fold in training["folds"] if fold["reason"]), "there are no folds")


def fold_name(fold: Mapping | None) -> str:
    """As the tables and the pictures call a fold; None is all of them together."""
    return _POOLED if fold is None else f"fold {fold['k']}"


def forecast_names(training: Mapping) -> dict[str, str]:
    """Key of a forecast in the figures -> its title: the calibrated model, its members, the baselines."""
    names = {"model": f"model ({training['model']})"}
    # A member that is itself a baseline stands among those, once.
    return names | {member: f"{member} alone" for member in training["members"]} | _BASELINE_TITLE


def skill(figures: Mapping[str, Mapping], key: str, reference: str) -> float | None:
    """Share of the reference's Brier score that the forecast saves, below 0 where it is worse; None if unknown."""
    ours, theirs = (_of(figures, name, "brier") for name in (key, reference))
    return None if ours is None or not theirs else 1.0 - ours / theirs


def fold_table(metrics: Mapping) -> Table:
    """Counts, AUC-PR and Brier score of the model and of the baselines, a row a fold and one pooled."""
    rows, marks, note = _rows(metrics, _counts, lambda figures: (*_each(figures, "auc_pr", ".3f"), *_briers(figures)))
    return Table(
        "Model and baselines by fold",
        (
            *("fold", "train", "test", "judged", "base rate"),
            *(f"AUC-PR {name}" for name in ("model", "logistic", "boosting")),
            *(f"Brier {name}" for name in ("model", "logistic", "boosting", "base rate")),
        ),
        (False, *(True,) * 11),
        rows,
        marks,
        "train: labelled rows left after the purge; judged: test rows with a label and a forecast; AUC-PR of a "
        "forecast that knows nothing is the base rate; Brier: less is better" + note
        if rows
        else note,
    )


def fold_summary(metrics: Mapping) -> Table:
    """The same in few columns, for a terminal."""
    rows, marks, note = _rows(
        metrics,
        _counts,
        lambda figures: (_text(figures, "model", "auc_pr", ".3f"), *_briers(figures), _text(figures, "model", "ece")),
    )
    return Table(
        "Out of sample by fold, Brier score of the model and the baselines",
        ("fold", "train", "test", "judged", "base", "AUC-PR", "model", "logistic", "boosting", "base rate", "ECE"),
        (False, *(True,) * 10),
        rows,
        marks,
        "Brier: less is better" + note if rows else note,
    )


def decomposition_table(metrics: Mapping) -> Table:
    """What the model's Brier score is made of, a row a fold and one pooled."""
    keys = ("brier", "brier_reliability", "brier_resolution", "brier_uncertainty", "brier_within", "log_loss")
    rows, marks, note = _rows(
        metrics,
        lambda _, figures: (_count(figures),),
        lambda figures: (
            *(_text(figures, "model", key, ".4f") for key in keys),
            _text(figures, "model", "ece"),
            *(_percent(skill(figures, "model", reference)) for reference in BASELINES),
        ),
    )
    return Table(
        "The model's Brier score taken apart",
        (
            *("fold", "judged", "Brier", "reliability", "resolution", "uncertainty", "within", "log loss", "ECE"),
            *("vs logistic", "vs boosting", "vs base rate"),
        ),
        (False, *(True,) * 11),
        rows,
        marks,
        "Brier = reliability - resolution + uncertainty + within (Murphy 1973; within: what the 15 bins do not see). "
        "Reliability: less is better, resolution: more is. ECE debiased. vs: share of the other's Brier score that is "
        "saved" + note
        if rows
        else note,
    )


def member_table(metrics: Mapping) -> Table:
    """Every forecast on all test rows together, best Brier score first, and in how many folds it was the best."""
    title = "All folds, best Brier score first"
    columns = (
        *("forecast", "n", "base", "AUC-PR", "Brier", "vs base", "reliability", "resolution", "log loss"),
        *("ECE", "folds won"),
    )
    numeric = (False, *(True,) * 10)
    if reason := no_model_reason(metrics):
        return Table(title, columns, numeric, (), (), f"N/A: {reason}")
    training = metrics["training"]
    names, pooled = forecast_names(training), training["pooled"]
    wins = [_best(fold["figures"], names) for fold in training["folds"]]
    # A tie goes to the simpler forecast, which stands later.
    simple_first = list(names)[::-1]
    known = [key for key in simple_first if _of(pooled, key, "brier") is not None]
    order = sorted(known, key=lambda key: pooled[key]["brier"])
    rows = tuple(
        (
            names[key],
            f"{pooled[key]['n']:,}",
            *(_text(pooled, key, k, ".3f") for k in ("base_rate", "auc_pr")),
            _text(pooled, key, "brier", ".4f"),
            _percent(skill(pooled, key, "base")),
            *(_text(pooled, key, f"brier_{part}", ".4f") for part in ("reliability", "resolution")),
            _text(pooled, key, "log_loss", ".4f"),
            _text(pooled, key, "ece"),
            f"{wins.count(key)} of {sum(won is not None for won in wins)}",
        )
        for key in order
    )
    note = (
        "alone: the net with a Platt line of its own; vs base: share of the base rate's Brier score that is saved; "
        f"a tie goes to the simpler\nlowest Brier score: {names[order[0]]}"
        if order
        else "N/A: no test row has both a forecast and a label"
    )
    return Table(title, columns, numeric, rows, tuple("head" if key == "model" else "" for key in order), note)


def _best(figures: Mapping[str, Mapping], names: Mapping[str, str]) -> str | None:
    known = [key for key in names if _of(figures, key, "brier") is not None]
    return min(reversed(known), key=lambda key: figures[key]["brier"]) if known else None


def _rows(
    metrics: Mapping, head: Callable[..., Sequence[str]], figures_of: Callable[[Mapping[str, Mapping]], Sequence[str]]
) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...], str]:
    """Cells, marks, and the rest of the note: why folds have no model."""
    if not metrics.get("training") or not metrics["training"]["folds"]:
        return (), (), f"N/A: {no_model_reason(metrics)}"
    training = metrics["training"]
    rows, marks = [], []
    for fold in (*training["folds"], None):
        figures = training["pooled"] if fold is None else fold["figures"]
        rows.append((fold_name(fold), *head(fold, figures), *figures_of(figures)))
        marks.append("head" if fold is None else "" if figures else "na")
    without: dict[str, list[str]] = {}
    for fold in training["folds"]:
        if not fold["figures"]:
            without.setdefault(fold["reason"] or "no model", []).append(fold_name(fold))
    note = "".join(f"\nN/A: {reason} ({', '.join(names)})" for reason, names in without.items())
    return tuple(rows), tuple(marks), note


def _counts(fold: Mapping | None, figures: Mapping[str, Mapping]) -> tuple[str, ...]:
    sizes = (DASH, DASH) if fold is None else (f"{fold['n_train']:,}", f"{fold['n_test']:,}")
    return *sizes, _count(figures), _text(figures, "model", "base_rate", ".3f")


def _count(figures: Mapping[str, Mapping]) -> str:
    return _text(figures, "model", "n", ",")


def _each(figures: Mapping[str, Mapping], key: str, form: str) -> Sequence[str]:
    return [_text(figures, name, key, form) for name in ("model", "logistic", "boosting")]


def _briers(figures: Mapping[str, Mapping]) -> Sequence[str]:
    return [_text(figures, name, "brier", ".4f") for name in ("model", *BASELINES)]


def _of(figures: Mapping[str, Mapping], name: str, key: str) -> float | None:
    return (figures.get(name) or {}).get(key)


def _text(figures: Mapping[str, Mapping], name: str, key: str, form: str = ".3f") -> str:
    return number(_of(figures, name, key), form)


def _percent(share: float | None) -> str:
    return number(share, "+.1%")
