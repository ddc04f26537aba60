"""docs/bad-input.md: each test that it names is there."""

from __future__ import annotations

import re
from pathlib import Path


def test_the_page_names_these_tests():
    root = Path(__file__).parents[2]
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", (root / "docs" / "bad-input.md").read_text(encoding="utf-8"))
    assert len(named) > 15
    for file, test in named:
        (found,) = (root / "tests").rglob(file)
        assert re.search(rf"^def {test}\(", found.read_text(encoding="utf-8"), re.MULTILINE), f"{file}::{test}"
