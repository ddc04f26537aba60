"""docs/gating.md: its bot runs as it stands, and its reasons are the gate's."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from feature_repo.constants import WINDOW_NS
from feature_repo.instruments import SIMULATED_SYMBOL
from feature_repo.market.simulator import simulate_tape
from runtime import Reason
from runtime.account_watch import Trade
from runtime.decision_log import find_decision

from .gate_builders import bundle_folder, serve

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "gating.md").read_text(encoding="utf-8")


def test_the_reasons_are_the_gates_in_their_order():
    told = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    assert told == [reason.value for reason in Reason if reason is not Reason.ALLOW]


@pytest.mark.slow
def test_the_bot_runs_as_it_stands(tmp_path, monkeypatch):
    code = next(block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "def bot" in block)
    assert len(code[code.index("def bot") :].splitlines()) <= 20
    bundle_folder(tmp_path / "releases", tag="tiny", bias=3.0)
    serve(tmp_path / "releases", "tiny")
    monkeypatch.chdir(tmp_path)
    events = simulate_tape(seed=5, hours=1.0).events
    cuts = np.flatnonzero(np.diff(events["local_ts"] // WINDOW_NS)) + 1
    clock, placed, namespace = [0], [], {}

    def arriving():
        for chunk in np.split(events, cuts):
            clock[0] = int(chunk["local_ts"][-1])
            yield chunk

    exec(code, namespace)
    namespace["bot"](
        arriving(),
        lambda candidate, size, record: placed.append((candidate, size, record(Trade(clock[0], 1.0, size)))),
        venue="simulated",
        symbol=SIMULATED_SYMBOL,
        clock_ns=lambda: clock[0],
    )
    assert placed
    assert all(size > 0 and said is None for _, size, said in placed)
    assert find_decision(tmp_path / "decisions", "last").release == "tiny"
