"""The report's tables as text cells, once, for the terminal and for the page."""

from .cell import Table, arm_key, arm_name, find_arm, interval_text, number
from .costs import cost_table
from .flow import funnel_table, funnel_totals, reason_rate_table, reason_table
from .kpi import kpi_table
from .latency import latency_table
from .matrix import matrix_table, stress_table
from .model import model_table
from .signal import type_table
from .tiers import tier_summary, tier_table

__all__ = [
    "Table",
    "arm_key",
    "arm_name",
    "cost_table",
    "find_arm",
    "funnel_table",
    "funnel_totals",
    "interval_text",
    "kpi_table",
    "latency_table",
    "matrix_table",
    "model_table",
    "number",
    "reason_rate_table",
    "reason_table",
    "stress_table",
    "tier_summary",
    "tier_table",
    "type_table",
]
