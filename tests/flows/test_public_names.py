"""The names that others build on: they are there, nothing else is promised, and docs/api.md tells each."""

from __future__ import annotations

import importlib
import tomllib

import pytest

from flows.api_page import PUBLIC, api_page, main
from tests.flows.conftest import ROOT

NAMES = {
    "feature_repo": ("read_tape", "build_features", "simulate_tape", "FeatureWindow"),
    "runtime": ("MetaFilter", "Candidate", "Decision", "Reason"),
    "runtime.adapters.offers": ("Offers",),
    "runtime.adapters.freqtrade": ("ConfirmedEntries",),
    "runtime.adapters.nautilus": ("ConfirmedOrders",),
    "meta_models": ("tri_barrier_label", "PurgedWalkForward", "TCN"),
}
LATE = ("feature_repo", "runtime", "meta_models")


def test_these_names_are_public_and_no_others():
    assert {module: set(importlib.import_module(module).__all__) for module in PUBLIC} == {
        module: set(names) for module, names in NAMES.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize(("package", "name"), [(p, n) for p, names in NAMES.items() for n in names])
def test_a_public_name_is_where_the_readme_says(package, name):
    assert callable(getattr(importlib.import_module(package), name))


@pytest.mark.parametrize("package", LATE)
def test_an_unknown_name_is_refused(package):
    with pytest.raises(AttributeError, match="no attribute 'NoSuchName'"):
        importlib.import_module(package).NoSuchName  # noqa: B018


def test_mypy_checks_the_modules_that_define_them():
    checked = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["files"]
    paths = [ROOT / name for name in checked]
    assert all(path.exists() for path in paths)
    for package, names in NAMES.items():
        for name in names:
            home = getattr(importlib.import_module(package), name).__module__
            file = ROOT / (home.replace(".", "/") + ".py")
            assert any(path in (file, *file.parents) for path in paths), f"mypy does not check {home}"


def test_the_page_is_that_of_the_code():
    assert (ROOT / "docs" / "api.md").read_text(encoding="utf-8") == api_page(), (
        "docs/api.md is not what the code says: run `python -m flows.api_page docs/api.md`"
    )


def test_the_page_tells_each_name_with_its_meaning():
    rows = {line.split("`")[1].split("(")[0]: line for line in api_page().splitlines() if line.startswith("| `")}
    assert set(rows) >= {name for names in NAMES.values() for name in names}
    judged = "Judge a candidate by the window that the source holds. Never raises."
    assert rows["MetaFilter.allow"] == f"| `MetaFilter.allow(candidate, now_ns)` | {judged} |"
    assert all(len(line.split(" | ")[-1]) > len("|") + 5 for line in rows.values()), "a name without a meaning"


def test_the_command_writes_the_page_or_prints_it(tmp_path, capsys):
    assert main([str(tmp_path / "api.md")]) == 0
    assert (tmp_path / "api.md").read_text(encoding="utf-8") == api_page()
    assert main([]) == 0
    assert capsys.readouterr().out == api_page()
