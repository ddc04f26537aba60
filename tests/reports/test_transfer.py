"""The same model on both simulated mechanisms: the figures, their intervals, and silence for recorded tapes."""

from __future__ import annotations

import numpy as np
import pytest

from reports.matrix_rows import plain
from reports.transfer import Judged, transfer_rows, transfer_table
from runtime.quality import auc_roc

MINUTE_NS = 60_000_000_000


def judged(skill: float, n: int = 1_200, seed: int = 3) -> Judged:
    """Candidates a minute apart; with ``skill`` 1 the forecast is right, with 0 it knows nothing."""
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.3).astype(int)
    p = np.clip(0.3 + skill * (y - 0.3) * 0.6 + 0.1 * rng.standard_normal(n), 0, 1)
    net = np.where(y == 1, 12.0, -16.0)
    ts = np.arange(n) * MINUTE_NS
    return Judged("book, never seen", "flow", "book", ts, p, y, net, np.ones(n, bool), p > 0.5)


def test_auc_equals_counting_pairs():
    rng = np.random.default_rng(0)
    p, y = rng.integers(0, 8, 200) / 8, rng.integers(0, 2, 200)
    ones, zeros = p[y == 1], p[y == 0]
    pairs = (ones[:, None] > zeros).mean() + 0.5 * (ones[:, None] == zeros).mean()
    assert auc_roc(p, y) == pytest.approx(pairs, abs=1e-12)
    assert auc_roc(np.array([0.1, 0.9]), np.array([0, 1])) == 1.0
    assert np.isnan(auc_roc(np.array([0.1, 0.9]), np.array([1, 1])))


def test_skill_lifts_the_whole_interval_above_chance_and_no_skill_does_not():
    (good,), (none,) = transfer_rows([judged(1.0)], draws=200), transfer_rows([judged(0.0)], draws=200)
    assert good["auc"]["low"] > 0.9
    assert none["auc"]["low"] < 0.5 < none["auc"]["high"]
    assert good["model_net_bps"]["low"] > 0 > good["none_net_bps"]["high"]
    assert good["none_trades"] == 1_200
    assert good["base_rate"] == pytest.approx(0.3, abs=0.05)


def test_rows_without_window_or_label_are_not_judged_but_counted():
    j = judged(1.0)
    p, y = j.p.copy(), j.y.copy()
    p[:100], y[100:150] = np.nan, -1
    (row,) = transfer_rows([Judged(*(j.name, j.trained_on, j.mechanism, j.ts_ns, p, y, j.net_bps, j.none, j.model))])
    assert (row["candidates"], row["judged"]) == (1_200, 1_050)


def test_too_few_blocks_give_no_interval_and_no_candidate_gives_dashes():
    few = judged(1.0, n=40)
    (row,) = transfer_rows([few], draws=50)
    assert np.isnan(row["auc"]["low"])
    empty = Judged("book", "flow", "book", *(np.empty(0) for _ in range(4)), *(np.empty(0, bool) for _ in range(2)))
    table = transfer_table({"transfer": plain(transfer_rows([few, empty], draws=50))})
    assert table.title.startswith("SIMULATED")
    assert len(table.rows) == 2
    assert table.rows[1][3] == "-"


def test_a_recorded_tape_has_no_such_table():
    assert transfer_table({"transfer": []}).rows == ()
    assert transfer_table({}).rows == ()
