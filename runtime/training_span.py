"""The span of time that a release was fitted on, as its manifest has it: what lies in it is no test of the release."""

from __future__ import annotations

from feature_repo.errors import InputError

from .manifest import Manifest

__all__ = ["known_training_span", "share_in_training", "training_span"]


def training_span(manifest: Manifest) -> tuple[int, int] | None:
    """First and last ns UTC of what the release itself was fitted on, not its folds; None where it does not say."""
    for span in manifest.spans:
        if span.get("role", "release") == "release" and {"train_start_ns", "train_end_ns"} <= span.keys():
            return int(span["train_start_ns"]), int(span["train_end_ns"])
    return None


def known_training_span(manifest: Manifest) -> tuple[int, int]:
    """As `training_span`.

    Raises
    ------
    InputError
        Where the manifest does not say: nobody can then tell what is out of sample.
    """
    span = training_span(manifest)
    if span is None:
        raise InputError(
            f"the release {manifest.tag} does not say what it was fitted on",
            "a manifest with the span of its training set",
            "Train a release with this version",
        )
    return span


def share_in_training(manifest: Manifest, first_ns: int, last_ns: int) -> float:
    """Share, 0 to 1, of a span of time, ns UTC, that the release was fitted on; 0 where it does not say."""
    start_ns, end_ns = training_span(manifest) or (0, 0)
    return max(0, min(last_ns, end_ns) - max(first_ns, start_ns)) / max(1, last_ns - first_ns)
