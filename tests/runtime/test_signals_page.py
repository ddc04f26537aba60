"""The tables of docs/signals.md are those of the code."""

from __future__ import annotations

import re
from dataclasses import asdict, fields
from pathlib import Path

from feature_repo.constants import SIGNAL
from runtime.candidate import Candidate, SigType
from runtime.flow_states import TRANSITIONS as FLOW
from runtime.flow_states import FlowEvent, FlowState
from runtime.levels import TRANSITIONS as LEVELS
from runtime.levels import BarEvent, LevelState
from runtime.profiles import PROFILES
from runtime.sig_types import LIQUIDATION_DOMINANCE, TYPES

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "signals.md").read_text(encoding="utf-8")


def table(heading: str, nth: int = 0) -> list[list[str]]:
    """Cells of the n-th table under a heading, its own head first."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = re.findall(r"(?:^\|.*\n)+", section, re.M)[nth].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [rows[0], *rows[2:]]


def test_the_pairs():
    head, *rows = table("When: flow crosses a profile's pair")
    assert head == ["profile", "tier", "ofi_z_min", "cvd_z_min"]
    assert rows == [[name, p.tier.name, f"{p.ofi_z_min:g}", f"{p.cvd_z_min:g}"] for name, p in PROFILES.items()]


def test_the_moves_of_flow():
    head, *rows = table("When: flow crosses a profile's pair", 1)
    assert head == ["state", *(event.name for event in FlowEvent)]
    cells = {state: [FLOW[state, event] for event in FlowEvent] for state in FlowState}
    assert rows == [
        [state.name, *(m.state.name + ("" if m.fires is None else f" !{m.fires.name}") for m in moves)]
        for state, moves in cells.items()
    ]


def test_the_moves_of_levels():
    head, *rows = table("Levels: reclaim in two stages")
    assert head == ["state", *(event.name for event in BarEvent)]
    assert rows == [
        [state.name, *(LEVELS[state, event].name if (state, event) in LEVELS else "-" for event in BarEvent)]
        for state in LevelState
    ]


def test_the_types_in_their_order():
    head, *rows = table("Which type")
    assert head == ["#", "type", "condition", "entry"]
    assert rows == [
        [str(i), rule.sig_type.name.lower(), rule.holds.__doc__, rule.entry.name.lower()]
        for i, rule in enumerate(TYPES, 1)
    ]
    assert sorted(rule.sig_type for rule in TYPES) == sorted(SigType)


def test_the_constants():
    head, *rows = table("Which type", 1)
    assert head == ["constant", "value"]
    values = asdict(SIGNAL) | {"LIQUIDATION_DOMINANCE": LIQUIDATION_DOMINANCE}
    assert rows == [[name, f"{value:g}"] for name, value in values.items()]


def test_what_a_candidate_carries():
    _, *rows = table("What a candidate carries")
    assert [row[0] for row in rows] == [field.name for field in fields(Candidate)]
