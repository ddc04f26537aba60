"""evidently.html: Evidently's own page of the same rows, with its distances against our limits."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from feature_repo.fields import CHANNELS

from .distance import LEAST_DEVIATION, METHOD, Distance
from .record import Decided, DriftInput

__all__ = ["evidently_html"]

_BOTH = 2  # classes that classification quality needs on a side


def evidently_html(inputs: DriftInput, distances: Sequence[Distance] | None, p_limit: float | None) -> str:
    """The page; it loads nothing from the network.

    Parameters
    ----------
    distances : of the 24 channels; None where there is nothing to compare
    p_limit : ALERT limit of the distance of P, in units of P; None where there is nothing to compare
    """
    os.environ.setdefault("DO_NOT_TRACK", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from evidently.core.metric_types import render_widgets
        from evidently.legacy.renderers.html_widgets import group_widget

        widgets = []
        parts = [("Drift of the 24 channels", _channels(inputs, distances)), *_model(inputs, p_limit)]
        for title, run in parts:
            if run is not None:
                # Two data sets on one page: the class that holds a run's widgets has no public way to hand them on.
                widgets += [group_widget(title=title, widgets=run._widgets), *run._tests_widgets]
        page = render_widgets(widgets, as_iframe=False)
    return page.replace("<body>", f"<body>\n{_head(inputs, bool(widgets))}", 1)


def _head(inputs: DriftInput, any_: bool) -> str:
    mark = "SIMULATED DATA: says nothing about a real market. " if inputs.simulated else ""
    ground = "#ffe08a" if inputs.simulated else "#eef4fb"
    text = f"{inputs.symbol} on {inputs.venue}, {inputs.day}, against the training span of release {inputs.release}"
    nothing = "" if any_ else " Nothing to compare: see the report for the reasons."
    return (
        f'<div style="background:{ground};color:#1f2933;padding:12px 16px;font:600 15px/1.5 system-ui,sans-serif">'
        f'{escape(mark + text)}.{nothing} Only the <a href="index.html">report</a> says OK, WARN or ALERT.</div>'
    )


def _frame(columns: dict[str, np.ndarray]) -> Any:
    import pandas as pd

    return pd.DataFrame(columns)


def _channels(inputs: DriftInput, distances: Sequence[Distance] | None) -> Any:
    if distances is None:
        return None
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    definition = DataDefinition(numerical_columns=list(CHANNELS))
    current, reference = (
        Dataset.from_pandas(
            _frame({name: rows.X[:, c].astype(float) for c, name in enumerate(CHANNELS)}), data_definition=definition
        )
        for rows in (inputs.current, inputs.reference)
    )
    metrics = [
        ValueDrift(column=name, method=METHOD, threshold=round(d.alert, 4))
        for name, d in zip(CHANNELS, distances, strict=True)
    ]
    return Report(metrics, include_tests=True).run(current, reference)


def _model(inputs: DriftInput, p_limit: float | None) -> list[tuple[str, Any]]:
    """Drift of P over all candidates, and classification quality over those with a label."""
    from evidently import BinaryClassification, DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift
    from evidently.presets import ClassificationPreset

    parts: list[tuple[str, Any]] = []
    if p_limit is not None:
        before, now = (d.p[np.isfinite(d.p)] for d in (inputs.reference_decided, inputs.decided))
        definition = DataDefinition(numerical_columns=["P"])
        current, reference = (Dataset.from_pandas(_frame({"P": p}), data_definition=definition) for p in (now, before))
        limit = round(p_limit / max(float(before.std()), LEAST_DEVIATION), 4)  # Evidently's distance is in deviations
        metric = ValueDrift(column="P", method=METHOD, threshold=limit)
        parts.append(("Drift of P at candidate time", Report([metric], include_tests=True).run(current, reference)))
    sides = [_labelled(d) for d in (inputs.decided, inputs.reference_decided)]
    if all(len(np.unique(y)) == _BOTH for _, y in sides):
        definition = DataDefinition(
            numerical_columns=["P"],
            classification=[BinaryClassification(target="target", prediction_probas="P", pos_label=1)],
        )
        current, reference = (
            Dataset.from_pandas(_frame({"P": p, "target": y}), data_definition=definition) for p, y in sides
        )
        title = "Classification quality at P > 0.5; the training span is in sample"
        parts.append((title, Report([ClassificationPreset()], include_tests=False).run(current, reference)))
    return parts


def _labelled(decided: Decided) -> tuple[np.ndarray, np.ndarray]:
    known = decided.rows(decided.labelled)
    return known.p, known.y.astype(int)
