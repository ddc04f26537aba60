"""docs/roll-out.md: its tables are the code's."""

from __future__ import annotations

import re
from pathlib import Path

from runtime.account_watch import MAX_DRAWDOWN_PCT, MIN_TRADES
from runtime.decision import Reason
from runtime.ladder import TABLE
from runtime.rollout import CAPS, STEP, STEP_TRADES

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "roll-out.md").read_text(encoding="utf-8")


def test_the_ladder_is_the_codes():
    told = re.findall(r"^\| `(\w+)` \| `(\w+)` \| `(\w+)` \|$", PAGE, re.MULTILINE)
    assert told == [(state.value, event.value, to.state.value) for (state, event), to in TABLE.items()]


def test_the_caps_are_the_codes():
    told = re.findall(r"^\| `(\w+)` \| ([\d.]+) \| ", PAGE, re.MULTILINE)
    assert told == [("candidate", "0"), *((stage, f"{cap:g}") for stage, cap in CAPS.items())]


def test_the_numbers_are_the_codes():
    assert f"{STEP:g} more after {STEP_TRADES} with" in PAGE
    assert f"more than {MAX_DRAWDOWN_PCT:g} % of the stated equity" in PAGE
    assert f"asked from the {MIN_TRADES}th trade on" in PAGE
    assert f"`{Reason.NOT_ROLLED_OUT.value}`" in PAGE
