"""The names that others build on."""

from __future__ import annotations

import importlib

import pytest

NAMES = {
    "feature_repo": ("read_tape", "build_features", "simulate_tape", "FeatureWindow"),
    "runtime": ("MetaFilter", "Candidate", "Decision", "Reason"),
    "meta_models": ("tri_barrier_label", "PurgedWalkForward", "TCN"),
}


@pytest.mark.parametrize(("package", "name"), [(p, n) for p, names in NAMES.items() for n in names])
def test_a_public_name_is_where_the_readme_says(package, name):
    module = importlib.import_module(package)
    assert name in module.__all__
    assert callable(getattr(module, name))


@pytest.mark.parametrize("package", NAMES)
def test_an_unknown_name_is_refused(package):
    with pytest.raises(AttributeError, match="no attribute 'NoSuchName'"):
        importlib.import_module(package).NoSuchName  # noqa: B018
