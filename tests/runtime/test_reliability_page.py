"""docs/reliability.md: each of its tests is there, and each test of a fault stands in it."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "reliability.md").read_text(encoding="utf-8")
FILES = (*sorted(HERE.glob("test_live_faults_*.py")), HERE / "test_live_redis.py", HERE / "test_live_kill.py")


def test_the_page_and_the_tests_name_each_other():
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")]
    named = re.findall(r"`(test_\w+)`", "\n".join(rows))
    written = [name for file in FILES for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)]
    assert sorted(set(named)) == sorted(written)
