"""The report's pictures, drawn without a display.

Each has a function that makes the figure, so that what was drawn can be looked at, and one that writes it.
"""

from .bucket_ir import bucket_figure, draw_buckets
from .calibration import calibration_figure, draw_calibration
from .equity import draw_equity, equity_figure
from .folds import draw_folds, folds_figure
from .importance import draw_importance, importance_figure
from .latency import draw_latency, latency_figure
from .rejections import draw_rejections, rejection_figure
from .sensitivity import draw_sensitivity, sensitivity_figure

__all__ = [
    "bucket_figure",
    "calibration_figure",
    "draw_buckets",
    "draw_calibration",
    "draw_equity",
    "draw_folds",
    "draw_importance",
    "draw_latency",
    "draw_rejections",
    "draw_sensitivity",
    "equity_figure",
    "folds_figure",
    "importance_figure",
    "latency_figure",
    "rejection_figure",
    "sensitivity_figure",
]
