"""The nightly report of a symbol: the last day beside the training span of the release that serves."""

from .check import ALERT, NA, OK, WARN, DriftCheck, DriftResult
from .limits import LIMITS, DriftLimits
from .record import Decided, DriftInput, Quality, Rows, WalkForward
from .report import SCHEMA, drift_checks, drift_report

__all__ = [
    "ALERT",
    "LIMITS",
    "NA",
    "OK",
    "SCHEMA",
    "WARN",
    "Decided",
    "DriftCheck",
    "DriftInput",
    "DriftLimits",
    "DriftResult",
    "Quality",
    "Rows",
    "WalkForward",
    "drift_checks",
    "drift_report",
]
