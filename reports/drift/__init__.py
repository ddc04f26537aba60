"""The nightly report of a symbol: the last day beside the training span of the release that serves."""

from reports.drift_file import ALERT, NA, OK, SCHEMA, WARN

from .check import DriftCheck, DriftResult
from .limits import LIMITS, DriftLimits
from .record import Decided, DriftInput, Quality, Rows, WalkForward
from .report import drift_checks, drift_report

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
