"""The report of a day: all checks, two pages and a JSON file in a folder that appears or is replaced as a whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from feature_repo.replaced import replaced_folder
from reports.calibration_report import calibration_report
from reports.drift_file import ALERT, DRIFT_FILE, DRIFT_FOLDER, GROUPS, NA, SCHEMA, WARN
from reports.pictures import draw_calibration
from reports.records import CalibrationInput

from .check import DriftCheck, DriftResult, worst
from .evidently_page import evidently_html
from .features import FeatureDrift, feature_drift
from .limits import LIMITS, DriftLimits
from .model import model_checks, probability_check, rolling
from .page import page_html
from .pictures import draw_channels, draw_rolling
from .record import DriftInput
from .trading import cost_checks, data_checks, latency_checks, rejection_checks

__all__ = ["drift_checks", "drift_report"]


def drift_checks(inputs: DriftInput) -> tuple[DriftCheck, ...]:
    """Every check of the day, in the order of ``check.GROUPS``."""
    return _judge(inputs, LIMITS)[0]


def _judge(inputs: DriftInput, limits: DriftLimits) -> tuple[tuple[DriftCheck, ...], FeatureDrift, float | None]:
    """The checks, what the channels' pictures need, and the ALERT limit of the distance of P."""
    features = feature_drift(inputs, limits)
    p, p_limit = probability_check(inputs, limits)
    checks = [*features.checks, p, *model_checks(inputs, limits), *cost_checks(inputs, limits)]
    checks += [*rejection_checks(inputs, limits), *latency_checks(inputs, limits), *data_checks(inputs, limits)]
    return tuple(sorted(checks, key=lambda c: GROUPS.index(c.group))), features, p_limit


def drift_report(
    inputs: DriftInput, out: Path, *, limits: DriftLimits = LIMITS, progress: Callable[[float], None] | None = None
) -> DriftResult:
    """Judge a day and write ``out/drift/<symbol>/<day>/``: index.html, evidently.html, drift.json and the pictures.

    Never half a folder: a reader finds the one of the run before, for an instant none, or the whole new one. A second
    run of the day waits for the first, and a run that was killed leaves the folder as it was.

    Returns
    -------
    DriftResult
        Its path is the day's folder.
    """
    tell = progress or (lambda _: None)
    checks, features, p_limit = _judge(inputs, limits)
    status = _status(checks)
    tell(0.5)
    folder = Path(out) / DRIFT_FOLDER / inputs.symbol / inputs.day
    with replaced_folder(folder) as fresh:
        (fresh / "evidently.html").write_text(evidently_html(inputs, features.distances, p_limit), encoding="utf-8")
        tell(0.9)
        d, simulated = inputs.decided, inputs.simulated
        calibration = calibration_report(CalibrationInput(d.p, d.y, d.sig_type))
        drawn = {
            "channels": draw_channels(features.distances, fresh / "channels.png", simulated=simulated),
            "calibration": draw_calibration(
                calibration, fresh / "calibration.png", simulated=simulated, title=f"Calibration on {inputs.day}"
            ),
            "rolling": draw_rolling(rolling(d, limits), limits, fresh / "rolling.png", simulated=simulated),
        }
        pictures = {name: path.read_bytes() for name, path in drawn.items()}
        (fresh / "index.html").write_text(page_html(inputs, status, checks, pictures), encoding="utf-8")
        text = json.dumps(_document(inputs, status, checks), indent=1, allow_nan=False)
        (fresh / DRIFT_FILE).write_text(text + "\n", encoding="utf-8")
    tell(1.0)
    return DriftResult(status, checks, folder, simulated)


def _status(checks: tuple[DriftCheck, ...]) -> str:
    """The worst check; N/A where neither the channels nor P could be judged, unless something else is wrong."""
    status = worst(checks)
    judged = any(c.status != NA for c in checks if c.group in ("features", "probability"))
    return status if judged or status in (WARN, ALERT) else NA


def _document(inputs: DriftInput, status: str, checks: tuple[DriftCheck, ...]) -> dict[str, object]:
    return {
        "schema": SCHEMA,
        "symbol": inputs.symbol,
        "venue": inputs.venue,
        "day": inputs.day,
        "simulated": inputs.simulated,
        "release": inputs.release,
        "status": status,
        "checks": [c.to_dict() for c in checks],
        "pages": {"evidently": "evidently.html"},
        "sampled_rows": len(inputs.current.t_ns),
        "made_from": dict(inputs.made_from),
    }
