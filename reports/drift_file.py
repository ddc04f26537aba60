"""What a day's drift.json is called and which words stand in it, for who writes it and for who reads it.

Apart from ``reports.drift``: whoever only reads the file does not wait for what draws the report.
"""

from __future__ import annotations

__all__ = ["ALERT", "DRIFT_FILE", "DRIFT_FOLDER", "GROUPS", "NA", "OK", "SCHEMA", "STATUSES", "WARN"]

SCHEMA = "ofi-meta/drift/1"
DRIFT_FOLDER = "drift"
"""Beside the page: drift/<symbol>/<day>/, which holds the file."""
DRIFT_FILE = "drift.json"
OK, WARN, ALERT, NA = "OK", "WARN", "ALERT", "N/A"
STATUSES = (NA, OK, WARN, ALERT)
"""From the mildest to the worst."""
GROUPS = ("features", "probability", "classification", "calibration", "costs", "rejections", "latency", "data")
"""Of checks, in the order in which they are shown."""
