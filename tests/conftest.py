"""What holds for the whole suite: which files are read, and in which order."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

FLOWS = "tests/flows/"
LONG_S = {
    "tests/flows/test_prefect_ui.py": 130,
    "tests/flows/test_night.py": 125,
    "tests/flows/test_same_bytes.py": 110,
    "tests/runtime/test_live_kill.py": 105,
    "tests/flows/test_dask.py": 95,
    "tests/feature_repo/test_sim_edge.py": 65,
    "tests/flows/test_cached.py": 55,
    "tests/flows/test_entries_command.py": 50,
    "tests/flows/test_reader.py": 60,
    "tests/runtime/test_live_faults_snapshot.py": 50,
    "tests/flows/test_drift_measured.py": 45,
    "tests/feature_repo/test_parity.py": 40,
}
"""What takes longest of the long tests, about: these are begun first. Of no consequence but for the time one waits."""

_ONLY_WITHOUT = re.compile(r"not \w+( and not \w+)*")
_WHOLE_FILE = re.compile(r"^pytestmark = (\[.*?^\]|.*?$)", re.MULTILINE | re.DOTALL)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A file all of whose tests would be left out is not imported: torch and Feast take longer than the fast tests."""
    wanted = config.option.markexpr
    if collection_path.suffix != ".py" or not _ONLY_WITHOUT.fullmatch(wanted):
        return None
    marks = _WHOLE_FILE.search(collection_path.read_text(encoding="utf-8"))
    left_out = {f"pytest.mark.{name}" for name in re.findall(r"not (\w+)", wanted)}
    return True if marks and left_out & set(re.findall(r"pytest\.mark\.\w+", marks[1])) else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file runs in one process, for the sake of its fixtures, and so does tests/flows, for its one long run.

    The long tests of tests/flows hardly use that run and are most of `make test-long`: there they are shared out.
    """
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            if config.option.markexpr == "long":
                return nodeid if file.endswith("test_sim_edge.py") else file
            return FLOWS if file.startswith(FLOWS) else file

    return ByFile(config, log) if config.option.dist == "loadfile" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where several processes share the files, the long ones go first: alone at the end, one would keep all waiting."""
    if not hasattr(config, "workerinput"):
        return
    if config.option.markexpr == "long":
        items.sort(key=lambda item: -LONG_S.get(item.nodeid.partition("::")[0], 0))
        return
    weights: dict[Path, int] = {}
    for item in items:
        weight = 2 if item.nodeid.startswith(FLOWS) else int(item.get_closest_marker("slow") is not None)
        weights[item.path] = max(weights.get(item.path, 0), weight)
    items.sort(key=lambda item: -weights[item.path])
