"""The report's tables as text cells, once, for the terminal and for the page."""

from .cell import Table, arm_key, arm_name, cut, find_arm, interval_text, number
from .costs import cost_table
from .ensemble import ensemble_table
from .flow import funnel_table, funnel_totals, reason_rate_table, reason_table
from .folds import fold_results_table
from .importance import importance_table
from .kpi import kpi_table
from .latency import latency_table
from .leak import leak_table
from .matrix import matrix_table, stress_table
from .model import model_table
from .selection import selection_table
from .signal import type_table
from .thresholds import threshold_table
from .tiers import tier_summary, tier_table
from .training import decomposition_table, fold_summary, fold_table, member_table, no_model_reason

__all__ = [
    "Table",
    "arm_key",
    "arm_name",
    "cost_table",
    "cut",
    "decomposition_table",
    "ensemble_table",
    "find_arm",
    "fold_results_table",
    "fold_summary",
    "fold_table",
    "funnel_table",
    "funnel_totals",
    "importance_table",
    "interval_text",
    "kpi_table",
    "latency_table",
    "leak_table",
    "matrix_table",
    "member_table",
    "model_table",
    "no_model_reason",
    "number",
    "reason_rate_table",
    "reason_table",
    "selection_table",
    "stress_table",
    "threshold_table",
    "tier_summary",
    "tier_table",
    "type_table",
]
