"""Trials are counted from what was run."""

from __future__ import annotations

import pytest

from feature_repo.errors import InputError
from reports.trials import TRIALS_NAME, count_trials, record_trials


def test_counts_grow_by_run_and_symbol(tmp_path):
    assert count_trials(tmp_path, "ETHUSDT") == 0
    assert record_trials(tmp_path, "run-1", "ETHUSDT", 12) == 12
    assert record_trials(tmp_path, "run-2", "ETHUSDT", 5) == 17
    assert record_trials(tmp_path, "run-3", "NEXOUSDT", 12) == 12
    assert count_trials(tmp_path, "ETHUSDT") == 17


def test_the_same_run_counts_once(tmp_path):
    record_trials(tmp_path, "run-1", "ETHUSDT", 12)
    before = (tmp_path / TRIALS_NAME).read_bytes()
    assert record_trials(tmp_path, "run-1", "ETHUSDT", 12) == 12
    assert (tmp_path / TRIALS_NAME).read_bytes() == before


def test_a_last_line_without_its_end_keeps_its_trials(tmp_path):
    path = tmp_path / TRIALS_NAME
    path.write_text('{"run_id": "a", "symbol": "ETHUSDT", "trials": 3}')
    assert record_trials(tmp_path, "b", "ETHUSDT", 5) == 8
    assert len(path.read_text().splitlines()) == 2


def test_no_line_takes_trials_away(tmp_path):
    (tmp_path / TRIALS_NAME).write_text('{"run_id": "a", "symbol": "ETHUSDT", "trials": -40}\n')
    with pytest.raises(InputError, match="line 1"):
        count_trials(tmp_path, "ETHUSDT")


def test_a_damaged_line_is_named_and_nothing_is_written(tmp_path):
    path = tmp_path / TRIALS_NAME
    path.write_text('{"run_id": "a", "symbol": "ETHUSDT", "trials": 1}\nnonsense\n')
    before = path.read_bytes()
    with pytest.raises(InputError, match="line 2"):
        record_trials(tmp_path, "b", "ETHUSDT", 1)
    assert path.read_bytes() == before
