"""What a release was fitted on, and how much of a span that is."""

from __future__ import annotations

import pytest

from feature_repo.errors import InputError
from runtime.bundle import read_release
from runtime.training_span import known_training_span, share_in_training, training_span
from tests.runtime.gate_builders import bundle_folder

FOLD = {"role": "fold 0", "train_start_ns": 0, "train_end_ns": 50}
RELEASE = {"role": "release", "train_start_ns": 100, "train_end_ns": 200}


def manifest(tmp_path, *spans):
    return read_release(bundle_folder(tmp_path, of={"spans": list(spans)})).manifest


def test_it_is_that_of_the_release_and_of_no_fold(tmp_path):
    made = manifest(tmp_path, FOLD, RELEASE)
    assert training_span(made) == known_training_span(made) == (100, 200)


@pytest.mark.parametrize("spans", [(), (FOLD,), ({"role": "release"},)])
def test_where_it_is_not_told_nothing_is_guessed(tmp_path, spans):
    made = manifest(tmp_path, *spans)
    assert training_span(made) is None
    assert share_in_training(made, 0, 1_000) == 0
    with pytest.raises(InputError, match="does not say what it was fitted on"):
        known_training_span(made)


@pytest.mark.parametrize(
    ("span", "share"),
    [
        ((0, 100), 0),
        ((200, 300), 0),
        ((0, 200), 0.5),
        ((150, 250), 0.5),
        ((120, 140), 1),
        ((0, 400), 0.25),
        ((9, 9), 0),
    ],
)
def test_the_share_of_a_span_that_lies_in_it(tmp_path, span, share):
    assert share_in_training(manifest(tmp_path, FOLD, RELEASE), *span) == share
